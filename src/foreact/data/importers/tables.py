"""Tables of actions and states beside videos, `.csv` and `.parquet`, read so that no row is lost or moved and no column misread.

A table's columns are the dimensions of the action. Where any of them is called `action`, `action.NAME`,
`observation.FEATURE` or `observation.FEATURE.NAME`, all must be, and each feature gets the dimensions that are named so.
Clocks and counters are left out: columns that are named like one, and those that grow by equal steps in all tables.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from foreact.core.errors import ForeactError

TABLES = (".csv", ".parquet")
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_WORDS = {"": np.nan, "na": np.nan, "n/a": np.nan, "null": np.nan, "none": np.nan, "true": 1.0, "false": 0.0}
# Beyond it float32, in which datasets keep numbers, no longer tells whole numbers apart.
_MOST = 1 << 24
# Words that make a name a clock's or counter's, where all its other words are of the second kind.
_CLOCK = re.compile(
    "t|ts|dt|times?|timestamps?|stamp|clock|date|datetime|elapsed|frames?|index|idx|id|steps?|rows?|seq|counter|unnamed|episode"
)
_BESIDE_CLOCK = re.compile(
    "s|ms|us|ns|m?secs?|[un]secs?|(milli|micro|nano)?(s|seconds)|no|nr|num|number|count|level|since|start|unix|epoch|utc|ros|sim|"
    "wall|sys|system|monotonic|header|global|rel|abs|relative|absolute|cam|camera|video|task"
)
_NO_ACTION = re.compile("obs|observations?|states?|rewards?|done|terminated|truncated|success")

Columns = Mapping[str, Callable[[], np.ndarray]]
"""Name -> gives the numbers, (rows, D) float64."""
Features = dict[str, dict[str, np.ndarray]]
"""Feature -> dimension -> values (rows,)."""


def read_tables(paths: Sequence[Path]) -> tuple[dict[Path, Features], list[str]]:
    """The features of all tables, and what the user should know: separators, and the columns that were left out.

    Raises:
        ForeactError: a table cannot be read as it stands, or has other columns than the first one.
    """
    notes: list[str] = []
    tables = {p: _read_csv(p, notes) if p.suffix.lower() == ".csv" else _read_parquet(p) for p in paths}
    left_out: dict[str, str] = {}
    places = {path: _places(columns, path, left_out) for path, columns in tables.items()}
    for name, (feature, _) in list(next(iter(places.values()), {}).items()):
        if not feature and all(name in places[p] and _counts_up(tables[p][name]()) for p in paths):
            left_out[name] = "it only counts up"
            for kept in places.values():
                del kept[name]
    if left_out:
        listed = ", ".join(f"{name or '(no name)'} ({why})" for name, why in left_out.items())
        notes.append(f"columns left out of the actions: {listed}; to keep one, name all columns action.NAME")
    features = {path: _features(path, tables[path], places[path], notes) for path in paths}
    dims = {path: {key: tuple(dims) for key, dims in found.items()} for path, found in features.items()}
    for path, found in dims.items():
        if found != dims[paths[0]]:
            raise ForeactError(f"{path} has the columns {found}, but the tables before it have {dims[paths[0]]}")
    return features, notes


def _read_csv(path: Path, notes: list[str]) -> Columns:
    try:
        text = path.read_bytes().decode("utf-8-sig")
        separator = max(_SEPARATORS, key=text.partition("\n")[0].count)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except UnicodeDecodeError as error:
        raise ForeactError(f"{path} is not UTF-8 text (byte {error.start + 1}): save it as UTF-8") from error
    except (OSError, csv.Error) as error:
        raise ForeactError(f"{path} cannot be read ({error})") from error
    while rows and not any(rows[-1][1]):
        rows.pop()
    if not rows:
        raise ForeactError(f"{path} cannot be read: it is empty")
    (_, names), rows = rows[0], rows[1:]
    _check_header(names, path)
    for line, row in rows:
        if row and row[0].startswith("#"):
            raise ForeactError(f"{path}, line {line} is a comment: take it out")
        if len(row) != len(names):
            found = f"has {len(row)} values for {len(names)} columns" if any(row) else "is empty"
            raise ForeactError(
                f"{path}, line {line} {found}: it needs one value per column, separated by {_SEPARATORS[separator]}"
            )
    if not rows:
        raise ForeactError(f"{path} has a header and no rows")
    if separator != ",":
        notes.append(f"{path.name} is separated by {_SEPARATORS[separator]}")
    lines = [line for line, _ in rows]
    return {
        name: partial(_parse, [row[k] for _, row in rows], lines, f"{path}: column {name!r}")
        for k, name in enumerate(names)
    }


def _check_header(names: list[str], path: Path) -> None:
    shown = ", ".join(names)
    if not any(names) or names[0].startswith("#"):
        raise ForeactError(f"{path}, line 1 ({shown}) must be the names of the columns, without # before them")
    if any(_is_number(name) for name in names):
        raise ForeactError(
            f"{path}, line 1 holds numbers ({shown}) where the names of the columns must stand: write a line such as x,y,gripper "
            "above them (if these numbers are the names, change them to words)"
        )
    _check_names(names, path)


def _check_names(names: Sequence[str], path: Path) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ForeactError(f"{path} has {names.count(name)} columns called {name!r}: give each a name of its own")


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def _parse(cells: Sequence[str], lines: Sequence[int], where: str) -> np.ndarray:
    """Cells of a csv as numbers, (rows, 1)."""
    values = np.empty((len(cells), 1))
    for row, (cell, line) in enumerate(zip(cells, lines, strict=True)):
        try:
            values[row] = _WORDS[cell.lower()] if cell.lower() in _WORDS else float(cell)
        except ValueError as error:
            remedy = ": write decimal points, not commas" if _is_number(cell) else ""
            raise ForeactError(
                f"{where} holds something other than numbers: {cell!r} in line {line}{remedy}"
            ) from error
    return values


def _read_parquet(path: Path) -> Columns:
    try:
        table = pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        raise ForeactError(f"{path} cannot be read ({str(error).splitlines()[0]})") from error
    if not table.num_rows:
        raise ForeactError(f"{path} holds no rows")
    _check_names(table.column_names, path)
    return {name: partial(_numbers, table.column(name), f"{path}: column {name!r}") for name in table.column_names}


def _numbers(column: pa.ChunkedArray, where: str) -> np.ndarray:
    """A column of numbers or of lists of numbers, (rows, D)."""
    try:
        values = np.array(column.to_pylist(), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ForeactError(f"{where} holds something other than numbers") from error
    return values.reshape(len(values), -1)


def _places(columns: Columns, path: Path, left_out: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Column -> feature (none if no name in the table says one) and dimension; clocks and counters go to `left_out`."""
    places = {name: _split(name) for name in columns}
    prefixed = any(feature for feature, _ in places.values())
    for name, (feature, _) in list(places.items()):
        words = re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower())
        clock = [word for word in words if _CLOCK.fullmatch(word)]
        if feature:
            continue
        if clock and all(word in clock or _BESIDE_CLOCK.fullmatch(word) for word in words):
            left_out[name] = "a clock or counter by its name"
            del places[name]
        elif prefixed or (words and _NO_ACTION.fullmatch(words[0])):
            raise ForeactError(
                f"{path}: is the column {name!r} an action? Name it action.NAME or observation.state.NAME, or take it out"
            )
    return places


