"""Writes LeRobot datasets, version 3.0, episode by episode, so that an interrupted recording goes on where it stopped.

While recording, finished episodes lie in `unfinished/` (one parquet file each, written last) beside their videos;
`finalize` gathers them into the standard layout and writes `meta/info.json` last. Each episode has a video file of its own
for each camera, which version 3.0 allows: nothing that was written is ever opened again for writing.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

import numpy as np

from foreact.core.errors import ForeactError
from foreact.core.files import write_atomically
from foreact.core.lock import LOCK_FILE
from foreact.data.layout import VIDEO_PATH, Settings, episode_table, file_path, gather, write_parquet
from foreact.data.parquet import count_rows
from foreact.data.statistics import count_levels
from foreact.data.video import write_video

ACTION = "action"


class LeRobotWriter:
    """Records a dataset; `with LeRobotWriter(...) as writer:` finalizes it at the end, unless an error ends the block.

    Args:
        root: the dataset's folder: new, empty, or one in which an earlier recording with the same settings was interrupted.
        fps: frames per second.
        cameras: name ("top" or "observation.images.top") -> height and width.
        columns: feature ("action", "observation.state", ...) -> names of its dimensions.
        robot_type: name of the robot.

    Attributes:
        episodes_written: finished episodes, those of an interrupted recording included.

    Raises:
        ForeactError: the folder holds something else, or a recording with other settings.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        fps: int,
        cameras: Mapping[str, tuple[int, int]],
        columns: Mapping[str, Sequence[str]],
        robot_type: str | None = None,
    ):
        self.root = Path(root)
        self._settings = Settings(
            fps=int(fps),
            robot_type=robot_type,
            cameras={full_camera_name(name): (int(shape[0]), int(shape[1])) for name, shape in cameras.items()},
            columns={key: tuple(names) for key, names in columns.items()},
        )
        self._staging = self.root / "unfinished"
        self._open()
        self._lengths = [count_rows(path) for path in self._staged()]

    @property
    def episodes_written(self) -> int:
        """Episodes that are safely on disk."""
        return len(self._lengths)

    def __enter__(self) -> LeRobotWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finalize()

    def add_episode(self, frames: Mapping[str, np.ndarray], columns: Mapping[str, np.ndarray], task: str) -> None:
        """Write one episode; it is safely on disk when this returns.

        Args:
            frames: camera -> uint8 (T, height, width, 3).
            columns: feature -> (T, D). Without "action" (or with NaN alone) the episode is actionless.
            task: what the robot was to do.

        Raises:
            ForeactError: shapes or names that do not fit, values that are not finite, a disk that is full.
        """
        index = len(self._lengths)
        pictures = {full_camera_name(name): video for name, video in frames.items()}
        length = self._check_frames(index, pictures)
        arrays = self._check_columns(index, columns, length)
        for key, video in pictures.items():
            path = self.root / file_path(VIDEO_PATH, index, video_key=key)
            _make_folder(path.parent)
            write_video(path, video, self._settings.fps)
        about = {"task": task, "levels": {key: count_levels(video).tolist() for key, video in pictures.items()}}
        table = episode_table(self._settings, arrays, length, index=index, offset=sum(self._lengths))
        table = table.replace_schema_metadata({"episode": json.dumps(about)})
        write_parquet(self._staging / f"episode-{index:06d}.parquet", [table])
        self._lengths.append(length)

    def finalize(self) -> None:
        """Gather the episodes into the standard layout; afterwards the dataset can be read.

        Raises:
            ForeactError: no episodes, or a disk that is full (nothing is lost: run it again).
        """
        if not self._lengths:
            raise ForeactError(f"{self.root}: no episode was written")
        gather(self.root, self._staged(), self._settings)
        shutil.rmtree(self._staging)

    def _open(self) -> None:
        if (self.root / "meta" / "info.json").is_file():
            shutil.rmtree(self._staging, ignore_errors=True)
            raise ForeactError(f"{self.root} already holds a finished dataset: choose another folder or remove it")
        described = json.dumps(asdict(self._settings), indent=2).encode()
        path = self._staging / "recording.json"
        if path.is_file():
            if path.read_bytes() != described and self._staged():
                raise ForeactError(
                    f"{self.root} holds an interrupted recording with other settings ({path}): remove it first"
                )
        elif self.root.exists() and (
            not self.root.is_dir() or set(self.root.iterdir()) - {self._staging, self.root / LOCK_FILE}
        ):
            raise ForeactError(f"{self.root} exists and is not an interrupted recording: choose another folder")
        _make_folder(self._staging)
        write_atomically(path, described)
        for leftover in self.root.rglob(".*.partial"):
            leftover.unlink()

    def _staged(self) -> list[Path]:
        """Files of the finished episodes 0, 1, 2, ..."""
        files = sorted(self._staging.glob("episode-*.parquet"))
        return [file for index, file in enumerate(files) if file.stem == f"episode-{index:06d}"]

    def _check_frames(self, index: int, pictures: Mapping[str, np.ndarray]) -> int:
        cameras = self._settings.cameras
        if set(pictures) != set(cameras):
            raise ForeactError(f"{self.root}: episode {index} has cameras {sorted(pictures)}, not {sorted(cameras)}")
        for key, video in pictures.items():
            height, width = cameras[key]
            if video.dtype != np.uint8 or video.shape[1:] != (height, width, 3) or not len(video):
                raise ForeactError(
                    f"{self.root}: episode {index}, {key}: frames must be uint8 (T, {height}, {width}, 3), "
                    f"not {video.dtype} {video.shape}"
                )
        lengths = {key: len(video) for key, video in pictures.items()}
        if len(set(lengths.values())) > 1:
            raise ForeactError(f"{self.root}: episode {index} has cameras of different lengths: {lengths}")
        return next(iter(lengths.values()))

    def _check_columns(self, index: int, columns: Mapping[str, np.ndarray], length: int) -> dict[str, np.ndarray]:
        known = self._settings.columns
        unknown = sorted(set(columns) - set(known))
        if unknown:
            raise ForeactError(
                f"{self.root}: episode {index} has an unknown column {unknown[0]!r}; known: {list(known)}"
            )
        return {key: self._check_column(index, key, columns, length) for key in known}

    def _check_column(self, index: int, key: str, columns: Mapping[str, np.ndarray], length: int) -> np.ndarray:
        names = self._settings.columns[key]
        shape = (length, len(names))
        if key not in columns and key == ACTION:
            return np.full(shape, np.nan, dtype=np.float32)
        if key not in columns:
            raise ForeactError(f"{self.root}: episode {index} lacks the column {key!r}")
        values = np.asarray(columns[key], dtype=np.float32)
        if values.shape != shape:
            raise ForeactError(f"{self.root}: episode {index}, column {key!r} has shape {values.shape}, not {shape}")
        bad = np.argwhere(~np.isfinite(values))
        if len(bad) and not (key == ACTION and np.isnan(values).all()):
            row, dim = bad[0]
            raise ForeactError(
                f"{self.root}: episode {index}, column {key!r}, row {row}, {names[dim]} is {values[row, dim]}"
            )
        return values


def full_camera_name(name: str) -> str:
    """`top` -> `observation.images.top`; full names stay."""
    return name if name.startswith("observation.") else f"observation.images.{name}"


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ForeactError(f"cannot make the folder {path}: {error.strerror or error}") from error
