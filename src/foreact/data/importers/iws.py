"""Episodes of the Interactive World Sim: a folder of `episode_<number>.hdf5`, in numeric order, gaps allowed.

There, a row of actions belongs to the frame that it *reached*, so row t + 1 leads from frame t to t + 1 and the rows are
moved up by one here (the last one is repeated). Three sources of actions can be chosen:

- `reached` (the default): where the hands were. Real robots: x, y, z in world coordinates and the gripper of each arm, from
  /obs/ee_pos and /obs/world_t_robot_base. Simulated Push-T: x and y of both hands, from the matrices of /obs/ee_pos.
- `joints`: the joint angles that were reached, /obs/joint_pos.
- `commanded`: /action as recorded. A command given at frame t acts after it, so these rows are not moved.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from foreact.core.errors import ForeactError
from foreact.data.importers.episodes import EpisodeSource, ImportOptions, RawEpisode, leading_rows
from foreact.data.importers.hdf5 import open_hdf5, read_array
from foreact.data.video import scale_frames

SOURCES = ("reached", "joints", "commanded")
POSE = ("x", "y", "z", "qw", "qx", "qy", "qz")
# The rate of all published recordings; simulated ones do not store their times.
_FPS = 10


class _Column(NamedTuple):
    """Names of the dimensions, and rows (T, D)."""

    names: tuple[str, ...]
    rows: np.ndarray


def is_iws(source: Path) -> bool:
    """Whether `source` is a folder of such episodes, or holds the folders train and val with some."""
    return source.is_dir() and bool(_files(source) or _files(source / "train") or _files(source / "val"))


def open_iws(source: Path, options: ImportOptions) -> EpisodeSource:
    """The episodes of one folder.

    Raises:
        ForeactError: no or damaged episodes, missing keys, arrays of different lengths.
    """
    options.refuse("actor", "stride", format="iws")
    files = _files(source)
    if not files:
        raise ForeactError(f"{source} holds no episode_<number>.hdf5; import its folders train and val one by one")
    kind = options.actions or "reached"
    if kind not in SOURCES:
        raise ForeactError(f"actions must be one of {', '.join(SOURCES)}, not {kind!r}")
    with open_hdf5(files[0]) as file:
        cameras = _cameras(file, options, where=str(files[0]))
        fps, notes = options.rate(_rate(file), where=str(files[0]))
        names = {key: column.names for key, column in _columns(file, kind, where=str(files[0])).items()}

    def read(index: int) -> RawEpisode:
        where = str(files[index])
        with open_hdf5(files[index]) as file:
            frames = {
                name: scale_frames(read_array(file, key, where=where), options.scaled(shape))
                for name, (key, shape) in cameras.items()
            }
            columns = {key: column.rows for key, column in _columns(file, kind, where=where).items()}
        lengths = {key: len(values) for key, values in (frames | columns).items()}
        if len(set(lengths.values())) > 1:
            raise ForeactError(f"{where} has arrays of different lengths: {lengths}")
        return RawEpisode(frames=frames, columns=columns, task=options.task or "")

    return EpisodeSource(
        count=len(files),
        read=read,
        fps=fps,
        cameras={name: options.scaled(shape) for name, (_, shape) in cameras.items()},
        columns=names,
        robot_type="aloha",
        notes=notes,
    )


def _files(folder: Path) -> list[Path]:
    numbered = [
        (int(match[1]), path)
        for path in folder.glob("episode_*.hdf5")
        if (match := re.fullmatch(r"episode_(\d+)", path.stem))
    ]
    return [path for _, path in sorted(numbered)]


def _cameras(file: Any, options: ImportOptions, *, where: str) -> dict[str, tuple[str, tuple[int, int]]]:
    """Camera's name -> its key in the file, and the height and width recorded."""
    images = file.get("obs/images", {})
    keys = [
        key for key in images if images[key].ndim == 4 and images[key].shape[-1] == 3 and images[key].dtype == np.uint8
    ]
    cameras = {key.removesuffix("_color"): (f"obs/images/{key}", images[key].shape[1:3]) for key in keys}
    if not cameras:
        raise ForeactError(f"{where} has no pictures in obs/images")
    if options.camera is not None and options.camera not in cameras:
        raise ForeactError(f"{where} has no camera {options.camera!r}; it has {sorted(cameras)}")
    return {name: place for name, place in cameras.items() if options.camera in (None, name)}


def _rate(file: Any) -> float:
    if "timestamp" not in file or len(file["timestamp"]) < 2:
        return _FPS
    step = float(np.median(np.diff(file["timestamp"])))
    return 1 / step if step else np.inf


def _columns(file: Any, kind: str, *, where: str) -> dict[str, _Column]:
    """Joint positions, the object's pose where it is known, and actions."""
    joints = read_array(file, "obs/joint_pos", where=where)
    columns = {"observation.state": _Column(_numbered("joint", joints), joints)}
    if "env_state" in file:
        columns["observation.object_pose"] = _Column(POSE, read_array(file, "env_state", where=where))
    if kind == "commanded":
        commands = read_array(file, "action", where=where)
        return columns | {"action": _Column(_numbered("action", commands), commands)}
    reached = _hands(file, where=where) if kind == "reached" else columns["observation.state"]
    return columns | {"action": _Column(reached.names, leading_rows(reached.rows))}


def _hands(file: Any, *, where: str) -> _Column:
    """Where the hands are at each frame: four numbers per arm of a real robot, two per arm of the simulated one."""
    hands = read_array(file, "obs/ee_pos", where=where)
    sides: tuple[str, ...]
    parts: tuple[str, ...]
    if hands.ndim == 4:
        places, sides, parts = hands[:, :, :2, 3], ("left_", "right_"), ("x", "y")
    else:
        bases = read_array(file, "obs/world_t_robot_base", where=where)
        poses = hands.reshape(len(hands), bases.shape[1], 7)
        in_world = np.einsum("trij,trj->tri", bases[..., :3, :3], poses[..., :3]) + bases[..., :3, 3]
        places = np.concatenate([in_world, poses[..., 6:]], axis=-1)
        sides, parts = ("right_", "left_"), ("x", "y", "z", "gripper")
    sides = sides if places.shape[1] == 2 else ("",)
    return _Column(tuple(side + part for side in sides for part in parts), places.reshape(len(places), -1))


def _numbered(name: str, rows: np.ndarray) -> tuple[str, ...]:
    return tuple(f"{name}_{i}" for i in range(rows.shape[1]))