def _split(name: str) -> tuple[str, str]:
    """`observation.state.x` -> (`observation.state`, `x`); a feature's own name is its only dimension's; else no feature."""
    match = re.fullmatch(r"(action|observation\.\w+)(?:\.(.+))?", name)
    return (match[1], match[2] or match[1].rpartition(".")[2]) if match else ("", name)


def _counts_up(values: np.ndarray) -> bool:
    steps = np.diff(values[:, 0])
    return values.shape[1] == 1 and len(steps) > 1 and steps.min() > 0 and np.ptp(steps) <= 0.1 * np.median(steps)


def _features(path: Path, columns: Columns, places: Mapping[str, tuple[str, str]], notes: Sequence[str]) -> Features:
    if not places:
        raise ForeactError(f"{path} holds no actions; {'; '.join(notes)}")
    features: Features = {}
    for name, (feature, dim) in places.items():
        values = columns[name]()
        large = values[np.abs(values) > _MOST]
        if not dim:
            raise ForeactError(f"{path}: a column of actions has no name")
        if len(large) and (large != large.astype(np.float32)).any():
            raise ForeactError(
                f"{path}: column {name!r} reaches {large[0]:.15g}, and datasets (float32) tell numbers apart up to {_MOST}: take off "
                "an offset, or take the column out"
            )
        dims = [dim] if values.shape[1] == 1 else [f"{dim}_{i}" for i in range(values.shape[1])]
        known = features.setdefault(feature or "action", {})
        _check_names([*known, *dims], path)
        known.update(zip(dims, values.astype(np.float32).T, strict=True))
    return features
