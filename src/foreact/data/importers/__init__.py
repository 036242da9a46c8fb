"""Turns recordings of other formats into LeRobot datasets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from foreact.core.errors import ForeactError
from foreact.core.lock import locked
from foreact.data.importers.episodes import EpisodeSource, ImportOptions
from foreact.data.importers.folder import VIDEOS, is_folder, open_folder
from foreact.data.importers.iws import is_iws, open_iws
from foreact.data.importers.lerobot import is_lerobot, open_lerobot
from foreact.data.importers.maniskill import is_maniskill, open_maniskill
from foreact.data.writer import LeRobotWriter

__all__ = ["FORMATS", "import_recordings"]

_FORMATS: dict[str, tuple[Callable[[Path], bool], Callable[[Path, ImportOptions], EpisodeSource]]] = {
    "lerobot": (is_lerobot, open_lerobot),
    "iws": (is_iws, open_iws),
    "maniskill": (is_maniskill, open_maniskill),
    "folder": (is_folder, open_folder),
}
FORMATS = ("auto", *_FORMATS)


def import_recordings(
    source: str | Path,
    out: str | Path,
    *,
    format: str = "auto",
    fps: int | None = None,
    camera: str | None = None,
    task: str | None = None,
    height: int | None = None,
    actor: str | None = None,
    actions: str | None = None,
    stride: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    on_note: Callable[[str], object] = print,
) -> int:
    """Write the recordings at `source` as a LeRobot dataset; interrupted, it goes on where it stopped when run again.

    Args:
        source: a folder of videos (with .csv or .parquet tables of actions), ManiSkill's .h5 and .json, a folder of
            Interactive World Sim's .hdf5 episodes, or a LeRobot dataset that is to have a lower rate.
        out: the dataset's folder, new or of an interrupted import.
        format: "folder", "maniskill", "iws", "lerobot", or "auto" to detect it.
        fps: frames per second; what the recordings say if None. Videos of another or a changing rate are resampled by their
            times, unless tables have rows for their frames.
        camera: the camera to take (all if None); in a folder of videos, the name to give to it ("main" if None).
        task: what the robot was to do; ManiSkill's environment if None.
        height: scale the pictures to this even height, keeping their shape (to an even width).
        actor: ManiSkill: the object whose pose is kept; the only one that moves if None.
        actions: IWS: "reached" (if None), "joints" or "commanded"; see `foreact.data.importers.iws`. LeRobot: "last" or "sum".
        stride: LeRobot: every stride-th frame is taken; see `foreact.data.importers.lerobot`.
        on_progress: called with (episodes done, episodes).
        on_note: called with each thing that was not taken as it stands: columns left out, videos resampled.

    Returns:
        The number of episodes written in all.

    Raises:
        ForeactError: an unknown format, recordings that are damaged or do not fit together, a disk that is full.
    """
    source = Path(source)
    options = ImportOptions(
        fps=fps, camera=camera, task=task, height=height, actor=actor, actions=actions, stride=stride
    )
    if format not in FORMATS:
        raise ForeactError(f"unknown format {format!r}; choose one of {', '.join(FORMATS)}")
    if not source.exists():
        raise ForeactError(f"{source}: no such file or folder")
    recordings = _FORMATS[_detect(source) if format == "auto" else format][1](source, options)
    for note in recordings.notes:
        on_note(note)
    described: dict[str, Any] = {"fps": recordings.fps, "cameras": recordings.cameras, "columns": recordings.columns}
    with locked(Path(out)), LeRobotWriter(out, **described, robot_type=recordings.robot_type) as writer:
        for index in range(writer.episodes_written, recordings.count):
            recording = recordings.read(index)
            writer.add_episode(recording.frames, recording.columns, recording.task)
            if on_progress:
                on_progress(index + 1, recordings.count)
        return writer.episodes_written


def _detect(source: Path) -> str:
    if is_lerobot(source):
        return "lerobot"
    if source.is_file() and source.suffix.lower() in VIDEOS:
        return "folder"
    found = [name for name, (is_format, _) in _FORMATS.items() if is_format(source)]
    if len(found) > 1:
        raise ForeactError(f"{source} holds recordings of several formats ({', '.join(found)}): choose one with format")
    if not found:
        raise ForeactError(
            f"{source} holds nothing to import; looked for videos (.mp4, .mkv, .avi and others), ManiSkill's .h5 files with "
            "a .json of the same name, and episode_<number>.hdf5"
        )
    return found[0]
