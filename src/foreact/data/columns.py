"""The numbers in a dataset's parquet files: read when asked for, file by file, so that a damaged file costs its own episodes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from foreact.core.errors import ForeactError
from foreact.data.episode_files import EpisodeFiles
from foreact.data.lerobot_meta import holds_numbers, width_of
from foreact.data.parquet import read_table


class Columns:
    """Columns in memory as contiguous arrays, one per file and feature.

    Args:
        root: the dataset's folder.
        features: as in `meta/info.json`.
    """

    def __init__(self, root: Path, features: Mapping[str, Mapping[str, Any]]):
        self._root = root
        self._features = features
        self._small = [key for key, feature in features.items() if holds_numbers(feature)]
        self._tables: dict[str, pa.Table] = {}
        self._arrays: dict[tuple[str, str], np.ndarray] = {}
        self._places: dict[str, dict[int, tuple[int, int]]] = {}

    def rows(self, key: str, files: EpisodeFiles) -> np.ndarray:
        """The rows (T, D) of a feature in an episode, as stored; of what is not numbers, objects (T, 1).

        Raises:
            ForeactError: the episode's file is missing or damaged, lacks the column or has it in another width than
                `meta/info.json` says, or has other rows of the episode than the metadata says.
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
        """A feature's rows in a file, (rows, D); all numbers are read at once, and made an array when asked for."""
        path = self._root / file
        if (file, key) not in self._arrays:
            if file not in self._tables:
                self._tables[file] = read_table(path, [], optional=self._small)
            if key not in self._tables[file].column_names:
                column = read_table(path, [key]).column(key)
            else:
                column = self._tables[file].column(key)
                self._tables[file] = self._tables[file].drop_columns([key])
            width = width_of(self._features[key]) if key in self._small else None
            self._arrays[file, key] = _to_array(column, f"{path}: column {key!r}", width)
        return self._arrays[file, key]


def unusable_actions(actions: np.ndarray) -> np.ndarray:
    """Row and dimension, (n, 2), of the values of (T, A) that are not finite; NaN in the last row, which leads nowhere, may be."""
    bad = ~np.isfinite(actions)
    bad[-1:] &= ~np.isnan(actions[-1:])
    return np.argwhere(bad)


def _to_array(column: pa.ChunkedArray, where: str, width: int | None) -> np.ndarray:
    """A parquet column as an array (rows, width); missing numbers and rows become NaN. Without a width, objects (rows, 1)."""
    array: Any = column.combine_chunks()
    if width is None:
        objects = np.empty((len(array), 1), dtype=object)
        objects[:, 0] = array.to_pylist()
        return objects
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    is_list = nested = _is_list(array.type)
    while nested:
        lengths = {array.type.list_size} if pa.types.is_fixed_size_list(array.type) else _lengths(array)
        if len(lengths) > 1:
            raise ForeactError(f"{where} has rows of different lengths ({min(lengths)} to {max(lengths)} numbers)")
        array = array.flatten()
        nested = _is_list(array.type)
    if not _is_number(array.type):
        raise ForeactError(f"{where} holds {array.type}, not the numbers that meta/info.json says")
    values = array.to_numpy(zero_copy_only=False)
    present = int(valid.sum()) if is_list else len(valid)
    stored = len(values) // present if present else width
    if stored != width:
        raise ForeactError(
            f"{where} has {stored} numbers in a row, but its shape in meta/info.json says {width}: correct one of them"
        )
    values = values.reshape(present, width)
    if not is_list or valid.all():
        return np.array(values)
    rows = np.full((len(valid), width), np.nan, dtype=np.float32)
    rows[valid] = values
    return rows


def _lengths(lists: Any) -> set[int]:
    return set(pc.unique(pc.list_value_length(lists).drop_null()).to_pylist())


def _is_list(kind: Any) -> bool:
    return bool(pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _is_number(kind: Any) -> bool:
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_null)
    return any(test(kind) for test in tests)
