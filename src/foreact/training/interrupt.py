"""Ctrl-C, granted between two steps."""

from __future__ import annotations

import signal
import threading
from types import FrameType


class Interrupt:
    """Turns the first Ctrl-C into a wish that is granted between two steps; a second one stops at once."""

    def __enter__(self) -> Interrupt:
        self.asked = False
        self._main = threading.current_thread() is threading.main_thread()
        if self._main:
            self._previous = signal.signal(signal.SIGINT, self._ask)
        return self

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __exit__(self, *_: object) -> None:
        if self._main:
            signal.signal(signal.SIGINT, self._previous)
