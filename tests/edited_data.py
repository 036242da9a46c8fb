"""Changes to a copy of a dataset, to make of it one that somebody else wrote, or broke."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from foreact.data.lerobot import LeRobotDataset
from foreact.data.video import write_video

DATA = "data/chunk-000/file-000.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"


def edit_info(root: Path, **changes: Any) -> None:
    path = root / "meta/info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_feature(root: Path, key: str, changes: Mapping[str, Any] | None) -> None:
    """Change what info.json says of a feature, or add one; None makes it null."""
    features = json.loads((root / "meta/info.json").read_text())["features"]
    edit_info(root, features=features | {key: None if changes is None else features.get(key, {}) | changes})


def edit_table(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(path)), path)


def set_column(path: Path, key: str, values: Sequence[Any] | pa.Array) -> None:
    """Replace a column of a parquet file, or add it."""
    column = values if isinstance(values, pa.Array) else pa.array(values)

    def change(table: pa.Table) -> pa.Table:
        if key in table.column_names:
            return table.set_column(table.column_names.index(key), key, column)
        return table.append_column(key, column)

    edit_table(path, change)


def edit_cell(path: Path, key: str, row: int, value: Any) -> None:
    """Change one value of a parquet file."""
    values = pq.read_table(path).column(key).to_pylist()
    values[row] = value
    set_column(path, key, values)


def join_videos(root: Path) -> None:
    """Put all episodes of a dataset into one video per camera, as LeRobot's own recorder does."""
    dataset = LeRobotDataset(root)
    path = root / "meta/episodes/chunk-000/file-000.parquet"
    rows = pq.read_table(path).to_pylist()
    for camera in dataset.cameras:
        frames = [dataset.frames(e.index, camera=camera) for e in dataset.episodes]
        for e in dataset.episodes:
            (root / f"videos/{camera}/chunk-000/file-{e.index:03d}.mp4").unlink()
            begin, end = e.offset / dataset.fps, (e.offset + e.length) / dataset.fps
            rows[e.index] |= {f"videos/{camera}/file_index": 0, f"videos/{camera}/from_timestamp": begin}
            rows[e.index] |= {f"videos/{camera}/to_timestamp": end}
        write_video(root / f"videos/{camera}/chunk-000/file-000.mp4", np.concatenate(frames), dataset.fps, crf=1)
    pq.write_table(pa.Table.from_pylist(rows), path)
