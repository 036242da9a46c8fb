"""The metadata of a LeRobot dataset folder, versions 2.0, 2.1 and 3.0, brought to one form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from foreact.core.errors import ForeactError
from foreact.core.files import parse_json, read_json
from foreact.data.plausible import require_episode, require_features
from foreact.data.templates import fill

INFO_FILE = "meta/info.json"
READABLE = ("v2.0", "v2.1", "v3.0")


@dataclass(frozen=True, kw_only=True)
class Info:
    """What `meta/info.json` says, as far as foreact needs it.

    Attributes:
        version: codebase_version.
        fps: frames per second.
        robot_type: name of the robot, if given.
        features: description (dtype, shape, names) of every column and camera.
        data_path, video_path: templates of the file names.
        chunks_size: episodes per folder (version 2).
        totals: how many there should be of "total_episodes" and "total_frames", where it says so.
    """

    version: str
    fps: int
    robot_type: str | None
    features: dict[str, dict[str, Any]]
    data_path: str
    video_path: str | None
    chunks_size: int
    totals: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class EpisodeFiles:
    """Where an episode lies on disk.

    Attributes:
        index: episode number.
        length: frames, T.
        task: text of the (first) task, empty if there is none.
        data: path of the parquet file, relative to the dataset.
        rows: first row among all rows of the dataset, and the one after the last.
        videos: camera stored as video -> (path relative to the dataset, seconds at which the episode starts, seconds it ends or None).
    """

    index: int
    length: int
    task: str
    data: str
    rows: tuple[int, int]
    videos: Mapping[str, tuple[str, float, float | None]]


def read_info(root: Path) -> Info:
    """Read `meta/info.json`.

    Raises:
        ForeactError: no dataset there, an unsupported version, or keys that are missing or ill-typed.
    """
    path = root / INFO_FILE
    if not root.is_dir():
        raise ForeactError(f"{root}: no such dataset folder")
    if not path.is_file():
        raise ForeactError(f"{root} is not a (finished) LeRobot dataset: meta/info.json is missing")
    try:
        raw = read_json(path)
        version = str(raw["codebase_version"])
        if version not in READABLE:
            raise ForeactError(f"{path}: dataset version {version} is not supported, only {', '.join(READABLE)}")
        info = Info(
            version=version,
            fps=int(raw["fps"]),
            robot_type=None if raw.get("robot_type") is None else str(raw["robot_type"]),
            features={str(k): dict(v) for k, v in raw["features"].items()},
            data_path=str(raw["data_path"]),
            video_path=raw.get("video_path"),
            chunks_size=int(raw.get("chunks_size", 1000)),
            totals={key: raw[key] for key in ("total_episodes", "total_frames") if key in raw},
        )
    except KeyError as error:
        raise ForeactError(f"{path}: the key {error} is missing") from error
    except (OSError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise ForeactError(f"{path} cannot be read: {error}") from error
    require_features(info.features, str(path))
    if info.chunks_size < 1:
        raise ForeactError(f"{path}: chunks_size must be a positive number, not {info.chunks_size}")
    if info.fps < 1 or info.fps != raw["fps"]:
        raise ForeactError(f"{path}: fps must be a whole number, not {raw['fps']}")
    return info


def video_keys(info: Info) -> tuple[str, ...]:
    """Full names of the features that are stored as video files, in the order of info.json, without depth maps."""
    videos = {
        key: feature.get("info") or {} for key, feature in info.features.items() if feature.get("dtype") == "video"
    }
    return tuple(key for key, about in videos.items() if not about.get("video.is_depth_map"))


def picture_keys(info: Info) -> tuple[str, ...]:
    """Full names of the features that are stored as pictures in the parquet files."""
    return tuple(key for key, feature in info.features.items() if feature.get("dtype") == "image")


def read_episodes(root: Path, info: Info) -> tuple[EpisodeFiles, ...]:
    """The episodes of the dataset, by number; numbers may have gaps, as where episodes were deleted.

    Raises:
        ForeactError: a file or column of the metadata is missing or unreadable, or a number occurs twice.
    """
    try:
        rows = _episodes_v3(root, info) if info.version == "v3.0" else _episodes_v2(root, info)
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ForeactError(f"{root}: the metadata of the episodes is damaged ({_first_line(error)})") from error
    for row in rows:
        places = [place for _, begin, end in row.videos.values() for place in (begin, end) if place is not None]
        require_episode(row.index, row.length, (*row.rows, *places), str(root))
    episodes = tuple(sorted(rows, key=lambda episode: episode.index))
    if not episodes:
        raise ForeactError(f"{root} holds no episodes")
    for episode, following in pairwise(episodes):
        if episode.index == following.index:
            raise ForeactError(f"{root}: the metadata has episode {episode.index} twice")
    return episodes


def read_table(paths: Iterable[Path], columns: list[str], *, lenient: bool = False) -> pa.Table:
    """The rows of several parquet files, one after the other.

    Args:
        paths: the files.
        columns: columns to read.
        lenient: leave out columns that a file does not have.

    Raises:
        ForeactError: a file is missing or damaged, or lacks one of `columns`.
    """
    paths = list(paths)
    tables = []
    for path in paths:
        if not path.is_file():
            raise ForeactError(f"{path} is missing")
        try:
            with pq.ParquetFile(path) as file:
                names = file.schema_arrow.names
                missing = [name for name in columns if name not in names]
                if missing and not lenient:
                    raise ForeactError(f"{path}: column {missing[0]!r} is missing (it has {names})")
                columns = [name for name in columns if name in names]
                tables.append(file.read(columns=columns).replace_schema_metadata(None))
        except (pa.ArrowException, OSError) as error:
            raise ForeactError(f"{path} is truncated or not a parquet file ({_first_line(error)})") from error
    try:
        return pa.concat_tables([table.select(columns) for table in tables], promote_options="permissive")
    except pa.ArrowException as error:
        raise ForeactError(f"{paths[0]} and the files beside it do not fit together ({_first_line(error)})") from error


def _episodes_v3(root: Path, info: Info) -> list[EpisodeFiles]:
    files = sorted((root / "meta" / "episodes").glob("*/*.parquet"))
    if not files:
        raise ForeactError(f"{root}: meta/episodes/*/*.parquet is missing")
    cameras = video_keys(info)
    fields = ["chunk_index", "file_index", "from_timestamp", "to_timestamp"]
    columns = ["episode_index", "tasks", "length", "data/chunk_index", "data/file_index"]
    columns += ["dataset_from_index", "dataset_to_index"]
    columns += [f"videos/{camera}/{field}" for camera in cameras for field in fields]
    return [_episode_v3(row, info, cameras, str(root / INFO_FILE)) for row in read_table(files, columns).to_pylist()]


def _episode_v3(row: dict[str, Any], info: Info, cameras: tuple[str, ...], where: str) -> EpisodeFiles:
    def video(key: str) -> tuple[str, float, float]:
        chunk, file, begin, end = (
            row[f"videos/{key}/{field}"] for field in ("chunk_index", "file_index", "from_timestamp", "to_timestamp")
        )
        return fill(info.video_path, where, video_key=key, chunk_index=chunk, file_index=file), begin, end

    return EpisodeFiles(
        index=row["episode_index"],
        length=row["length"],
        task=(row["tasks"] or [""])[0],
        data=fill(info.data_path, where, chunk_index=row["data/chunk_index"], file_index=row["data/file_index"]),
        rows=(row["dataset_from_index"], row["dataset_to_index"]),
        videos={key: video(key) for key in cameras},
    )


def _episodes_v2(root: Path, info: Info) -> list[EpisodeFiles]:
    episodes, first, where = [], 0, str(root / INFO_FILE)
    path = root / "meta" / "episodes.jsonl"
    for row in sorted(_read_jsonl(path), key=lambda row: int(row.get("episode_index", -1))):
        try:
            index, length, tasks = int(row["episode_index"]), int(row["length"]), row.get("tasks") or [""]
        except KeyError as error:
            raise ForeactError(f"{path}: the key {error} is missing in {row}") from error
        names = {"episode_chunk": index // info.chunks_size, "episode_index": index}
        videos = {key: (fill(info.video_path, where, video_key=key, **names), 0.0, None) for key in video_keys(info)}
        episodes.append(
            EpisodeFiles(
                index=index,
                length=length,
                task=str(tasks[0]),
                data=fill(info.data_path, where, **names),
                rows=(first, first + length),
                videos=videos,
            )
        )
        first += length
    return episodes


def _read_jsonl(path: Path) -> list[dict[str, Any]]:
    try:
        return [parse_json(line) for line in path.read_bytes().splitlines() if line.strip()]
    except FileNotFoundError as error:
        raise ForeactError(f"{path} is missing") from error
    except (OSError, ValueError) as error:
        raise ForeactError(f"{path} cannot be read: {error}") from error


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
