"""ManiSkill's recordings: `trajectory.*.h5` with a `.json` of the same name.

An episode has T actions and T + 1 observations, so action t leads from frame t to t + 1 as in foreact; the last row is
repeated for the last frame. Episodes are taken in the order of the JSON file (HDF5 sorts traj_10 before traj_2).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from foreact.core.errors import ForeactError
from foreact.core.files import read_json
from foreact.data.importers.episodes import EpisodeSource, ImportOptions, RawEpisode, join, pad_last_row
from foreact.data.importers.hdf5 import open_hdf5, read_array
from foreact.data.video import scale_frames

POSE = ("x", "y", "z", "qw", "qx", "qy", "qz")
# ManiSkill's own default rate of control.
_FPS = 20
_MOVES = 1e-3


def is_maniskill(source: Path) -> bool:
    """Whether `source` is such a file, or a folder that holds some."""
    return bool(_files(source))


def open_maniskill(source: Path, options: ImportOptions) -> EpisodeSource:
    """All recordings of a file or of a folder (and its subfolders).

    Raises:
        ForeactError: recordings without pictures, missing keys, several objects of which none was chosen.
    """
    options.refuse("actions", "stride", format="maniskill")
    files = _files(source)
    if not files:
        raise ForeactError(f"{source}: no ManiSkill recording (an .h5 file with a .json file of the same name)")
    return join([_open_file(path, options) for path in files])


def _files(source: Path) -> list[Path]:
    paths = sorted(source.rglob("*.h5")) if source.is_dir() else [source]
    return [path for path in paths if path.suffix == ".h5" and path.with_suffix(".json").is_file()]


def _open_file(path: Path, options: ImportOptions) -> EpisodeSource:
    described = _read_json(path.with_suffix(".json"))
    env = described["env_info"]
    kwargs = env.get("env_kwargs") or {}
    names = [f"traj_{episode['episode_id']}" for episode in described["episodes"]]
    with open_hdf5(path) as file:
        missing = [name for name in names if name not in file]
        if missing or not names:
            raise ForeactError(
                f"{path}: {missing[0] if missing else 'traj_0'} is missing, though the JSON file lists it"
            )
        cameras = _cameras(file[names[0]], options, where=f"{path}, {names[0]}")
        actor = _choose_actor(file, names, options.actor, path)
        columns = _columns(file[names[0]], actor, where=f"{path}, {names[0]}")
    task = options.task or str(env.get("env_id", ""))

    def read(index: int) -> RawEpisode:
        where = f"{path}, {names[index]}"
        with open_hdf5(path) as file:
            group = file[names[index]]
            frames = {
                name: scale_frames(read_array(group, f"obs/sensor_data/{name}/rgb", where=where), options.scaled(shape))
                for name, shape in cameras.items()
            }
            return RawEpisode(frames=frames, columns=_columns(group, actor, where=where), task=task)

    robot = kwargs.get("robot_uids")
    fps, notes = options.rate((kwargs.get("sim_config") or {}).get("control_freq", _FPS), where=str(path))
    return EpisodeSource(
        count=len(names),
        read=read,
        fps=fps,
        cameras={name: options.scaled(shape) for name, shape in cameras.items()},
        columns={key: _names(key, values.shape[1]) for key, values in columns.items()},
        robot_type=robot if isinstance(robot, str) else None,
        notes=notes,
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        described = read_json(path)
        if not described["episodes"] or "env_info" not in described:
            raise ForeactError(f"{path} lists no episodes or has no env_info: it is not a ManiSkill recording")
        return dict(described)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ForeactError(f"{path} is not the JSON file of a ManiSkill recording ({error})") from error


def _cameras(group: Any, options: ImportOptions, *, where: str) -> dict[str, tuple[int, int]]:
    """Name -> recorded height and width."""
    sensors = group["obs"]["sensor_data"] if _has(group, "obs") and _has(group["obs"], "sensor_data") else {}
    shapes = {name: sensors[name]["rgb"].shape[1:3] for name in sensors if "rgb" in sensors[name]}
    if not shapes:
        raise ForeactError(
            f"{where} holds states only (no obs/sensor_data/CAMERA/rgb): replay it with pictures, "
            "python -m mani_skill.trajectory.replay_trajectory --traj-path FILE --save-traj -o rgb"
        )
    if options.camera is not None and options.camera not in shapes:
        raise ForeactError(f"{where} has no camera {options.camera!r}; it has {sorted(shapes)}")
    return {name: shape for name, shape in shapes.items() if options.camera in (None, name)}


def _has(group: Any, key: str) -> bool:
    """Whether a group holds another group `key`."""
    return key in group and hasattr(group[key], "keys")


def _columns(group: Any, actor: str | None, *, where: str) -> dict[str, np.ndarray]:
    """Joint positions, the object's pose and actions, (T + 1, D) each."""
    columns = {"observation.state": read_array(group, "obs/agent/qpos", where=where)}
    actions = pad_last_row(_actions(group, where=where), len(columns["observation.state"]), where=where)
    if actor is not None:
        columns["observation.object_pose"] = read_array(group, f"env_states/actors/{actor}", where=where)[:, :7]
    return columns | {"action": actions}


def _actions(group: Any, *, where: str) -> np.ndarray:
    if _has(group, "actions"):
        parts = group["actions"]
        return np.concatenate([read_array(parts, key, where=where) for key in sorted(parts)], axis=1)
    return read_array(group, "actions", where=where)


def _choose_actor(file: Any, names: list[str], wanted: str | None, path: Path) -> str | None:
    """The object whose pose is kept: the one asked for, or the only one that ever moves."""
    first = file[names[0]]
    if not _has(first, "env_states") or not _has(first["env_states"], "actors"):
        if wanted is not None:
            raise ForeactError(f"{path}: no actor {wanted!r}, the recording has no env_states")
        return None
    actors = sorted(first["env_states/actors"])
    if wanted is not None:
        if wanted not in actors:
            raise ForeactError(f"{path}: no actor {wanted!r}; it has {actors}")
        return wanted
    moving = [actor for actor in actors if any(_moves(file[name], actor) for name in names)]
    if len(moving) > 1:
        raise ForeactError(f"{path}: several objects move ({', '.join(moving)}): choose one with the option actor")
    return next(iter(moving or actors), None)


def _moves(group: Any, actor: str) -> bool:
    places = np.asarray(group[f"env_states/actors/{actor}"])[:, :3]
    return bool(np.abs(places - places[0]).max() > _MOVES)


def _names(key: str, dims: int) -> tuple[str, ...]:
    if key == "observation.object_pose":
        return POSE
    return tuple(f"{'joint' if key == 'observation.state' else 'action'}_{i}" for i in range(dims))
