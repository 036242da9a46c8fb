"""MetaWorld's tasks whose goal can be seen: the object itself says what is to be done, with a few words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task.

    Attributes:
        phrasings: the task in words; the first one is what a policy is told.
        max_steps: 1.5 times the length below which 90 % of the expert's episodes lie.
    """

    phrasings: tuple[str, ...]
    max_steps: int


TASKS = {
    "drawer-open": Task(
        phrasings=("open the drawer", "pull the drawer open", "slide the drawer out by its handle"), max_steps=131
    ),
    "drawer-close": Task(
        phrasings=("close the drawer", "push the drawer shut", "slide the drawer back in"), max_steps=107
    ),
    "window-open": Task(
        phrasings=("open the window", "slide the window open", "push the window's handle to the right"), max_steps=131
    ),
    "window-close": Task(
        phrasings=("close the window", "slide the window shut", "push the window's handle to the left"), max_steps=117
    ),
    "faucet-open": Task(
        phrasings=("open the faucet", "turn the faucet on", "turn the faucet's handle to the right"), max_steps=75
    ),
    "faucet-close": Task(
        phrasings=("close the faucet", "turn the faucet off", "turn the faucet's handle to the left"), max_steps=74
    ),
    "button-press": Task(
        phrasings=("press the button", "push the button in", "press the button on the front of the box"),
        max_steps=80,
    ),
    "button-press-topdown": Task(
        phrasings=("press the button from above", "push the button down", "press the button on top of the box"),
        max_steps=102,
    ),
}
