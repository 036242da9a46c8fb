"""Checks of a dataset: generators of one line per defect, each naming the episode and the place."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from foreact.core.errors import ForeactError
from foreact.data.columns import unusable_actions
from foreact.data.lerobot import ACTION, Episode, LeRobotDataset
from foreact.data.lerobot_meta import holds_numbers
from foreact.data.video_defects import file_defects

COUNTERS = ("timestamp", "frame_index", "episode_index", "index", "task_index")
_SIZE = 64
# Codecs alter single pixels of a still scene by a few grey levels; what moves alters some by far more.
_STILL = 8
# Timestamps may be counted with a rate as it is written, 29.97, or as it is meant, 30000/1001.
_ROUNDED_RATE = 2e-6


class DefectFinder:
    """Remembers what it has seen, to find duplicates.

    Args:
        dataset: the dataset that is checked.

    Attributes:
        found: the defects so far, each once, in the order found.
        broken: episodes that have one -> the first one found there.
    """

    def __init__(self, dataset: LeRobotDataset):
        self.dataset = dataset
        self.found: dict[str, None] = {}
        self.broken: dict[int, str] = {}
        self._first_seen: dict[str, int] = {}

    def check_episode(self, episode: Episode) -> None:
        """Check all rows of the episode and decode all its frames of all cameras."""
        dataset = self.dataset
        self._collect(length_defects(episode), episode)
        self._collect(counter_defects(dataset, episode), episode)
        self._collect(task_defects(dataset, episode), episode)
        for key in data_columns(dataset):
            self._collect(column_defects(dataset, episode, key), episode)
        for camera in dataset.cameras:
            self._collect(self._picture_defects(episode, camera), episode)
        self._collect(self._row_duplicates(episode), episode)

    def check_files(self, only: Episode | None = None) -> None:
        """Check the video files, each of which may hold several episodes; or only those that hold the episode `only`."""
        for camera in self.dataset.cameras:
            for episodes, defect in file_defects(self.dataset, camera, only):
                self._note(defect, *episodes)

    def check_whole(self) -> None:
        """Check what concerns the dataset as a whole."""
        self._collect(total_defects(self.dataset))
        self._collect(constant_dimensions(self.dataset))
        self.check_files()

    def _collect(self, defects: Iterator[str], *episodes: Episode) -> None:
        try:
            for defect in defects:
                self._note(defect, *episodes)
        except ForeactError as error:
            self._note(str(error), *episodes)

    def _note(self, defect: str, *episodes: Episode) -> None:
        self.found.setdefault(defect)
        for episode in episodes:
            self.broken.setdefault(episode.index, defect)

    def _picture_defects(self, episode: Episode, camera: str) -> Iterator[str]:
        frames = self.dataset.frames(episode.index, size=_SIZE, camera=camera)
        if episode.length > 1 and int(np.abs(frames.astype(np.int16) - frames[0]).max()) <= _STILL:
            yield f"episode {episode.index}: {camera} shows no motion in {episode.length} frames"
        else:
            yield from self._duplicates(episode, camera.encode() + frames.tobytes(), f"the same pictures of {camera}")

    def _row_duplicates(self, episode: Episode) -> Iterator[str]:
        columns = [self.dataset.column(key, episode.index) for key in data_columns(self.dataset)]
        if any((values != values[0]).any() for values in columns if np.isfinite(values).all()):
            yield from self._duplicates(episode, b"".join(values.tobytes() for values in columns), "the same rows")

    def _duplicates(self, episode: Episode, content: bytes, what: str) -> Iterator[str]:
        first = self._first_seen.setdefault(hashlib.sha256(content).hexdigest(), episode.index)
        if first != episode.index:
            yield f"episode {episode.index}: duplicate of episode {first} ({what})"


def broken_episodes(
    dataset: LeRobotDataset, episodes: Sequence[Episode], on_progress: Callable[[int, int], None] | None = None
) -> dict[int, str]:
    """Those of `episodes` in which something is broken, and what: all that `inspect_dataset` finds in single episodes.

    Args:
        dataset: whose rows are read and whose frames are decoded, those of all cameras.
        episodes: which are looked at; the second one of a pair of duplicates is the broken one.
        on_progress: called with (episodes done, episodes).
    """
    finder = DefectFinder(dataset)
    for done, episode in enumerate(episodes, start=1):
        finder.check_episode(episode)
        if on_progress:
            on_progress(done, len(episodes))
    finder.check_files()
    return {e.index: finder.broken[e.index] for e in episodes if e.index in finder.broken}


def data_columns(dataset: LeRobotDataset) -> list[str]:
    """Numeric features apart from counters such as the timestamp."""
    return [key for key, feature in dataset.features.items() if key not in COUNTERS and holds_numbers(feature)]


def length_defects(episode: Episode) -> Iterator[str]:
    """Episodes without a single pair of frames."""
    if episode.length < 2:
        yield f"episode {episode.index}: {episode.length} frame, so there is no pair of frames in it"


def total_defects(dataset: LeRobotDataset) -> Iterator[str]:
    """Other numbers of episodes or frames than the dataset says it has; deleted episodes may still be counted."""
    there = {"total_episodes": len(dataset.episodes), "total_frames": dataset.total_frames}
    for key, count in dataset.announced.items():
        if count < there[key] or (count > there[key] and not dataset.has_gaps):
            yield f"meta/info.json says {key} is {count}, but there are {there[key]}"


def counter_defects(dataset: LeRobotDataset, episode: Episode) -> Iterator[str]:
    """Frame numbers and timestamps that do not count up with the frame rate."""
    number = dataset.column("frame_index", episode.index)[:, 0]
    rows = np.arange(episode.length)
    if (wrong := np.flatnonzero(number != rows)).size:
        yield f"episode {episode.index}, row {wrong[0]}: frame_index is {number[wrong[0]]}, not {wrong[0]}"
    time, expected = dataset.column("timestamp", episode.index)[:, 0].astype(np.float64), rows / dataset.fps
    tolerance = 1e-4 + np.spacing(expected.astype(np.float32)) + _ROUNDED_RATE * expected
    if (wrong := np.flatnonzero(~(np.abs(time - expected) <= tolerance))).size:
        row = wrong[0]
        yield (
            f"episode {episode.index}, row {row}: timestamp {time[row]:.4f} s, but at {dataset.fps:g} frames per second "
            f"it is {expected[row]:.4f} s ({len(wrong)} rows are off)"
        )


def task_defects(dataset: LeRobotDataset, episode: Episode) -> Iterator[str]:
    """Numbers of tasks that are not in the dataset's list of tasks."""
    if dataset.tasks is None or "task_index" not in dataset.features:
        return
    numbers = dataset.column("task_index", episode.index)[:, 0]
    if (wrong := np.flatnonzero(~np.isin(numbers, list(dataset.tasks)))).size:
        row = wrong[0]
        yield (
            f"episode {episode.index}, row {row}: task_index is {numbers[row]:g}, but the list of tasks has {len(dataset.tasks)}, "
            f"up to number {max(dataset.tasks, default=-1)} ({len(wrong)} rows)"
        )


