"""Batches made ahead of the step that needs them, and Ctrl-C granted between two steps."""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Callable, Generator
from types import FrameType
from typing import Any


def prefetch(make: Callable[[int], Any], first: int, last: int, *, ahead: int = 3) -> Generator[Any, None, None]:
    """Batches of steps first..last-1, made in a thread; an error there is raised here."""
    ready: queue.Queue[Any] = queue.Queue(maxsize=ahead)
    stop = threading.Event()

    def put(item: Any) -> None:
        while not stop.is_set():
            try:
                return ready.put(item, timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for step in range(first, last):
                if stop.is_set():
                    return
                put(make(step))
            put(None)
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()


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
