"""Where the episodes of a LeRobot dataset folder lie, versions 2 and 3, brought to one form."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from foreact.core.errors import ForeactError
from foreact.core.files import parse_json
from foreact.data.lerobot_meta import INFO_FILE, Info, video_keys
from foreact.data.parquet import read_table
from foreact.data.plausible import require_episode
from foreact.data.templates import fill


@dataclass(frozen=True, kw_only=True)
class EpisodeFiles:
    """Where an episode lies on disk.

    Attributes:
        index: episode number.
        length: frames, T.
        task: text of the (first) task, empty if there is none, None if the metadata of episodes has no tasks at all.
        data: path of the parquet file, relative to the dataset.
        rows: first row among all rows of the dataset, and the one after the last.
        videos: camera stored as video -> (path relative to the dataset, seconds at which the episode starts, seconds it ends or None).
    """

    index: int
    length: int
    task: str | None
    data: str
    rows: tuple[int, int]
    videos: Mapping[str, tuple[str, float, float | None]]


def read_episodes(root: Path, info: Info) -> tuple[EpisodeFiles, ...]:
    """The episodes of the dataset, by number; numbers may have gaps, as where episodes were deleted.

    Raises:
        ForeactError: a file, column or value of the metadata is missing or unreadable, or a number occurs twice.
    """
    rows = _episodes_v2(root, info) if info.version.startswith("v2") else _episodes_v3(root, info)
    episodes = tuple(sorted(rows, key=lambda episode: episode.index))
    for episode in episodes:
        places = [place for _, begin, end in episode.videos.values() for place in (begin, end) if place is not None]
        require_episode(episode.index, episode.length, (*episode.rows, *places), str(root))
    if not episodes:
        raise ForeactError(f"{root} holds no episodes")
    for episode, following in pairwise(episodes):
        if episode.index == following.index:
            raise ForeactError(f"{root}: the metadata has episode {episode.index} twice")
    return episodes


class _Row:
    """One episode's row of the metadata, whose values are checked as they are read."""

    def __init__(self, values: Mapping[str, Any], path: Path, number: int):
        self._values, self._path, self._number = values, path, number

    def seconds(self, column: str) -> float:
        """A finite number."""
        value = self._values[column]
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise self._bad(column, "a finite number")
        return value

    def whole(self, column: str) -> int:
        """A whole number, 0 or more."""
        value = self.seconds(column)
        if value < 0 or value != int(value):
            raise self._bad(column, "a whole number of 0 or more")
        return int(value)

    def task(self) -> str | None:
        """Text of the first task; None without such a column."""
        if "tasks" not in self._values:
            return None
        tasks = self._values["tasks"] or [""]
        return tasks if isinstance(tasks, str) else str(tasks[0])

    def _bad(self, column: str, wanted: str) -> ForeactError:
        value, index = self._values[column], self._values["episode_index"]
        who = f"episode {index}" if isinstance(index, int) and column != "episode_index" else f"row {self._number}"
        shown = "null" if value is None else value
        return ForeactError(
            f"{self._path}: {column} of {who} is {shown}, not {wanted}: correct it, or write the dataset's metadata anew"
        )


def _episodes_v3(root: Path, info: Info) -> Iterator[EpisodeFiles]:
    files = sorted((root / "meta" / "episodes").glob("*/*.parquet"))
    if not files:
        raise ForeactError(f"{root}: meta/episodes/*/*.parquet is missing")
    cameras = video_keys(info)
    fields = ["chunk_index", "file_index", "from_timestamp", "to_timestamp"]
    columns = ["episode_index", "length", "data/chunk_index", "data/file_index"]
    columns += ["dataset_from_index", "dataset_to_index"]
    columns += [f"videos/{camera}/{field}" for camera in cameras for field in fields]
    for path in files:
        for number, values in enumerate(read_table(path, columns, optional=["tasks"]).to_pylist()):
            yield _episode_v3(_Row(values, path, number), info, cameras, str(root / INFO_FILE))


def _episode_v3(row: _Row, info: Info, cameras: tuple[str, ...], where: str) -> EpisodeFiles:
    def video(key: str) -> tuple[str, float, float]:
        place = {field: row.whole(f"videos/{key}/{field}") for field in ("chunk_index", "file_index")}
        begin, end = (row.seconds(f"videos/{key}/{field}") for field in ("from_timestamp", "to_timestamp"))
        return fill(info.video_path, where, video_key=key, **place), begin, end

    return EpisodeFiles(
        index=row.whole("episode_index"),
        length=row.whole("length"),
        task=row.task(),
        data=fill(
            info.data_path,
            where,
            chunk_index=row.whole("data/chunk_index"),
            file_index=row.whole("data/file_index"),
        ),
        rows=(row.whole("dataset_from_index"), row.whole("dataset_to_index")),
        videos={key: video(key) for key in cameras},
    )


def _episodes_v2(root: Path, info: Info) -> Iterator[EpisodeFiles]:
    path, where = root / "meta" / "episodes.jsonl", str(root / INFO_FILE)
    first = 0
    for index, length, task in sorted(_read_jsonl(path), key=lambda row: row[0]):
        names = {"episode_chunk": index // info.chunks_size, "episode_index": index}
        yield EpisodeFiles(
            index=index,
            length=length,
            task=task,
            data=fill(info.data_path, where, **names),
            rows=(first, first + length),
            videos={key: (fill(info.video_path, where, video_key=key, **names), 0.0, None) for key in video_keys(info)},
        )
        first += length


def _read_jsonl(path: Path) -> list[tuple[int, int, str | None]]:
    """Number, length and task of each episode."""
    try:
        lines = [parse_json(line) for line in path.read_bytes().splitlines() if line.strip()]
        rows = [_Row(dict(values), path, number) for number, values in enumerate(lines)]
        return [(row.whole("episode_index"), row.whole("length"), row.task()) for row in rows]
    except FileNotFoundError as error:
        raise ForeactError(f"{path} is missing") from error
    except KeyError as error:
        raise ForeactError(f"{path}: the key {error} is missing in a row") from error
    except (OSError, ValueError, TypeError) as error:
        raise ForeactError(f"{path} cannot be read: {error}") from error
