"""What recordings in all simulators share: numbered episodes, written in order, resumed, never mixed with another recording."""

from __future__ import annotations

import json
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from foreact.core.errors import ForeactError
from foreact.core.files import write_atomically
from foreact.core.lock import locked
from foreact.data.lerobot import LeRobotDataset
from foreact.data.writer import LeRobotWriter

Recorded = tuple[np.ndarray | Mapping[str, np.ndarray], Mapping[str, np.ndarray], str]
"""Frames (T, H, W, 3) uint8 of the only camera, or of each; columns {name: (T, D) float32} and task of an episode."""
OnRecorded = Callable[[int, int], None]
"""Called with (episodes recorded, episodes)."""

T = TypeVar("T")
RECIPE_FILE = "collection.json"


@dataclass(frozen=True, kw_only=True)
class Studio:
    """What all episodes of a recording share.

    Attributes:
        recipe: everything that decides the episodes, as JSON; a folder keeps to one recipe.
        cameras: full name -> height and width of the frames.
        fps: frames per second.
        columns: feature -> names of its dimensions.
        robot_type: name of the robot.
    """

    recipe: Mapping[str, Any]
    cameras: Mapping[str, tuple[int, int]]
    fps: int
    columns: Mapping[str, Sequence[str]]
    robot_type: str

    def record(
        self,
        out: Path,
        episodes: int,
        record: Callable[[int], Recorded],
        *,
        workers: int = 1,
        on_progress: OnRecorded | None = None,
    ) -> None:
        """Record what is missing of `episodes` into the LeRobot dataset `out`; a finished recording is left as it is.

        Args:
            out: the dataset's folder.
            episodes: how many in all.
            record: an episode by its number alone; can be pickled where there are several workers.
            workers: processes that simulate.
            on_progress: called after each episode.

        Raises:
            ForeactError: `out` holds something else, or more episodes.
        """
        if self.finished(out, episodes):
            return
        with self.writer(out) as writer:
            if writer.episodes_written > episodes:
                raise ForeactError(f"{out} holds {writer.episodes_written} episodes already: record at least as many")
            write_atomically(out / RECIPE_FILE, self._described.encode())
            for frames, columns, task in in_order(record, range(writer.episodes_written, episodes), workers):
                seen = frames if isinstance(frames, Mapping) else dict.fromkeys(self.cameras, frames)
                writer.add_episode(seen, columns, task)
                if on_progress is not None:
                    on_progress(writer.episodes_written, episodes)

    @contextmanager
    def writer(self, out: Path) -> Iterator[LeRobotWriter]:
        """What writes episodes into `out`, or goes on with an interrupted recording there; one process at a time."""
        with (
            locked(out),
            LeRobotWriter(
                out, fps=self.fps, cameras=self.cameras, columns=self.columns, robot_type=self.robot_type
            ) as writer,
        ):
            yield writer

    @property
    def _described(self) -> str:
        return json.dumps(self.recipe) + "\n"

    def finished(self, out: Path, episodes: int) -> bool:
        """Whether `out` holds this very recording; refuses one that was made in another way."""
        path = out / RECIPE_FILE
        if path.exists() and path.read_text() != self._described:
            raise ForeactError(f"{out} holds a recording made with {path.read_text().strip()}: use another --out")
        if not path.exists() or not (out / "meta" / "info.json").exists():
            return False
        there = len(LeRobotDataset(out).episodes)
        if there != episodes:
            raise ForeactError(f"{out} is finished with {there} episodes, not {episodes}: use another --out")
        return True


def in_order(record: Callable[[int], T], numbers: Iterable[int], workers: int) -> Generator[T, None, None]:
    """All numbered episodes, in their order; at most two per worker wait in memory."""
    if workers == 1:
        yield from map(record, numbers)
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"), leave_interrupts_to_the_parent)
    waiting: deque[Future[T]] = deque()
    try:
        for number in numbers:
            waiting.append(pool.submit(record, number))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise ForeactError(
            "a process that simulates ended all at once, by a crash of the simulator or for want of memory; what was "
            "recorded is kept: run the same command again to go on, with --workers 1 to see what happens"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def leave_interrupts_to_the_parent() -> None:
    """In a process of a pool: Ctrl-C is answered by the process that waits for it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
