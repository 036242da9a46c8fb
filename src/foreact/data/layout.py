"""Turns recorded episodes into the files of a LeRobot dataset, version 3.0."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from foreact.core.files import whole, write_atomically
from foreact.data.parquet import open_parquet
from foreact.data.statistics import Statistics, count_levels, describe_levels, describe_rows
from foreact.data.video import read_video

DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
CHUNK = 1000
_DATA_MB, _VIDEO_MB = 100, 200
_COUNTERS = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What all episodes of a dataset share.

    Attributes:
        fps: frames per second.
        robot_type: name of the robot.
        cameras: full name -> height and width.
        columns: feature -> names of its dimensions.
    """

    fps: int
    robot_type: str | None
    cameras: dict[str, tuple[int, int]]
    columns: dict[str, tuple[str, ...]]


def file_path(template: str, number: int, **names: str) -> str:
    """Path of the `number`-th file, relative to the dataset."""
    return template.format(chunk_index=number // CHUNK, file_index=number % CHUNK, **names)


def episode_table(
    settings: Settings, columns: Mapping[str, np.ndarray], length: int, *, index: int, offset: int
) -> pa.Table:
    """The rows of an episode, without the task's number; `columns` are (T, D), `offset` is its first row's number."""
    frame_index = np.arange(length, dtype=np.int64)
    counters: dict[str, np.ndarray] = {
        "timestamp": (frame_index / settings.fps).astype(np.float32),
        "frame_index": frame_index,
        "episode_index": np.full(length, index, dtype=np.int64),
        "index": frame_index + offset,
    }
    return pa.table({key: _to_arrow(values) for key, values in {**columns, **counters}.items()})


def write_parquet(path: Path, tables: Iterable[pa.Table]) -> None:
    """Write tables of one schema, each as a row group; the file appears whole or not at all.

    Raises:
        ForeactError: the disk is full or not writable.
    """
    tables = iter(tables)
    first = next(tables)
    with whole(path) as temporary:
        path.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(temporary, first.schema, write_page_checksum=True) as writer:
            for table in (first, *tables):
                writer.write_table(table, row_group_size=max(len(table), 1))


def gather(root: Path, staged: Sequence[Path], settings: Settings) -> None:
    """Write data, tasks, episodes, statistics and, last, `meta/info.json` from the files of single episodes.

    Args:
        root: the dataset's folder, videos already in place.
        staged: files of episodes 0, 1, 2, ..., whose schema metadata holds the task and the pictures' levels.
        settings: what all episodes share.
    """
    tasks: list[str] = []
    rows: list[dict[str, Any]] = []
    levels = {key: np.zeros((3, 256), dtype=np.int64) for key in settings.cameras}
    columns: dict[str, list[np.ndarray]] = {key: [] for key in (*settings.columns, *_COUNTERS)}
    for number, paths in enumerate(_groups(staged)):
        tables = []
        for path in paths:
            table, about = _read_staged(path, tasks)
            tables.append(table)
            described: dict[str, Statistics] = {}
            for key, size in settings.cameras.items():
                counts = _levels(root, about, key, len(rows))
                levels[key] += counts
                described[key] = describe_levels(counts, math.prod(size))
            for key in columns:
                columns[key].append(_from_arrow(table.column(key)))
                described[key] = describe_rows(columns[key][-1])
            rows.append(_episode_row(settings, rows, len(table), number, about["task"], described))
        write_parquet(root / file_path(DATA_PATH, number), tables)
    statistics = {key: describe_levels(levels[key], math.prod(size)) for key, size in settings.cameras.items()}
    statistics |= {key: describe_rows(np.concatenate(parts)) for key, parts in columns.items()}
    known = {key: to_json(part) for key, part in statistics.items() if part["count"][0]}
    write_parquet(root / "meta" / "tasks.parquet", [_tasks_table(tasks)])
    write_atomically(root / "meta" / "stats.json", json.dumps(known, indent=4).encode())
    write_parquet(root / "meta/episodes/chunk-000/file-000.parquet", [pa.Table.from_pylist(rows)])
    info = _info(settings, episodes=len(rows), frames=rows[-1]["dataset_to_index"], tasks=len(tasks))
    write_atomically(root / "meta" / "info.json", json.dumps(info, indent=4).encode())


def to_json(statistics: Statistics) -> dict[str, Any]:
    """Statistics as plain lists."""
    return {name: value.tolist() for name, value in statistics.items()}


def _groups(staged: Sequence[Path]) -> Iterator[list[Path]]:
    """Files of single episodes, in groups that each make one data file."""
    group: list[Path] = []
    size = 0
    for path in staged:
        if group and size + path.stat().st_size > _DATA_MB << 20:
            yield group
            group, size = [], 0
        group.append(path)
        size += path.stat().st_size
    yield group


def _read_staged(path: Path, tasks: list[str]) -> tuple[pa.Table, dict[str, Any]]:
    """An episode's rows with its task's number (new tasks are added to `tasks`), and what was noted about it."""
    with open_parquet(path) as file:
        table = file.read()
    about = json.loads(table.schema.metadata[b"episode"])
    if about["task"] not in tasks:
        tasks.append(about["task"])
    task_index = np.full(len(table), tasks.index(about["task"]), dtype=np.int64)
    return table.replace_schema_metadata(None).append_column("task_index", pa.array(task_index)), about


def _levels(root: Path, about: Mapping[str, Any], camera: str, episode: int) -> np.ndarray:
    """Counted when the episode was recorded; counted now where a recording was begun by a version that did not."""
    if "levels" in about:
        return np.array(about["levels"][camera])
    return count_levels(read_video(root / file_path(VIDEO_PATH, episode, video_key=camera)))


def _episode_row(
    settings: Settings,
    earlier: Sequence[Mapping[str, Any]],
    length: int,
    data_file: int,
    task: str,
    described: Mapping[str, Statistics],
) -> dict[str, Any]:
    index, first = len(earlier), earlier[-1]["dataset_to_index"] if earlier else 0
    row: dict[str, Any] = {"episode_index": index, "tasks": [task], "length": length}
    row |= {"data/chunk_index": data_file // CHUNK, "data/file_index": data_file % CHUNK}
    row |= {"dataset_from_index": first, "dataset_to_index": first + length}
    for key in settings.cameras:
        row |= {f"videos/{key}/chunk_index": index // CHUNK, f"videos/{key}/file_index": index % CHUNK}
        row |= {f"videos/{key}/from_timestamp": 0.0, f"videos/{key}/to_timestamp": length / settings.fps}
    for key, statistics in described.items():
        row |= {f"stats/{key}/{name}": value for name, value in to_json(statistics).items()}
    return row | {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}


def _tasks_table(tasks: Sequence[str]) -> pa.Table:
    """Tasks with their text as the index, described the way pandas expects it."""
    columns = [("task_index", "int64", "int64"), ("task", "unicode", "object")]
    described = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [
            {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": dtype, "metadata": None}
            for name, kind, dtype in columns
        ],
        "pandas_version": "2.0.0",
    }
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), "task": pa.array(tasks, pa.string())})
    return table.replace_schema_metadata({"pandas": json.dumps(described)})


