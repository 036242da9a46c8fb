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
from typing import Any

import numpy as np

from foreact.data.importers.hdf5 import open_hdf5, read_array
from foreact.data.importers.recordings import ImportOptions, Recording, Recordings, leading_rows
from foreact.data.video import scale_frames
from foreact.errors import ForeactError

SOURCES = ("reached", "joints", "commanded")
POSE = ("x", "y", "z", "qw", "qx", "qy", "qz")
# The rate of all published recordings; simulated ones do not store their times.
_FPS = 10


def is_iws(source: Path) -> bool:
    """Whether `source` is a folder of such episodes, or holds the folders train and val with some."""
    return source.is_dir() and bool(_files(source) or _files(source / "train") or _files(source / "val"))


def open_iws(source: Path, options: ImportOptions) -> Recordings:
    """The episodes of one folder.

    Raises:
        ForeactError: no or damaged episodes, missing keys, arrays of different lengths.
    """
    options.refuse("actor", format="iws")
    files = _files(source)
    if not files:
        raise ForeactError(f"{source} holds no episode_<number>.hdf5; import its folders train and val one by one")
    kind = options.actions or "reached"
    if kind not in SOURCES:
        raise ForeactError(f"actions must be one of {', '.join(SOURCES)}, not {kind!r}")
    with open_hdf5(files[0]) as file:
        cameras = _cameras(file, options, where=str(files[0]))
        fps = options.fps or _rate(file)

    def read(index: int) -> Recording:
        where = str(files[index])
        with open_hdf5(files[index]) as file:
            frames = {
                name: scale_frames(read_array(file, key, where=where), options.scaled(shape))
                for name, (key, shape) in cameras.items()
            }
            columns = _columns(file, kind, where=where)
        lengths = {key: len(values) for key, values in (frames | columns).items()}
        if len(set(lengths.values())) > 1:
            raise ForeactError(f"{where} has arrays of different lengths: {lengths}")
        return Recording(frames=frames, columns=columns, task=options.task or "")

    return Recordings(
        count=len(files),
        read=read,
        fps=fps,
        cameras={name: options.scaled(shape) for name, (_, shape) in cameras.items()},
        columns={key: _names(key, kind, values.shape[1]) for key, values in read(0).columns.items()},
        robot_type="aloha",
    )


def _files(folder: Path) -> list[Path]:
    numbered = [(int(match[1]), path) for path in folder.glob("episode_*.hdf5") if (match := re.fullmatch(r"episode_(\d+)", path.stem))]
    return [path for _, path in sorted(numbered)]


def _cameras(file: Any, options: ImportOptions, *, where: str) -> dict[str, tuple[str, tuple[int, int]]]:
    """Camera's name -> its key in the file, and the height and width recorded."""
    images = file["obs/images"] if "obs/images" in file else {}
    keys = [key for key in images if images[key].ndim == 4 and images[key].shape[-1] == 3 and images[key].dtype == np.uint8]
    cameras = {key.removesuffix("_color"): (f"obs/images/{key}", images[key].shape[1:3]) for key in keys}
    if not cameras:
        raise ForeactError(f"{where} has no pictures in obs/images")
    if options.camera is not None and options.camera not in cameras:
        raise ForeactError(f"{where} has no camera {options.camera!r}; it has {sorted(cameras)}")
    return {name: place for name, place in cameras.items() if options.camera in (None, name)}


def _rate(file: Any) -> int:
    if "timestamp" not in file or len(file["timestamp"]) < 2:
        return _FPS
    return max(round(1 / float(np.median(np.diff(file["timestamp"])))), 1)


def _columns(file: Any, kind: str, *, where: str) -> dict[str, np.ndarray]:
    """Joint positions, the object's pose where it is known, and actions, (T, D) each."""
    joints = read_array(file, "obs/joint_pos", where=where)
    columns = {"observation.state": joints}
    if "env_state" in file:
        columns["observation.object_pose"] = read_array(file, "env_state", where=where)
    if kind == "commanded":
        return columns | {"action": read_array(file, "action", where=where)}
    return columns | {"action": leading_rows(joints if kind == "joints" else _hands(file, where=where))}


def _hands(file: Any, *, where: str) -> np.ndarray:
    """Where the hands are at each frame: (T, 4 per arm) of a real robot, (T, 2 per arm) of the simulated one."""
    hands = read_array(file, "obs/ee_pos", where=where)
    if hands.ndim == 4:
        return hands[:, :, :2, 3].reshape(len(hands), -1)
    bases = read_array(file, "obs/world_t_robot_base", where=where)
    arms = bases.shape[1]
    poses = hands.reshape(len(hands), arms, 7)
    places = np.einsum("traij,traj->trai" if bases.ndim == 5 else "trij,trj->tri", bases[..., :3, :3], poses[..., :3])
    places = places + bases[..., :3, 3]
    return np.concatenate([places, poses[..., 6:]], axis=-1).reshape(len(hands), -1)


def _names(key: str, kind: str, dims: int) -> tuple[str, ...]:
    if key == "observation.object_pose" and dims == len(POSE):
        return POSE
    parts = {4: ("x", "y", "z", "gripper"), 8: ("x", "y", "z", "gripper")}.get(dims, ())
    if key == "action" and kind == "reached" and parts:
        sides = ("right_", "left_") if dims == 8 else ("",)
        return tuple(side + part for side in sides for part in parts)
    return tuple(f"{'joint' if key == 'observation.state' or kind == 'joints' else 'action'}_{i}" for i in range(dims))
