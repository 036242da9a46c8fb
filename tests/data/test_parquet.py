"""A bit that flips in a file of ours is seen, wherever the file is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from edited_data import DATA, EPISODES

from foreact.core.errors import ForeactError
from foreact.data.inspect import inspect_dataset
from foreact.data.lerobot import LeRobotDataset
from foreact.data.pictures import StoredPictures


def flip_bit(path: Path, column: str) -> None:
    """Flip a bit in the last page of a column's first row group."""
    group = pq.ParquetFile(path).metadata.row_group(0)
    about = next(group.column(k) for k in range(group.num_columns) if group.column(k).path_in_schema.startswith(column))
    content = bytearray(path.read_bytes())
    content[(about.dictionary_page_offset or about.data_page_offset) + about.total_compressed_size - 3] ^= 16
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("file", "column", "read"),
    [
        (DATA, "action", lambda root: LeRobotDataset(root).actions(0)),
        (DATA, "timestamp", lambda root: LeRobotDataset(root).column("timestamp", 0)),
        (EPISODES, "length", LeRobotDataset),
        ("meta/tasks.parquet", "task", lambda root: LeRobotDataset(root).tasks),
        (DATA, "action", lambda root: StoredPictures(root / DATA, "action", (48, 64)).read(count=1)),
    ],
)
def test_a_flipped_bit_is_named(file: str, column: str, read: Callable[[Path], object], copy: Path) -> None:
    flip_bit(copy / file, column)
    with pytest.raises(ForeactError, match=rf"{copy / file} is damaged: .*checksum.*copy it again"):
        read(copy)


def test_inspection_tells_of_it(copy: Path) -> None:
    flip_bit(copy / DATA, "observation.environment_state")
    assert "file-000.parquet is damaged" in inspect_dataset(LeRobotDataset(copy)).defects[0]


@pytest.mark.parametrize("what", ["missing", "a folder", "empty", "of another kind"])
def test_every_reader_names_a_file_that_is_none_and_the_remedy(what: str, copy: Path) -> None:
    (copy / DATA).unlink()
    if what == "a folder":
        (copy / DATA).mkdir()
    elif what != "missing":
        (copy / DATA).write_bytes(b"" if what == "empty" else b"PK\3\4" * 99)
    dataset = LeRobotDataset(copy)
    readers: list[Callable[[], object]] = [
        lambda: dataset.actions(0),
        lambda: dataset.has_actions(1),
        lambda: dataset.column("timestamp", 2),
        lambda: StoredPictures(copy / DATA, "observation.images.top", (48, 64)).frame_count,
        lambda: StoredPictures(copy / DATA, "observation.images.top", (48, 64)).read(count=1),
    ]
    for read in readers:
        with pytest.raises(ForeactError, match=rf"{copy / DATA} is (missing|truncated or not).*: copy it again"):
            read()
    assert len(dataset.fingerprint()) == 16
