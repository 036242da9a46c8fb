"""What `meta/info.json` of a LeRobot dataset folder says, versions 2.0, 2.1 and 3; and the texts of its tasks."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foreact.core.errors import ForeactError
from foreact.core.files import parse_json, read_json
from foreact.data.parquet import read_table
from foreact.data.plausible import require_features
from foreact.data.rates import exact_rate

INFO_FILE = "meta/info.json"
PICTURES = ("video", "image")
"""Kinds of features that cameras have: in files of their own, or in the parquet files."""
_DEPTH = ("is_depth_map", "video.is_depth_map")


@dataclass(frozen=True, kw_only=True)
class Info:
    """What `meta/info.json` says, as far as foreact needs it.

    Attributes:
        version: codebase_version.
        fps: frames per second; an int where it is whole, else the float nearest to the exact fraction, as 30000/1001 for 29.97.
        robot_type: name of the robot, if given.
        features: description (dtype, shape, names) of every column and camera.
        data_path, video_path: templates of the file names.
        chunks_size: episodes per folder (version 2).
        totals: how many there should be of "total_episodes" and "total_frames", where it says so.
    """

    version: str
    fps: float
    robot_type: str | None
    features: dict[str, dict[str, Any]]
    data_path: str
    video_path: str | None
    chunks_size: int
    totals: dict[str, int]


def read_info(root: Path) -> Info:
    """Read `meta/info.json`.

    Raises:
        ForeactError: no dataset there, an unsupported version or storage, or keys that are missing or ill-typed.
    """
    path = root / INFO_FILE
    if not root.is_dir():
        raise ForeactError(f"{root}: no such dataset folder")
    if not path.is_file():
        raise ForeactError(f"{root} is not a (finished) LeRobot dataset: meta/info.json is missing")
    try:
        raw = read_json(path)
        _check_format(path, str(raw["codebase_version"]), raw.get("storage_format"))
        info = Info(
            version=str(raw["codebase_version"]),
            fps=_rate(path, raw["fps"]),
            robot_type=None if raw.get("robot_type") is None else str(raw["robot_type"]),
            features={str(k): _feature(path, str(k), v) for k, v in raw["features"].items()},
            data_path=str(raw["data_path"]),
            video_path=raw.get("video_path"),
            chunks_size=1000 if raw.get("chunks_size") is None else int(raw["chunks_size"]),
            totals={key: int(raw[key]) for key in ("total_episodes", "total_frames") if raw.get(key) is not None},
        )
    except KeyError as error:
        raise ForeactError(f"{path}: the key {error} is missing") from error
    except (OSError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise ForeactError(f"{path} cannot be read: {error}") from error
    if video_keys(info) and not info.video_path:
        raise ForeactError(f"{path}: the key 'video_path' is missing, which says where the videos are")
    require_features({k: f for k, f in info.features.items() if _is_read(f)}, str(path))
    if info.chunks_size < 1:
        raise ForeactError(f"{path}: chunks_size must be a positive number, not {info.chunks_size}")
    return info


def _check_format(path: Path, version: str, storage: str | None) -> None:
    """See that the files are of a kind that is read; v3.1 and later ones of version 3 differ by columns that nobody needs."""
    if version not in ("v2.0", "v2.1") and not version.startswith("v3."):
        raise ForeactError(
            f"{path}: dataset version {version} is not supported, only v2.0, v2.1, v3.0 and later ones of version 3: "
            "convert it with LeRobot"
        )
    if storage not in (None, "parquet") and not any((path.parent.parent / "data").rglob("*.parquet")):
        raise ForeactError(
            f"{path}: storage_format is {storage!r}, which foreact does not read: it takes parquet files under data/; "
            "get the dataset in that form, or write it so with LeRobot"
        )


def _rate(path: Path, fps: Any) -> float:
    if not isinstance(fps, int | float) or isinstance(fps, bool) or not math.isfinite(fps) or fps <= 0:
        raise ForeactError(f"{path}: fps must be a positive number, not {json.dumps(fps)}")
    return int(fps) if fps == int(fps) else float(exact_rate(fps))


def _feature(path: Path, key: str, about: Any) -> dict[str, Any]:
    """The description of a feature; see `require_features` for what it must hold."""
    if not isinstance(about, dict):
        raise ForeactError(
            f"{path}: the feature {key!r} is {json.dumps(about)}, not a description with dtype and shape"
        )
    return about


def _is_read(feature: Mapping[str, Any]) -> bool:
    return holds_numbers(feature) or feature.get("dtype") in PICTURES


def holds_numbers(feature: Mapping[str, Any]) -> bool:
    """Whether a feature is a column of numbers; pictures, texts, annotations and whatever is new are none."""
    try:
        return np.dtype(feature.get("dtype")).kind in "biuf"
    except TypeError:
        return False


def width_of(feature: Mapping[str, Any]) -> int:
    """Numbers that one row of a feature holds."""
    return int(np.prod(feature["shape"]))


def names_of(feature: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of a feature's dimensions, also where they lie in a list or under a key of their own; else their numbers."""
    names: Any = feature.get("names")
    dims = width_of(feature)
    while names and (isinstance(names, dict) or (isinstance(names, list) and isinstance(names[0], list))):
        names = next(iter(names.values() if isinstance(names, dict) else names))
    return tuple(map(str, names)) if isinstance(names, list) and len(names) == dims else tuple(map(str, range(dims)))


