"""Cameras that a LeRobot dataset stores as encoded pictures (PNG, JPEG) in its parquet files instead of as video."""

from __future__ import annotations

import io
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, UnidentifiedImageError

from foreact.core.errors import ForeactError
from foreact.data.video import Video, scale_frames


class StoredPictures(Video):
    """The pictures of one camera in one parquet file, read like a video: frame k is that of row k."""

    def __init__(self, path: str | Path, camera: str):
        super().__init__(path)
        self.camera = camera

    def __str__(self) -> str:
        return f"column {self.camera} of {self.path}"

    @cached_property
    def _ends(self) -> np.ndarray:
        """The row after the last of each row group."""
        try:
            about = pq.read_metadata(self.path)
        except (OSError, pa.ArrowException) as error:
            raise ForeactError(
                f"{self.path} is missing or not a parquet file ({str(error).splitlines()[0]})"
            ) from error
        return np.cumsum([about.row_group(group).num_rows for group in range(about.num_row_groups)])

    @property
    def frame_count(self) -> int:
        """Rows of the file."""
        return int(self._ends[-1])

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the first picture."""
        height, width = self.read(count=1).shape[1:3]
        return height, width

    @property
    def fps(self) -> float:
        """Unknown, 0: pictures in a table have no rate of their own."""
        return 0.0

    def frame_at(self, timestamp: float) -> int:
        """The row itself: episodes begin at rows here, not at times."""
        return int(timestamp)

    def read_frames(self, numbers: np.ndarray, *, size: int | tuple[int, int] | None = None) -> np.ndarray:
        """See `Video.read_frames`.

        Raises:
            ForeactError: the file is missing or has fewer rows; a picture is missing, damaged, or of another size than the rest.
        """
        size = (size, size) if isinstance(size, int) else size
        unique, inverse = np.unique(numbers, return_inverse=True)
        self._require(int(unique[0]), int(unique[-1]))
        groups = np.searchsorted(self._ends, unique, side="right")
        frames: list[np.ndarray] = []
        for group in dict.fromkeys(groups.tolist()):
            first = int(self._ends[group - 1]) if group else 0
            rows = unique[groups == group]
            for row, stored in zip(rows, self._read_group(group).take(rows - first).to_pylist(), strict=True):
                frame = self._picture(stored, int(row))
                frames.append(scale_frames(frame[None], size)[0] if size else frame)
        if len({frame.shape for frame in frames}) > 1:
            raise ForeactError(f"{self} has pictures of several sizes: {sorted({f.shape[:2] for f in frames})}")
        return np.stack(frames)[inverse]

    def _read_group(self, group: int) -> pa.ChunkedArray:
        try:
            return pq.ParquetFile(self.path).read_row_group(group, columns=[self.camera]).column(self.camera)
        except (OSError, KeyError, pa.ArrowException) as error:
            raise ForeactError(f"{self} cannot be read ({str(error).splitlines()[0]})") from error

    def _picture(self, stored: dict[str, bytes | None] | None, row: int) -> np.ndarray:
        content = (stored or {}).get("bytes")
        if not content:
            raise ForeactError(f"{self}: row {row} holds no picture")
        try:
            return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
        except (UnidentifiedImageError, OSError) as error:
            raise ForeactError(f"{self}: the picture of row {row} is damaged ({str(error).splitlines()[0]})") from error
