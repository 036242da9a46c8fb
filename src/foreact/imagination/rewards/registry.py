"""Which rewards there are, by name: a file and one line here; or `module:function` of the user's own."""

from __future__ import annotations

from typing import Any

from foreact.core.errors import ForeactError
from foreact.core.own_code import import_function
from foreact.imagination.demonstrations import Demonstrations
from foreact.imagination.rewards.base import Reward

_HERE = "foreact.imagination.rewards"
REWARDS = {
    "video-aligned": f"{_HERE}.video_aligned:VideoAligned",
    "video-end": f"{_HERE}.video_aligned:VideoEnd",
    "goal": f"{_HERE}.goal:Goal",
    "success": f"{_HERE}.success:Success",
}
"""Name -> what makes the reward of demonstrations and, where the name goes on after a colon, of what follows."""


def make_reward(name: str, demonstrations: Demonstrations) -> Reward:
    """A reward by its name.

    Args:
        name: one of `REWARDS`, `goal:PICTURE`, or `module:function` of the user's own, which is called with a `Step`.
        demonstrations: what it is about.

    Raises:
        ForeactError: an unknown name, or a function that cannot be imported.
    """
    own, _, rest = name.partition(":")
    if own in REWARDS:
        words = [rest] if own == "goal" else []
        made: Any = import_function(REWARDS[own], what="reward")
        return made(demonstrations, *words)
    if not rest:
        known = ", ".join(REWARDS)
        raise ForeactError(f"no reward {name!r}: choose one of {known}, or module:function of your own")
    return import_function(name, what="reward")
