"""A folder of videos, with a table of actions beside each: `pick_1.mp4` and `pick_1.csv` (or `.parquet`).

A table's columns are the dimensions of the action. Where any of them is called `action.NAME` or `observation.state.NAME`
(or another `observation.FEATURE.NAME`), all must be, and each feature gets the dimensions that are named so. A video
without a table is an actionless episode. Row t of the actions leads from frame t to t + 1.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from foreact.core.errors import ForeactError
from foreact.data.importers.episodes import EpisodeSource, ImportOptions, RawEpisode, pad_last_row
from foreact.data.video import Video

VIDEOS = (".mp4", ".mov", ".mkv", ".avi", ".webm")
TABLES = (".csv", ".parquet")
_CLOCKS = {"t", "time", "timestamp", "frame", "frame_index", "index", "step"}
# An episode is held in memory while it is written.
_MOST_BYTES = 8 << 30

Columns = dict[str, dict[str, np.ndarray]]


def is_folder(source: Path) -> bool:
    """Whether `source` is a folder of videos."""
    return source.is_dir() and any(path.suffix.lower() in VIDEOS for path in source.iterdir())


def open_folder(source: Path, options: ImportOptions) -> EpisodeSource:
    """The videos of a folder, in natural order (2 before 10).

    Raises:
        ForeactError: videos of different sizes or rates, tables that do not fit their video or each other.
    """
    options.refuse("actor", "actions", format="folder")
    paths = sorted((path for path in source.iterdir() if path.suffix.lower() in VIDEOS), key=_natural)
    if not paths:
        raise ForeactError(f"{source} holds no videos ({', '.join(VIDEOS)})")
    tables = _find_tables(source, paths)
    features = _features(tables)
    videos = [Video(path) for path in paths]
    shape = _common_shape(videos)
    camera, size = options.camera or "main", options.scaled(shape)

    def read(index: int) -> RawEpisode:
        video, table = videos[index], tables.get(paths[index].stem)
        needed = video.frame_count * size[0] * size[1] * 3
        if needed > _MOST_BYTES:
            raise ForeactError(
                f"{video.path}: {video.frame_count} frames need {needed >> 30} GiB of memory: cut the video into shorter "
                "episodes or give a smaller height"
            )
        frames = video.read(size=size)
        columns = {} if table is None else _episode_columns(table, len(frames))
        return RawEpisode(frames={camera: frames}, columns=columns, task=options.task or "")

    return EpisodeSource(
        count=len(videos),
        read=read,
        fps=options.fps or _common_fps(videos),
        cameras={camera: size},
        columns=features,
    )


def _find_tables(source: Path, videos: list[Path]) -> dict[str, Path]:
    """Video's stem -> its table."""
    stems = {path.stem for path in videos}
    tables: dict[str, Path] = {}
    for path in sorted(path for path in source.iterdir() if path.suffix.lower() in TABLES):
        if path.stem not in stems:
            raise ForeactError(f"{path} has no video of the same name beside it")
        if path.stem in tables:
            raise ForeactError(f"{path} and {tables[path.stem].name} belong to the same video: keep one")
        tables[path.stem] = path
    return tables


def _features(tables: dict[str, Path]) -> dict[str, tuple[str, ...]]:
    """Feature -> names of its dimensions, the same in all tables."""
    features: dict[str, tuple[str, ...]] = {}
    for path in tables.values():
        found = {key: tuple(dims) for key, dims in _read_table(path).items()}
        features = features or found
        if found != features:
            raise ForeactError(f"{path} has the columns {found}, but the tables before it have {features}")
    return features


def _episode_columns(path: Path, length: int) -> dict[str, np.ndarray]:
    columns = {}
    for key, dims in _read_table(path).items():
        values = np.stack(list(dims.values()), axis=1)
        if key != "action" and len(values) != length:
            raise ForeactError(f"{path}: {len(values)} rows of {key} for {length} frames: it needs one per frame")
        columns[key] = pad_last_row(values, length, where=str(path)) if key == "action" else values
    return columns


def _read_table(path: Path) -> Columns:
    """Feature -> dimension -> values (rows,)."""
    try:
        table = pyarrow.csv.read_csv(path) if path.suffix.lower() == ".csv" else pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ForeactError(f"{path} cannot be read ({str(error).splitlines()[0]})") from error
    columns: Columns = {}
    prefixed = any(_split(name)[1] for name in table.column_names)
    for name in table.column_names:
        values = _numbers(table.column(name), where=f"{path}: column {name!r}")
        key, dim = _split(name)
        if not prefixed:
            key, dim = "action", name
        if not dim or (not prefixed and name.lower() in _CLOCKS):
            raise ForeactError(
                f"{path}: is the column {name!r} an action? Name it action.NAME or observation.state.NAME, or take it out"
            )
        columns.setdefault(key, {}).update(
            {dim: values[:, 0]} if values.shape[1] == 1 else {f"{dim}_{i}": v for i, v in enumerate(values.T)}
        )
    return columns


def _split(name: str) -> tuple[str, str]:
    """`observation.state.x` -> (`observation.state`, `x`); no dimension where there is no such prefix."""
    match = re.fullmatch(r"(action|observation\.\w+)\.(.+)", name)
    return (match[1], match[2]) if match else (name, "")


def _numbers(column: pa.ChunkedArray, *, where: str) -> np.ndarray:
    """A column of numbers or of lists of numbers, (rows, D)."""
    try:
        values = np.array(column.to_pylist(), dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ForeactError(f"{where} holds something other than numbers") from error
    return values.reshape(len(values), -1)


def _common_shape(videos: list[Video]) -> tuple[int, int]:
    for video in videos:
        if video.shape != videos[0].shape:
            raise ForeactError(
                f"{video.path} has pictures of {video.shape[0]} x {video.shape[1]}, {videos[0].path} of "
                f"{videos[0].shape[0]} x {videos[0].shape[1]}: a dataset needs one size"
            )
    return videos[0].shape


def _common_fps(videos: list[Video]) -> int:
    rates = {video.path: video.fps for video in videos if video.fps}
    if not rates:
        raise ForeactError(f"{videos[0].path}: no frame rate to be seen in videos of one frame: give fps")
    first = next(iter(rates.values()))
    for path, rate in rates.items():
        if abs(rate / first - 1) > 0.01:
            raise ForeactError(f"{path} has {rate:.2f} frames per second, the videos before it {first:.2f}: give fps")
    if abs(first / max(round(first), 1) - 1) > 0.01:
        raise ForeactError(
            f"{videos[0].path} has {first:.2f} frames per second, a dataset needs a whole number: give fps"
        )
    return round(first)


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]
