"""One progress over all stages of a fit, in seconds of its estimate."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from foreact.core.progress import OnProgress, ProgressFactory, rate, shown_values
from foreact.fitting.planning import Left

Report = Callable[[float, float, str], None]


class Overall:
    """Turns what single stages report into the progress of all."""

    def __init__(self, left: Sequence[Left], report: Report) -> None:
        """Begin.

        Args:
            left: the stages with the work that is left of each.
            report: takes seconds of work done, seconds in all, and what is being done.
        """
        self._total, self._report = sum(part.seconds for part in left), report
        self._finished = 0.0

    @contextmanager
    def stage(self, part: Left) -> Iterator[ProgressFactory]:
        """A stage: gives what shows its progress."""
        self.tell(0.0, part.stage.name)
        yield _StageProgress(part, self).progress
        self._finished += part.seconds
        self.tell(0.0, f"{part.stage.name} done")

    def tell(self, seconds: float, doing: str) -> None:
        """Seconds of work done in this stage."""
        self._report(self._finished + seconds, self._total, doing)


class _StageProgress:
    """The pieces of a stage, one after the other; work in another unit than theirs is told and does not count."""

    def __init__(self, part: Left, overall: Overall) -> None:
        self.part, self.overall = part, overall
        self._pieces = list(part.pieces)
        self._before = self._span = 0.0  # seconds of the pieces that are done, and of the one at work

    @contextmanager
    def progress(self, title: str, unit: str) -> Iterator[OnProgress]:
        """See `core.progress.ProgressFactory`."""
        first, last, begun = -1, 0, 0.0

        def on_progress(done: int, total: int, values: dict[str, float] | None = None) -> None:
            nonlocal first, last, begun
            if first < 0 or done < last:
                self._next_piece(unit)
                first, begun = done, time.monotonic()
            last = done
            share = (done - first) / (total - first) if total > first else 1.0
            elapsed = time.monotonic() - begun
            speed = rate((done - first) / elapsed, unit) if done > first and elapsed > 0 else ""
            words = (f"{self.part.stage.name}: {done:,}/{total:,} {unit}", speed, shown_values(values))
            self.overall.tell(self._before + share * self._span, "  ".join(word for word in words if word))

        yield on_progress

    def _next_piece(self, unit: str) -> None:
        self._before, self._span = self._before + self._span, 0.0
        if not any(piece.unit == unit for piece in self._pieces):
            return
        while not self._span:
            piece = self._pieces.pop(0)
            seconds = piece.count * piece.seconds
            if piece.unit == unit:
                self._span = max(seconds, 1e-9)
            else:
                self._before += seconds
