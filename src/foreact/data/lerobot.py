"""Reads LeRobot datasets (version 3.0, and 2.0/2.1) with pyarrow and PyAV alone.

Columns are read file by file and kept in memory; frames are decoded when asked for.
"""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from foreact.core.errors import ForeactError
from foreact.data.columns import Columns
from foreact.data.lerobot_meta import EpisodeFiles, picture_keys, read_episodes, read_info, video_keys
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
        episodes: all episodes, by number; numbers may have gaps, so `episode(number)` finds one.
        action_dim: A, or None in a dataset without actions.

    Raises:
        ForeactError: no dataset there, an unsupported version, missing or damaged metadata, no such camera.
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
        self._by_number = {episode.index: episode for episode in self.episodes}
        self._columns = Columns(self.root, self.features)
        self._videos: dict[str, Video] = {}

    def episode(self, number: int) -> Episode:
        """The episode of a number.

        Raises:
            ForeactError: there is none.
        """
        self._episode_files(number)
        return self._by_number[number]

    @property
    def has_gaps(self) -> bool:
        """Whether numbers are missing among those of the episodes."""
        return self.episodes[-1].index >= len(self.episodes)

    def with_camera(self, camera: str) -> LeRobotDataset:
        """The same dataset, of which `frames` reads another camera.

        Raises:
            ForeactError: no such camera.
        """
        other = copy.copy(self)
        other.camera = self._full_name(camera)
        other.__dict__.pop("_fingerprint", None)
        return other

    def missing_file(self, episode: int) -> Path | None:
        """The episode's data file, or its video of the chosen camera, if it is not there."""
        files = self._episode_files(episode)
        needed = [files.data, *(files.videos[self.camera][:1] if self.camera in files.videos else ())]
        return next((self.root / name for name in needed if not (self.root / name).is_file()), None)

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
            ForeactError: the dataset has no such feature, the episode's file is missing or lacks the column, or has other rows
                of it than its metadata says.
        """
        files = self._episode_files(episode)
        if key not in self.features or key in self.cameras:
            known = [name for name in self.features if name not in self.cameras]
            raise ForeactError(f"{self.root} has no column {key!r}; it has {known}")
        return self._columns.rows(key, files)

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
            return pictures, float(self._columns.first_row(files)), None
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
            video, begin, _ = files.videos.get(self.camera, ("", 0.0, None))  # stored pictures are in the parquet files
            digest.update(json.dumps([files.index, files.length, files.task, files.data, video, begin]).encode())
        for name in dict.fromkeys(files.data for files in self._files.values()):
            path = self.root / name
            digest.update(path.read_bytes() if path.is_file() else b"missing")
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
            last = self.episodes[-1].index
            raise ForeactError(f"{self.root} has no episode {episode} (it has {len(self._files)}, the last is {last})")
        return self._files[episode]


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
