"""The one place that opens a dataset's parquet files: whatever is wrong with one is said with its name and the remedy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from foreact.core.errors import ForeactError

_REMEDY = "copy it again from its source"


@contextmanager
def open_parquet(path: Path) -> Iterator[pq.ParquetFile]:
    """A parquet file for reading; the checksums of its pages, where it has any, are compared with what is read.

    Raises:
        ForeactError: the file is missing, truncated, damaged or of another kind; also where that is seen inside the block.
    """
    if not path.is_file():
        raise ForeactError(f"{path} is missing: {_REMEDY}")
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        if "checksum" in reason.lower():
            raise ForeactError(
                f"{path} is damaged: what is stored does not fit its checksum ({reason}): {_REMEDY}"
            ) from error
        raise ForeactError(f"{path} is truncated or not a parquet file ({reason}): {_REMEDY}") from error


def read_table(path: Path, columns: Sequence[str], *, optional: Sequence[str] = ()) -> pa.Table:
    """Columns of a parquet file.

    Args:
        path: the file.
        columns: to read.
        optional: to read where the file has them.

    Raises:
        ForeactError: the file is missing or damaged, or lacks one of `columns`.
    """
    with open_parquet(path) as file:
        names = file.schema_arrow.names
        for column in columns:
            if column not in names:
                raise ForeactError(f"{path}: column {column!r} is missing (it has {names})")
        found = file.read(columns=[*columns, *(name for name in optional if name in names)])
    return found.replace_schema_metadata(None)


def count_rows(path: Path) -> int:
    """Rows of a parquet file.

    Raises:
        ForeactError: the file is missing or damaged.
    """
    with open_parquet(path) as file:
        return int(file.metadata.num_rows)
