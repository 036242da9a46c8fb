"""The numbers in a dataset's parquet files: read when asked for, file by file, so that a damaged file costs its own episodes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from foreact.core.errors import ForeactError
from foreact.data.lerobot_meta import EpisodeFiles, read_table

_NOT_NUMBERS = ("video", "image", "string")


class Columns:
    """Columns in memory as contiguous arrays, one per file and feature.

    Args:
        root: the dataset's folder.
        features: as in `meta/info.json`.
    """

    def __init__(self, root: Path, features: Mapping[str, Mapping[str, Any]]):
        self._root = root
        self._small = [key for key, feature in features.items() if feature.get("dtype") not in _NOT_NUMBERS]
        self._files: dict[str, dict[str, np.ndarray]] = {}
        self._places: dict[str, dict[int, tuple[int, int]]] = {}

    def rows(self, key: str, files: EpisodeFiles) -> np.ndarray:
        """The rows (T, D) of a feature in an episode, as stored.

        Raises:
            ForeactError: the episode's file is missing or damaged, lacks the column, or has other rows of the episode than
                the metadata says.
        """
        first = self.first_row(files)
        return self._column(files.data, key)[first : first + files.length]

    def first_row(self, files: EpisodeFiles) -> int:
        """Number of the episode's first row in its own file.

        Raises:
            ForeactError: as `rows`.
        """
        if files.data not in self._places:
            owner = self._column(files.data, "episode_index")[:, 0]
            numbers, firsts, counts = np.unique(owner, return_index=True, return_counts=True)
            ends = firsts + counts
            joined = [bool((owner[a:b] == n).all()) for n, a, b in zip(numbers, firsts, ends, strict=True)]
            found = zip(numbers.tolist(), firsts.tolist(), (counts * joined).tolist(), strict=True)
            self._places[files.data] = {number: (first, count) for number, first, count in found}
        first, count = self._places[files.data].get(files.index, (0, 0))
        if count != files.length:
            raise ForeactError(
                f"{self._root / files.data}: rows {files.rows[0]} to {files.rows[1] - 1} should be the {files.length} frames "
                f"of episode {files.index}, but {count} are"
            )
        return first

    def _column(self, file: str, key: str) -> np.ndarray:
        """A feature's rows in a file, (rows, D); all small features are read at once."""
        path = self._root / file
        if file not in self._files:
            table = read_table([path], self._small, lenient=True)
            self._files[file] = {k: _to_array(table.column(k), f"{path}: column {k!r}") for k in table.column_names}
        if key not in self._files[file]:
            table = read_table([path], [key])
            self._files[file][key] = _to_array(table.column(key), f"{path}: column {key!r}")
        return self._files[file][key]


def _to_array(column: pa.ChunkedArray, where: str) -> np.ndarray:
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