def column_defects(dataset: LeRobotDataset, episode: Episode, key: str) -> Iterator[str]:
    """Values that are not finite; actions that never change."""
    values = dataset.column(key, episode.index)
    if key == ACTION and not dataset.has_actions(episode.index):
        return
    if len(bad := unusable_actions(values) if key == ACTION else np.argwhere(~np.isfinite(values))):
        row, dim = bad[0]
        name = dataset.names_of(key)[dim]
        yield f"episode {episode.index}, row {row}: {key} {name} is {values[row, dim]} ({len(bad)} values are not finite)"
    elif key == ACTION and episode.length > 2 and (values == values[0]).all():
        yield f"episode {episode.index}: the action is the same in all {episode.length} rows"


def constant_dimensions(dataset: LeRobotDataset) -> Iterator[str]:
    """Action dimensions that never change in the whole dataset."""
    actions = finite_actions(dataset)
    if len(actions) > 1:
        for name, values in zip(dataset.names_of(ACTION), actions.T):
            if (values == values[0]).all():
                yield f"action {name} is {values[0]:g} in every row of the dataset"


def finite_actions(dataset: LeRobotDataset) -> np.ndarray:
    """All action rows without NaN or infinity, (rows, A); A = 0 in a dataset without actions."""
    if dataset.action_dim is None:
        return np.zeros((0, 0), dtype=np.float32)
    actions = np.concatenate([dataset.column(ACTION, episode.index) for episode in dataset.episodes])
    return actions[np.isfinite(actions).all(axis=1)]