def _info(settings: Settings, *, episodes: int, frames: int, tasks: int) -> dict[str, Any]:
    return {
        "codebase_version": "v3.0",
        "robot_type": settings.robot_type,
        "total_episodes": episodes,
        "total_frames": frames,
        "total_tasks": tasks,
        "chunks_size": CHUNK,
        "data_files_size_in_mb": _DATA_MB,
        "video_files_size_in_mb": _VIDEO_MB,
        "fps": settings.fps,
        "splits": {"train": f"0:{episodes}"},
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH,
        "features": _features(settings),
    }


def _features(settings: Settings) -> dict[str, Any]:
    features: dict[str, Any] = {}
    for key, (height, width) in settings.cameras.items():
        about = {"height": height, "width": width, "codec": "h264", "pix_fmt": "yuv420p", "is_depth_map": False}
        about |= {"fps": settings.fps, "channels": 3}
        features[key] = {
            "dtype": "video",
            "shape": [height, width, 3],
            "names": ["height", "width", "channels"],
            "info": {f"video.{name}": value for name, value in about.items()} | {"has_audio": False},
        }
    for key, names in settings.columns.items():
        features[key] = {"dtype": "float32", "shape": [len(names)], "names": list(names)}
    return features | {key: {"dtype": dtype, "shape": [1], "names": None} for key, dtype in _COUNTERS.items()}


def _to_arrow(values: np.ndarray) -> pa.Array:
    """(T,) or (T, 1) as plain numbers, (T, D) as lists of fixed length: LeRobot's own choice."""
    if values.ndim == 1 or values.shape[1] == 1:
        return pa.array(values.reshape(-1))
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def _from_arrow(column: pa.ChunkedArray) -> np.ndarray:
    array = column.combine_chunks()
    flat = array.flatten() if pa.types.is_fixed_size_list(array.type) else array
    return flat.to_numpy().reshape(len(array), -1)
