"""What every importer turns its source into: a list of episodes that are read one at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from foreact.core.errors import ForeactError


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """What a user may say about the recordings; None leaves it to them.

    Attributes:
        fps: frames per second.
        camera: the camera to take (all if None); in a folder of videos, the name to give to it.
        task: what the robot was to do.
        height: scale the pictures to this height, keeping their shape (to an even width).
        actor: ManiSkill: the object whose pose is kept.
        actions: IWS: "reached", "joints" or "commanded"; LeRobot: "last" or "sum".
        stride: LeRobot: every stride-th frame is taken.
    """

    fps: int | None = None
    camera: str | None = None
    task: str | None = None
    height: int | None = None
    actor: str | None = None
    actions: str | None = None
    stride: int | None = None

    def __post_init__(self) -> None:
        if self.fps is not None and not (isinstance(self.fps, int) and self.fps >= 1):
            raise ForeactError(f"fps must be a whole number of at least 1, not {self.fps}")
        if self.height is not None and not (isinstance(self.height, int) and self.height >= 2 and self.height % 2 == 0):
            raise ForeactError(f"height must be an even number of at least 2, not {self.height}")

    def refuse(self, *names: str, format: str) -> None:
        """Raise `ForeactError` if an option of another format was given."""
        for name in names:
            if getattr(self, name) is not None:
                raise ForeactError(
                    f"the option {name!r} means nothing for recordings of format {format!r}: leave it out"
                )

    def rate(self, recorded: object, *, where: str) -> tuple[int, tuple[str, ...]]:
        """Frames per second of the dataset, and a note for the user where that is not what the recording says.

        Raises:
            ForeactError: the recording says no number, and neither does the user.
        """
        if not (isinstance(recorded, int | float) and math.isfinite(recorded) and recorded >= 0.5):
            if self.fps is None:
                raise ForeactError(f"{where} says {recorded} frames per second: give fps")
            return self.fps, ()
        fps = self.fps or round(recorded)
        note = f"{where} says {recorded:.2f} frames per second: taken as {fps}, with all its frames"
        return fps, (note,) if abs(fps / recorded - 1) > 0.01 else ()

    def scaled(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the imported pictures, for recorded ones of `shape`."""
        if self.height is None:
            return shape
        return self.height, max(round(self.height * shape[1] / shape[0] / 2) * 2, 2)


@dataclass(frozen=True, kw_only=True)
class RawEpisode:
    """One episode: camera -> frames (T, height, width, 3), feature -> rows (T, D), and its task."""

    frames: Mapping[str, np.ndarray]
    columns: Mapping[str, np.ndarray]
    task: str


@dataclass(frozen=True, kw_only=True)
class EpisodeSource:
    """A source of episodes.

    Attributes:
        count: episodes.
        read: gives episode 0 .. count - 1.
        fps: frames per second.
        cameras: name -> height and width, of the imported pictures.
        columns: feature -> names of its dimensions.
        robot_type: name of the robot, if known.
        notes: what was not taken as it stands, for the user to know.
    """

    count: int
    read: Callable[[int], RawEpisode]
    fps: int
    cameras: Mapping[str, tuple[int, int]]
    columns: Mapping[str, Sequence[str]]
    robot_type: str | None = None
    notes: tuple[str, ...] = ()


def leading_rows(reached: np.ndarray) -> np.ndarray:
    """Rows that lead from frame t to t + 1, from rows that belong to the frame they reach; the last one is repeated."""
    return np.concatenate([reached[1:], reached[-1:]])


def pad_last_row(actions: np.ndarray, length: int, *, where: str) -> np.ndarray:
    """Actions for `length` frames: with one row per frame as they are, with one row less the last one is repeated.

    Raises:
        ForeactError: any other number of rows.
    """
    if len(actions) == length:
        return actions
    if len(actions) == length - 1 and len(actions):
        return np.concatenate([actions, actions[-1:]])
    raise ForeactError(
        f"{where}: {len(actions)} rows of actions for {length} frames; it needs {length} (one per frame) or {length - 1} "
        "(one between frames)"
    )


def join(parts: Sequence[EpisodeSource]) -> EpisodeSource:
    """Several sources, one after the other.

    Raises:
        ForeactError: their frame rates, cameras or columns differ.
    """
    first = parts[0]
    for part in parts[1:]:
        for name in ("fps", "cameras", "columns"):
            if getattr(part, name) != getattr(first, name):
                raise ForeactError(f"the recordings differ in {name}: {getattr(first, name)} and {getattr(part, name)}")
    robot_type = first.robot_type if len({part.robot_type for part in parts}) == 1 else None
    places = [(part, index) for part in parts for index in range(part.count)]

    def read(number: int) -> RawEpisode:
        part, index = places[number]
        return part.read(index)

    notes = tuple(note for part in parts for note in part.notes)
    return replace(first, count=len(places), read=read, robot_type=robot_type, notes=notes)
