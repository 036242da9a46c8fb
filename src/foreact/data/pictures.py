"""Cameras that a LeRobot dataset stores as encoded pictures (PNG, JPEG) in its parquet files instead of as video."""

from __future__ import annotations

import io
import warnings
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image, UnidentifiedImageError

from foreact.core.errors import ForeactError
from foreact.data.parquet import open_parquet
from foreact.data.video import Video, scale_frames


class StoredPictures(Video):
    """The pictures of one camera in one parquet file, read like a video: frame k is that of row k.

    Args:
        path: the parquet file.
        camera: its column.
        shape: height and width that every picture must have.
    """

    def __init__(self, path: str | Path, camera: str, shape: tuple[int, int]):
        super().__init__(path)
        self.camera = camera
        self._shape = shape

    def __str__(self) -> str:
        return f"column {self.camera} of {self.path}"

    @cached_property
    def _ends(self) -> np.ndarray:
        """The row after the last of each row group."""
        with open_parquet(self.path) as file:
            about = file.metadata
            return np.cumsum([about.row_group(group).num_rows for group in range(about.num_row_groups)])

    @property
    def frame_count(self) -> int:
        """Rows of the file."""
        return int(self._ends[-1]) if len(self._ends) else 0

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self._shape

    @property
    def fps(self) -> float:
        """Unknown, 0: pictures in a table have no rate of their own."""
        return 0.0

    def read_frames(self, numbers: np.ndarray, *, size: int | tuple[int, int] | None = None) -> np.ndarray:
        """See `Video.read_frames`.

        Raises:
            ForeactError: the file is missing or has fewer rows; a picture is missing, damaged, of depth, or of another size
                than it should be, which is seen before it is decoded.
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
        return np.stack(frames)[inverse]

    def _read_group(self, group: int) -> pa.ChunkedArray:
        with open_parquet(self.path) as file:
            if self.camera not in file.schema_arrow.names:
                raise ForeactError(f"{self} is missing (the file has {file.schema_arrow.names})")
            return file.read_row_group(group, columns=[self.camera]).column(self.camera)

    def _picture(self, stored: dict[str, bytes | None] | None, row: int) -> np.ndarray:
        content = (stored or {}).get("bytes")
        if not content:
            raise ForeactError(f"{self}: row {row} holds no picture")
        try:
            picture = _open(content)
            if (picture.height, picture.width) != self._shape:
                raise ForeactError(
                    f"{self}: the picture of row {row} is {picture.height} x {picture.width}, "
                    f"info.json says {self._shape[0]} x {self._shape[1]}"
                )
            if _is_depth(picture):
                raise ForeactError(f"{self}: row {row} holds depth, not a picture in colour: choose another camera")
            return np.asarray(picture.convert("RGB"))
        except Image.DecompressionBombError as error:
            raise ForeactError(f"{self}: the picture of row {row} is no camera's: {error}") from error
        except (UnidentifiedImageError, OSError, ValueError) as error:
            raise ForeactError(f"{self}: the picture of row {row} is damaged ({str(error).splitlines()[0]})") from error


def holds_depth(path: Path, camera: str) -> bool:
    """Whether the first picture of a column has more than 8 bits, as those of depth have; False where it cannot be read."""
    try:
        with open_parquet(path) as file:
            first = next(file.iter_batches(batch_size=1, columns=[camera]), None)
            stored = first.column(0)[0].as_py() if first else None
        return _is_depth(_open((stored or {}).get("bytes") or b""))
    except (ForeactError, UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        return False  # Whoever reads the picture is told.


def _open(content: bytes) -> Image.Image:
    """A picture whose header has been read, and nothing else."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # its size is compared before it is decoded
        return Image.open(io.BytesIO(content))


def _is_depth(picture: Image.Image) -> bool:
    return picture.mode.startswith(("I", "F"))
