"""Reads LeRobot datasets (version 3.0, and 2.0/2.1) with pyarrow and PyAV alone.

Columns are kept in memory as contiguous arrays, one per feature; frames are decoded when asked for.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from foreact.core.errors import ForeactError
from foreact.data.lerobot_meta import EpisodeFiles, picture_keys, read_episodes, read_info, read_table, video_keys
from foreact.data.pictures import StoredPictures
from foreact.data.video import Video

ACTION = "action"
STATE = "observation.state"
_BLOCK = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One recorded episode.

    Attributes:
        index: its number in the dataset.
        length: frames, T.
        task: what the robot was to do; empty if the dataset does not say.
        offset: number of its first frame among all frames of the dataset.
    """

    index: int
    length: int
    task: str
    offset: int


class LeRobotDataset:
    """A LeRobot dataset folder, opened for reading.

    Args:
        root: the folder that holds `meta/info.json`.
        camera: full ("observation.images.top") or short ("top") name of the camera that `frames` reads; the first one
            if None.

    Attributes:
        root, fps, robot_type, features: as in `meta/info.json`.
        announced: the "total_episodes" and "total_frames" that `meta/info.json` promises.
        cameras: full names of all cameras. camera: the chosen one.
        episodes: all episodes, by number.
        action_dim: A, or None in a dataset without actions.

    Raises:
        ForeactError: no dataset there, an unsupported version, missing or damaged metadata or parquet files, no such camera.
    """

    def __init__(self, root: str | Path, *, camera: str | None = None):
        self.root = Path(root)
        self._info = info = read_info(self.root)
        self.fps, self.robot_type, self.features = info.fps, info.robot_type, info.features
        self.announced = info.totals
        self.cameras = (*video_keys(info), *picture_keys(info))
        self.camera = self._full_name(camera)
        self._files = {files.index: files for files in read_episodes(self.root, info)}
        lengths = [files.length for files in self._files.values()]
        offsets = np.cumsum([0, *lengths])
        self.episodes = tuple(
            Episode(index=files.index, length=files.length, task=files.task, offset=int(offset))
            for files, offset in zip(self._files.values(), offsets)
        )
        self.total_frames = int(offsets[-1])
        self.action_dim = int(np.prod(self.features[ACTION]["shape"])) if ACTION in self.features else None
        self._videos: dict[str, Video] = {}

    @property
    def image_shape(self) -> tuple[int, int]:
        """Height and width of the chosen camera's pictures, as `meta/info.json` has them."""
        return self.shape_of(self.camera)

    def shape_of(self, camera: str) -> tuple[int, int]:
        """Height and width of a camera's pictures, as `meta/info.json` has them."""
        feature = self.features[self._full_name(camera)]
        shape, names = list(feature["shape"]), list(feature.get("names") or ())
        if len(shape) != 3:
            raise ForeactError(f"{self.root}: meta/info.json gives {camera} the shape {shape}, not three numbers")
        if "height" in names and "width" in names:
            return shape[names.index("height")], shape[names.index("width")]
        return (shape[1], shape[2]) if shape[0] == 3 else (shape[0], shape[1])

    def names_of(self, key: str) -> tuple[str, ...]:
        """Names of a feature's dimensions; their numbers where the dataset gives none."""
        names: Any = self.features[key].get("names")
        while isinstance(names, dict) and names:
            names = next(iter(names.values()))
        dims = int(np.prod(self.features[key]["shape"]))
        return (
            tuple(map(str, names)) if isinstance(names, list) and len(names) == dims else tuple(map(str, range(dims)))
        )

    def has_actions(self, episode: int) -> bool:
        """Whether the episode has actions: the dataset has an action column and its rows are not all NaN."""
        return self.action_dim is not None and not bool(np.isnan(self.column(ACTION, episode)).all())

    def column(self, key: str, episode: int) -> np.ndarray:
        """The rows of a feature in an episode, (T, D), as stored.

        Raises:
            ForeactError: the dataset has no such feature, its file lacks the column, or the episode has other rows than
                its metadata says.
        """
        files = self._episode_files(episode)
        if key not in self.features or key in self.cameras:
            known = [name for name in self.features if name not in self.cameras]
            raise ForeactError(f"{self.root} has no column {key!r}; it has {known}")
        return self._column(key)[self._rows(files)]

    def actions(self, episode: int) -> np.ndarray:
        """Actions of an episode, (T, A) float32: row t leads from frame t to t + 1, so the last row leads nowhere.

        Raises:
            ForeactError: the episode has no actions, or some are NaN or infinite.
        """
        if self.action_dim is None:
            raise ForeactError(f"{self.root} has no actions (meta/info.json lists no feature 'action')")
        actions = self.column(ACTION, episode).astype(np.float32)
        bad = np.argwhere(~np.isfinite(actions))
        if len(bad) == actions.size and np.isnan(actions).all():
            raise ForeactError(f"{self.root}: episode {episode} has no actions (all of its rows are NaN)")
        if len(bad):
            row, dim = bad[0]
            raise ForeactError(
                f"{self.root}: episode {episode}, row {row}: action {self.names_of(ACTION)[dim]} is {actions[row, dim]} "
                f"({len(bad)} such values); repair or drop the episode"
            )
        return actions

    def frames(
        self,
        episode: int,
        *,
        start: int = 0,
        count: int | None = None,
        size: int | None = None,
        camera: str | None = None,
    ) -> np.ndarray:
        """Pictures start .. start + count - 1 of an episode, uint8 (T, height, width, 3).

        Args:
            episode: its number.
            start: first frame, counted within the episode.
            count: frames to read; to the end of the episode if None.
            size: squash to size x size pixels; as stored if None.
            camera: the chosen camera if None.

        Raises:
            ForeactError: frames outside the episode; the video is missing, damaged or shorter than the episode.
        """
        files = self._episode_files(episode)
        count = files.length - start if count is None else count
        if start < 0 or count < 1 or start + count > files.length:
            raise ForeactError(
                f"{self.root}: episode {episode} has {files.length} frames, not frames {start} to {start + count - 1}"
            )
        video, begin, _ = self.video_of(episode, camera)
        try:
            return video.read(start=start + (video.frame_at(begin) if begin else 0), count=count, size=size)
        except ForeactError as error:
            raise ForeactError(f"episode {episode}: {error}") from error.__cause__

    def gather_frames(self, episodes: np.ndarray, indices: np.ndarray, *, size: int | None = None) -> np.ndarray:
        """Single frames of the chosen camera from anywhere, uint8 (B, height, width, 3); each video is opened once.

        Args:
            episodes: their numbers, (B,).
            indices: frames within each episode, (B,).
            size: squash to size x size pixels; as stored if None.

        Raises:
            ForeactError: frames outside their episode; a video is missing, damaged or shorter than its episodes.
        """
        numbers = np.empty(len(indices), dtype=np.int64)
        rows: dict[Video, list[int]] = {}
        for row, (episode, index) in enumerate(zip(episodes, indices, strict=True)):
            if not 0 <= index < self._episode_files(int(episode)).length:
                raise ForeactError(f"{self.root}: episode {episode} has no frame {index}")
            video, begin, _ = self.video_of(int(episode))
            numbers[row] = index + (video.frame_at(begin) if begin else 0)
            rows.setdefault(video, []).append(row)
        parts = [video.read_frames(numbers[chosen], size=size) for video, chosen in rows.items()]
        gathered = np.empty((len(numbers), *parts[0].shape[1:]), dtype=np.uint8)
        for chosen, part in zip(rows.values(), parts):
            gathered[chosen] = part
        return gathered

    def video_of(self, episode: int, camera: str | None = None) -> tuple[Video, float, float | None]:
        """The file that holds an episode's pictures, and the seconds (for stored pictures: the row) at which it begins and
        (if known) ends there.
        """
        name = self.camera if camera is None else self._full_name(camera)
        files = self._episode_files(episode)
        if name not in files.videos:
            pictures = self._videos.setdefault(f"{files.data}:{name}", StoredPictures(self.root / files.data, name))
            return pictures, float(files.rows[0] - self._first_rows[files.data]), None
        path, begin, end = files.videos[name]
        return self._videos.setdefault(path, Video(self.root / path)), begin, end

    def fingerprint(self) -> str:
        """A short hash of what was recorded: features, episodes, all parquet bytes, and of each video of the chosen camera
        its name, size and evenly spaced blocks (an mp4's index, which changes with any frame, among them).
        """
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        features = {
            key: [self.features[key].get("dtype"), self.features[key].get("shape")] for key in sorted(self.features)
        }
        digest.update(json.dumps([self.fps, self.camera, features]).encode())
        for files in self._files.values():
            path, begin, _ = files.videos.get(
                self.camera, ("", 0.0, None)
            )  # stored pictures are among the parquet bytes
            digest.update(json.dumps([files.index, files.length, files.task, files.data, path, begin]).encode())
        for name in self._data_files():
            digest.update((self.root / name).read_bytes())
        videos = (files.videos[self.camera][0] for files in self._files.values() if self.camera in files.videos)
        for name in dict.fromkeys(videos):
            digest.update(name.encode() + _sample_bytes(self.root / name))
        return digest.hexdigest()[:16]

    def _full_name(self, camera: str | None) -> str:
        if not self.cameras:
            raise ForeactError(f"{self.root} has no camera (meta/info.json lists {list(self.features)})")
        if camera is None:
            return self.cameras[0]
        matches = [name for name in self.cameras if camera in (name, name.rsplit(".", 1)[-1])]
        if len(matches) != 1:
            raise ForeactError(f"{self.root} has no camera {camera!r}; it has {list(self.cameras)}")
        return matches[0]

    def _episode_files(self, episode: int) -> EpisodeFiles:
        if episode not in self._files:
            raise ForeactError(f"{self.root} has no episode {episode} (it has {len(self._files)})")
        return self._files[episode]

    @cached_property
    def _first_rows(self) -> dict[str, int]:
        """Of each parquet file, the number of its first row among all rows."""
        first: dict[str, int] = {}
        for files in self._files.values():
            first[files.data] = min(files.rows[0], first.get(files.data, files.rows[0]))
        return first

    def _data_files(self) -> list[str]:
        return list(dict.fromkeys(files.data for files in self._files.values()))

    def _column(self, key: str) -> np.ndarray:
        """A feature's rows in the whole dataset, (total_frames, D)."""
        if key not in self._columns:
            table = read_table([self.root / name for name in self._data_files()], [key])
            self._columns[key] = _to_array(table.column(key), where=f"{self.root}: column {key!r}")
        return self._columns[key]

    @cached_property
    def _columns(self) -> dict[str, np.ndarray]:
        """Arrays by feature; filled at once with all small features, those that a file lacks left out."""
        small = [
            key for key, feature in self.features.items() if feature.get("dtype") not in ("video", "image", "string")
        ]
        table = read_table([self.root / name for name in self._data_files()], small, lenient=True)
        return {key: _to_array(table.column(key), where=f"{self.root}: column {key!r}") for key in table.column_names}

    def _rows(self, files: EpisodeFiles) -> slice:
        first, last = files.rows
        owner = self._column("episode_index")[first:last, 0]
        if len(owner) != files.length or (owner != files.index).any():
            raise ForeactError(
                f"{self.root / files.data}: rows {first} to {last - 1} should be the {files.length} frames of episode "
                f"{files.index}, but {int((owner == files.index).sum())} are"
            )
        return slice(first, last)


