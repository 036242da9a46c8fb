"""Reads LeRobot datasets (version 3.0, and 2.0/2.1) with pyarrow and PyAV alone.

Columns are read file by file and kept in memory; frames are decoded when asked for.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from foreact.core.errors import ForeactError
from foreact.data import lerobot_meta as meta
from foreact.data.columns import Columns, unusable_actions
from foreact.data.episode_files import EpisodeFiles, read_episodes
from foreact.data.fingerprint import fingerprint
from foreact.data.pictures import StoredPictures, holds_depth
from foreact.data.video import Video
from foreact.data.video_places import PlaceFinder, Places

ACTION = "action"
STATE = "observation.state"
SUCCESS = "next.success"
"""Whether the task is done after the row's action."""


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
        cameras: full names of all cameras. camera: the chosen one. depth_maps: cameras of depth, which are not read.
        episodes: all episodes, by number; numbers may have gaps, so `episode(number)` finds one.
        action_dim: A, or None in a dataset without actions.

    Raises:
        ForeactError: no dataset there, an unsupported version, missing or damaged metadata, no such camera.
    """

    def __init__(self, root: str | Path, *, camera: str | None = None):
        self.root = Path(root)
        info = meta.read_info(self.root)
        self.fps, self.robot_type, self.features = info.fps, info.robot_type, info.features
        self.announced = info.totals
        self._files = {files.index: files for files in read_episodes(self.root, info)}
        first = self.root / next(iter(self._files.values())).data
        stored = tuple(key for key in meta.picture_keys(info) if not holds_depth(first, key))
        self.cameras = (*meta.video_keys(info), *stored)
        pictures = (key for key, feature in self.features.items() if feature.get("dtype") in meta.PICTURES)
        self.depth_maps = tuple(key for key in pictures if key not in self.cameras)
        self.camera = self._full_name(camera)
        self._columns = Columns(self.root, self.features)
        self._places = PlaceFinder(self.root, self._files.values(), self.fps)
        self._videos: dict[str, Video] = {}
        lengths = [files.length for files in self._files.values()]
        offsets = np.cumsum([0, *lengths])
        self.episodes = tuple(
            Episode(index=files.index, length=files.length, task=self._task_of(files), offset=int(offset))
            for files, offset in zip(self._files.values(), offsets)
        )
        self.total_frames = int(offsets[-1])
        self.action_dim = meta.width_of(self.features[ACTION]) if ACTION in self.features else None
        self._by_number = {episode.index: episode for episode in self.episodes}

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
        return meta.picture_size(
            self.features[self._full_name(camera)], where=f"{self.root}: meta/info.json gives {camera}"
        )

    def names_of(self, key: str) -> tuple[str, ...]:
        """Names of a feature's dimensions; their numbers where the dataset gives none."""
        return meta.names_of(self.features[key])

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
        pictures = (*self.cameras, *self.depth_maps)
        if key not in self.features or key in pictures:
            known = [name for name in self.features if name not in pictures]
            raise ForeactError(f"{self.root} has no column {key!r}; it has {known}")
        return self._columns.rows(key, files)

    def actions(self, episode: int) -> np.ndarray:
        """Actions of an episode, (T, A) float32: row t leads from frame t to t + 1, so the last row leads nowhere and may be NaN.

        Raises:
            ForeactError: the episode has no actions, or some that lead somewhere are NaN, or any infinite.
        """
        if self.action_dim is None:
            raise ForeactError(f"{self.root} has no actions (meta/info.json lists no feature 'action')")
        actions = self.column(ACTION, episode).astype(np.float32)
        if np.isnan(actions).all():
            raise ForeactError(f"{self.root}: episode {episode} has no actions (all of its rows are NaN)")
        if len(bad := unusable_actions(actions)):
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
        try:
            video, first = self.place_of(episode, camera)
            return video.read(start=first + start, count=count, size=size)
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
            video, first = self.place_of(int(episode))
            numbers[row] = first + index
            rows.setdefault(video, []).append(row)
        parts = [video.read_frames(numbers[chosen], size=size) for video, chosen in rows.items()]
        gathered = np.empty((len(numbers), *parts[0].shape[1:]), dtype=np.uint8)
        for chosen, part in zip(rows.values(), parts):
            gathered[chosen] = part
        return gathered

    def place_of(self, episode: int, camera: str | None = None) -> tuple[Video, int]:
        """The file that holds an episode's pictures, and the number of its first frame there.

        Raises:
            ForeactError: the file is missing or damaged, or the metadata does not fit it.
        """
        files, video = self._episode_files(episode), self.video_of(episode, camera)
        if isinstance(video, StoredPictures):
            return video, self._columns.first_row(files)
        return video, self.places_in(video, camera or self.camera).of(episode)

    def places_in(self, video: Video, camera: str) -> Places:
        """Where the episodes in a video file of a camera begin; see `foreact.data.video_places`."""
        return self._places.find(video, self._full_name(camera))

    def video_of(self, episode: int, camera: str | None = None) -> Video:
        """The file that holds an episode's pictures."""
        name, files = self._full_name(camera or self.camera), self._episode_files(episode)
        if name in files.videos:
            path = files.videos[name][0]
            return self._videos.setdefault(path, Video(self.root / path))
        key = f"{files.data}:{name}"
        if key not in self._videos:
            self._videos[key] = StoredPictures(self.root / files.data, name, self.shape_of(name))
        return self._videos[key]

    def fingerprint(self) -> str:
        """A short hash of what was recorded; see `foreact.data.fingerprint`."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        return fingerprint(self.root, self.fps, self.camera, self.features, self._files.values())

    def _full_name(self, camera: str | None) -> str:
        if not self.cameras:
            depth = f" of colour, only {list(self.depth_maps)} of depth" if self.depth_maps else ""
            raise ForeactError(f"{self.root} has no camera{depth} (meta/info.json lists {list(self.features)})")
        if camera is None:
            return self.cameras[0]
        named = [n for n in (*self.cameras, *self.depth_maps) if camera in (n, n.rsplit(".", 1)[-1])]
        matches = [name for name in named if name in self.cameras]
        if len(matches) != 1:
            depth = f" of colour, only of depth ({named[0]})" if named and not matches else ""
            raise ForeactError(f"{self.root} has no camera {camera!r}{depth}; it has {list(self.cameras)}")
        return matches[0]

    @cached_property
    def tasks(self) -> dict[int, str] | None:
        """Texts of the tasks by their number, or None where the dataset has no list of them."""
        return meta.read_tasks(self.root)

    def _task_of(self, files: EpisodeFiles) -> str:
        """The episode's text; by the number in its first row where the metadata of episodes has no texts."""
        if files.task is not None or "task_index" not in self.features or not self.tasks:
            return files.task or ""
        try:
            return self.tasks.get(int(self._columns.rows("task_index", files)[0, 0]), "")
        except (ForeactError, ValueError):  # Whoever reads the rows is told.
            return ""

    def _episode_files(self, episode: int) -> EpisodeFiles:
        if episode not in self._files:
            last = self.episodes[-1].index
            raise ForeactError(f"{self.root} has no episode {episode} (it has {len(self._files)}, the last is {last})")
        return self._files[episode]
