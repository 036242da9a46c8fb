"""How far long work is: a bar with rate and time left on a terminal, lines in a log where there is none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from foreact.core.terminal import Console, in_markup, printable


class OnProgress(Protocol):
    """What long work calls: units done, units in all, and a few values to show."""

    def __call__(self, done: int, total: int, values: dict[str, float] | None = None) -> None:
        """Report progress."""
        ...


_SHOWN = ("loss", "held_out_loss", "skill", "data_wait", "return", "success")

ProgressFactory = Callable[[str, str], AbstractContextManager[OnProgress]]
"""(title, unit) -> a context that gives a progress callback: `progress_bar`, or a silent one in tests."""

_SHARE, _SECONDS, _SOONEST = 0.05, 30.0, 2.0
"""A line is due after a share of the work, but no sooner than `_SOONEST` seconds after the last one, or after `_SECONDS`."""


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else rate(speed, task.fields["unit"]), style="cyan")


def rate(speed: float, unit: str) -> str:
    """`speed` units per second as people say it: per minute where it is slow."""
    return f"{speed:,.1f} {unit}/s" if speed >= 1 else f"{60 * speed:,.1f} {unit}/min"


def clock(seconds: float) -> str:
    """4:05, or 1:02:03 from an hour on."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def shown_values(values: dict[str, float] | None) -> str:
    """The few values that are worth a place in a line."""
    return "  ".join(f"{name} {value:.3g}" for name, value in (values or {}).items() if name in _SHOWN)


@contextmanager
def progress_bar(title: str, unit: str) -> Iterator[OnProgress]:
    """Progress titled `title` that counts `unit`; what is done stays to be read, and there is silence where there is no work."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _in_lines(title, unit)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<24}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[values]}", style="dim"),
    )
    with Progress(*columns, console=console, refresh_per_second=4) as progress:
        task = progress.add_task(in_markup(title), total=None, unit=unit, values="", visible=False)

        def on_progress(done: int, total: int, values: dict[str, float] | None = None) -> None:
            progress.update(task, completed=done, total=total, values=shown_values(values), visible=True)

        yield on_progress


@contextmanager
def overall_bar() -> Iterator[Callable[[float, float, str], None]]:
    """Progress of several stages of work: gives a callback for seconds of work done, seconds in all, and what is being done.

    Seconds are those of an estimate: the time left follows how fast they really pass.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        lines = _Pace()

        def say(done: float, total: float, doing: str) -> None:
            if (left := lines.due(done, total)) is not None:
                lines.write(f"{done / total:4.0%}  {doing}  {left}" if done < total else f"{1:4.0%}  {doing}")

        yield say
        return
    columns = (
        SpinnerColumn(),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, refresh_per_second=4, speed_estimate_period=120) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total, doing: progress.update(
            task, completed=done, total=total, description=in_markup(doing)
        )


class _Pace:
    """Which moments of long work are worth a line."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
        self.first: tuple[float, float] | None = None  # work done and time, when work began
        self.last = (0.0, 0.0)

    def due(self, done: float, total: float) -> str | None:
        """The time left in words, where a line is due."""
        now = time.monotonic()
        if self.first is None:
            self.first = self.last = (done, now)
        new, waited = done - self.last[0], now - self.last[1]
        if done < total and (waited < _SOONEST or (new < _SHARE * total and waited < _SECONDS)):
            return None
        self.last = (done, now)
        speed = self.speed()
        return f"{clock((total - done) / speed)} left" if speed and done < total else "done" if done >= total else ""

    def speed(self) -> float:
        """Work per second since the beginning; 0 where that is not known yet."""
        assert self.first is not None
        seconds = self.last[1] - self.first[1]
        return (self.last[0] - self.first[0]) / seconds if seconds > 0 else 0.0

    def write(self, text: str) -> None:
        """Say it on standard error."""
        self.console.print(printable(text))


def _in_lines(title: str, unit: str) -> OnProgress:
    lines = _Pace()

    def on_progress(done: int, total: int, values: dict[str, float] | None = None) -> None:
        if (left := lines.due(done, total)) is not None:
            parts = [f"{title}: {done:,}/{total:,} {unit} ({done / max(total, 1):.0%})"]
            parts += [rate(lines.speed(), unit)] * (lines.speed() > 0) + [left, shown_values(values)]
            lines.write(", ".join(part for part in parts if part))

    return on_progress
