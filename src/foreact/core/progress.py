"""Progress bars with rates and time left, for the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class OnProgress(Protocol):
    """What long work calls: units done, units in all, and a few values to show."""

    def __call__(self, done: int, total: int, values: dict[str, float] | None = None) -> None:
        """Report progress."""
        ...


_SHOWN = ("loss", "held_out_loss", "skill", "data_wait")

Bar = Callable[[str, str], AbstractContextManager[OnProgress]]
"""(title, unit) -> a context that gives a progress callback: `bar`, or a silent one in tests."""


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else rate(speed, task.fields["unit"]), style="cyan")


def rate(speed: float, unit: str) -> str:
    """`speed` units per second as people say it: per minute where it is slow."""
    return f"{speed:,.1f} {unit}/s" if speed >= 1 else f"{60 * speed:,.1f} {unit}/min"


@contextmanager
def bar(title: str, unit: str) -> Iterator[OnProgress]:
    """A bar titled `title` that counts `unit`; it stays on screen when it is done, and is silent where there is no work."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<24}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[values]}", style="dim"),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, refresh_per_second=4) as progress:
        task = progress.add_task(title, total=None, unit=unit, values="", visible=False)

        def on_progress(done: int, total: int, values: dict[str, float] | None = None) -> None:
            shown = "  ".join(f"{k} {v:.3g}" for k, v in (values or {}).items() if k in _SHOWN)
            progress.update(task, completed=done, total=total, values=shown, visible=True)

        yield on_progress
