"""A folder of videos, with a table of actions beside each: `pick_1.mp4` and `pick_1.csv` (or `.parquet`).

A video without a table is an actionless episode. Row t of the actions leads from frame t to t + 1.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from foreact.core.errors import ForeactError
from foreact.core.files import byte_size
from foreact.data.importers.episodes import EpisodeSource, ImportOptions, RawEpisode, pad_last_row
from foreact.data.importers.tables import TABLES, Features, read_tables
from foreact.data.importers.timing import choose_frames, common_fps
from foreact.data.video import Video

_KINDS = "mp4 mov m4v mkv avi webm mpg mpeg ts mts m2ts wmv flv 3gp h264 264 hevc h265 265 mjpeg"
VIDEOS = tuple(f".{kind}" for kind in _KINDS.split())
# An episode is held in memory while it is written.
_MOST_BYTES = 8e9


def is_folder(source: Path) -> bool:
    """Whether `source` is a folder of videos."""
    return source.is_dir() and bool(_listed(source, VIDEOS))


def open_folder(source: Path, options: ImportOptions) -> EpisodeSource:
    """The videos of a folder, in natural order (2 before 10).

    Raises:
        ForeactError: videos of different sizes or rates, tables that do not fit their video or each other.
    """
    options.refuse("actor", "actions", "stride", format="folder")
    if source.is_file():
        raise ForeactError(f"{source} is a file: give the folder that holds the videos")
    paths = sorted(_listed(source, VIDEOS), key=_natural)
    if not paths:
        raise ForeactError(f"{source} holds no videos ({', '.join(VIDEOS)})")
    tables = _find_tables(source, paths)
    features, notes = read_tables(list(tables.values()))
    videos = [Video(path) for path in paths]
    size = options.scaled(_common_shape(videos))
    fps = options.fps or common_fps(videos)
    chosen = [choose_frames(video, fps, table=tables.get(video.path.stem)) for video in videos]
    for video, (numbers, _) in zip(videos, chosen):
        _require_memory(video, len(numbers) * size[0] * size[1] * 3)
    camera = options.camera or "main"

    def read(index: int) -> RawEpisode:
        frames = videos[index].read_frames(chosen[index][0], size=size)
        table = tables.get(paths[index].stem)
        columns = {} if table is None else _episode_columns(table, features[table], len(frames))
        return RawEpisode(frames={camera: frames}, columns=columns, task=options.task or "")

    return EpisodeSource(
        count=len(videos),
        read=read,
        fps=fps,
        cameras={camera: size},
        columns={key: tuple(dims) for key, dims in next(iter(features.values()), {}).items()},
        notes=(*notes, *(note for _, note in chosen if note)),
    )


def _listed(source: Path, kinds: tuple[str, ...]) -> list[Path]:
    """Files of some kinds; hidden ones are what systems leave beside the real ones, as `._clip.mp4`."""
    return [path for path in source.iterdir() if path.suffix.lower() in kinds and not path.name.startswith(".")]


def _require_memory(video: Video, needed: int) -> None:
    if needed > _MOST_BYTES:
        raise ForeactError(
            f"{video.path}: its frames need {byte_size(needed)} of memory, more than {byte_size(_MOST_BYTES)}: cut the video into "
            "shorter episodes or give a smaller height"
        )


def _find_tables(source: Path, videos: list[Path]) -> dict[str, Path]:
    """Video's stem -> its table."""
    stems = [path.stem for path in videos]
    tables: dict[str, Path] = {}
    for path in sorted(_listed(source, TABLES)):
        if stems.count(path.stem) > 1:
            raise ForeactError(f"{path} has several videos of the same name beside it: give each a name of its own")
        if path.stem not in stems:
            raise ForeactError(f"{path} has no video of the same name beside it")
        if path.stem in tables:
            raise ForeactError(f"{path} and {tables[path.stem].name} belong to the same video: keep one")
        tables[path.stem] = path
    return tables


def _episode_columns(path: Path, features: Features, length: int) -> dict[str, np.ndarray]:
    columns = {}
    for key, dims in features.items():
        values = np.stack(list(dims.values()), axis=1)
        if key != "action" and len(values) != length:
            raise ForeactError(f"{path}: {len(values)} rows of {key} for {length} frames: it needs one per frame")
        columns[key] = pad_last_row(values, length, where=str(path)) if key == "action" else values
    return columns


def _common_shape(videos: list[Video]) -> tuple[int, int]:
    for video in videos:
        if video.damage:
            raise ForeactError(f"{video.path} is damaged or cut short, {video.damage}: copy or record it again")
        if video.shape != videos[0].shape:
            raise ForeactError(
                f"{video.path} has pictures of {video.shape[0]} x {video.shape[1]}, {videos[0].path} of "
                f"{videos[0].shape[0]} x {videos[0].shape[1]}: a dataset needs one size"
            )
    return videos[0].shape


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]