def _to_array(column: pa.ChunkedArray, *, where: str) -> np.ndarray:
    """A parquet column as an array (rows, D); missing numbers and rows become NaN."""
    array: Any = column.combine_chunks()
    present, valid = len(array), array.is_valid().to_numpy(zero_copy_only=False)
    is_list = nested = _is_list(array.type)
    while nested:
        array = array.flatten()
        nested = _is_list(array.type)
    if not is_list:
        return np.array(array.to_numpy(zero_copy_only=False)).reshape(present, -1)
    values = array.to_numpy(zero_copy_only=False)
    present = int(valid.sum())
    if present and len(values) % present:
        raise ForeactError(f"{where} has rows of different lengths")
    values = values.reshape(present, -1) if present else np.zeros((0, 1), np.float32)
    if valid.all():
        return np.array(values)
    rows = np.full((len(valid), values.shape[1]), np.nan, dtype=np.float32)
    rows[valid] = values
    return rows


def _is_list(kind: Any) -> bool:
    return bool(pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _sample_bytes(path: Path, blocks: int = 16) -> bytes:
    """The size of a file and evenly spaced blocks of it, the first and the last among them."""
    if not path.is_file():
        return b"missing"
    size = path.stat().st_size
    starts = {max(size - _BLOCK, 0) * k // (blocks - 1) for k in range(blocks)}
    with open(path, "rb") as file:
        parts = [str(size).encode()]
        for start in sorted(starts):
            file.seek(start)
            parts.append(file.read(_BLOCK))
    return b"".join(parts)