def picture_size(feature: Mapping[str, Any], *, where: str) -> tuple[int, int]:
    """Height and width of a camera's pictures.

    Raises:
        ForeactError: the shape is not that of a picture; `where` begins the message.
    """
    shape, names = list(feature["shape"]), list(feature.get("names") or ())
    if len(shape) != 3:
        raise ForeactError(f"{where} the shape {shape}, not three numbers")
    if "height" in names and "width" in names:
        return shape[names.index("height")], shape[names.index("width")]
    return (shape[1], shape[2]) if shape[0] == 3 else (shape[0], shape[1])


def is_depth(feature: Mapping[str, Any]) -> bool:
    """Whether a camera is marked as one of depth, in any of the places where LeRobot has put that mark."""
    places = (feature, feature.get("info") or {}, feature.get("video_info") or {})
    return any(place.get(mark) for place in places for mark in _DEPTH)


def video_keys(info: Info) -> tuple[str, ...]:
    """Full names of the cameras that are stored as video files, in the order of info.json, without those of depth."""
    return tuple(key for key, f in info.features.items() if f.get("dtype") == "video" and not is_depth(f))


def picture_keys(info: Info) -> tuple[str, ...]:
    """Full names of the cameras that are stored as pictures in the parquet files, without those marked as depth."""
    return tuple(key for key, f in info.features.items() if f.get("dtype") == "image" and not is_depth(f))


def read_tasks(root: Path) -> dict[int, str] | None:
    """The text of each task by its number, or None where the dataset has no list of tasks.

    Raises:
        ForeactError: the list is there and cannot be read.
    """
    table, lines = root / "meta" / "tasks.parquet", root / "meta" / "tasks.jsonl"
    try:
        if table.is_file():
            found = read_table(table, ["task_index"], optional=["task", "__index_level_0__"])
            texts = next((found.column(name) for name in found.column_names if name != "task_index"), None)
            numbers = found.column("task_index").to_pylist()
            return dict(zip(numbers, map(str, texts.to_pylist()) if texts else [""] * len(numbers), strict=True))
        if lines.is_file():
            rows = [parse_json(line) for line in lines.read_bytes().splitlines() if line.strip()]
            return {int(row["task_index"]): str(row["task"]) for row in rows}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ForeactError(f"{lines} cannot be read: {error!r}") from error
    return None
