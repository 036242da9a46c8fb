"""Metadata of episodes with holes in it, in other versions, and of many episodes."""

from __future__ import annotations

import json
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from edited_data import EPISODES, edit_cell, edit_feature, edit_info, set_column

from foreact.core.errors import ForeactError
from foreact.data.episode_files import read_episodes
from foreact.data.lerobot import LeRobotDataset
from foreact.data.lerobot_meta import read_info

TOP = "videos/observation.images.top"
WHOLE = (
    "length",
    "data/chunk_index",
    "data/file_index",
    "dataset_from_index",
    f"{TOP}/chunk_index",
    f"{TOP}/file_index",
)
SECONDS = (f"{TOP}/from_timestamp", f"{TOP}/to_timestamp")


@pytest.mark.parametrize(
    ("column", "value", "shown"),
    [
        *((column, None, "null") for column in (*WHOLE, *SECONDS, "dataset_to_index")),
        *((column, float("nan"), "nan") for column in SECONDS),
        (SECONDS[0], float("inf"), "inf"),
        ("length", -3, "-3"),
        ("length", 13.5, r"13\.5"),
    ],
)
def test_a_value_that_is_none_is_named_with_file_column_and_episode(
    column: str, value: Any, shown: str, copy: Path
) -> None:
    path = copy / EPISODES
    edit_cell(path, column, 1, value)
    with pytest.raises(ForeactError, match=f" is {shown}, not a (finite|whole) number.*: correct it") as caught:
        LeRobotDataset(copy)
    assert str(caught.value).startswith(f"{path}: {column} of episode 1 ")


def test_the_number_itself_may_be_what_is_missing(copy: Path) -> None:
    edit_cell(copy / EPISODES, "episode_index", 1, None)
    with pytest.raises(ForeactError, match=r"file-000\.parquet: episode_index of row 1 is null"):
        LeRobotDataset(copy)


def test_words_for_numbers_are_named_too(copy: Path) -> None:
    set_column(copy / EPISODES, "length", ["many"] * 3)
    with pytest.raises(ForeactError, match="length of episode 0 is many, not a finite number"):
        LeRobotDataset(copy)


def test_numbers_that_pandas_made_floats_are_read(copy: Path, two_camera_dataset: Path) -> None:
    for column in WHOLE:
        values = pq.read_table(copy / EPISODES).column(column)
        set_column(copy / EPISODES, column, values.cast(pa.float64()).combine_chunks())
    assert LeRobotDataset(copy).fingerprint() == LeRobotDataset(two_camera_dataset).fingerprint()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"episode_index": 1, "length": None, "tasks": ["pull"]}, r"episodes\.jsonl: length of episode 1 is null"),
        ({"episode_index": None, "length": 13}, r"episodes\.jsonl: episode_index of row 1 is null"),
        ({"episode_index": 1}, r"episodes\.jsonl: the key 'length' is missing"),
        ([1, 13], r"episodes\.jsonl cannot be read"),
        ("13", r"episodes\.jsonl cannot be read"),
    ],
)
def test_version_2_has_holes_as_well(line: Any, message: str, copy: Path) -> None:
    edit_info(copy, codebase_version="v2.1", data_path="{episode_index}", video_path="{video_key}/{episode_index}")
    lines = [{"episode_index": 0, "length": 11}, line, {"episode_index": 2, "length": 17, "tasks": "push"}]
    (copy / "meta/episodes.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(ForeactError, match=message):
        LeRobotDataset(copy)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": None}, "cannot be read"),
        ({"video_path": None}, "the key 'video_path' is missing"),
        ({"total_frames": "many"}, "cannot be read: invalid literal"),
    ],
)
def test_holes_in_info(changes: dict[str, Any], message: str, copy: Path) -> None:
    edit_info(copy, **changes)
    with pytest.raises(ForeactError, match=rf"info\.json.*{message}"):
        LeRobotDataset(copy)


@pytest.mark.parametrize("key", ["action", "observation.images.top"])
@pytest.mark.parametrize(("shape", "shown"), [(None, "null"), ("2", '"2"'), ([2, None], r"\[2, null\]")])
def test_a_shape_that_is_none(key: str, shape: Any, shown: str, copy: Path) -> None:
    edit_feature(copy, key, {"shape": shape})
    with pytest.raises(ForeactError, match=rf"info\.json: the shape of '{key}' is {shown}, not a list"):
        LeRobotDataset(copy)


def test_a_feature_that_is_none(copy: Path) -> None:
    edit_feature(copy, "action", None)
    with pytest.raises(ForeactError, match=r"the feature 'action' is null, not a description"):
        LeRobotDataset(copy)


@pytest.mark.parametrize("changes", [{"codebase_version": "v3.1"}, {"storage_format": "lance"}, {"total_frames": None}])
def test_what_changes_nothing_is_read(changes: dict[str, Any], copy: Path, two_camera_dataset: Path) -> None:
    edit_info(copy, **changes)
    assert LeRobotDataset(copy).fingerprint() == LeRobotDataset(two_camera_dataset).fingerprint()


def test_another_storage_is_named_where_there_is_nothing_else(copy: Path) -> None:
    (copy / "data").rename(copy / "frames.lance")
    edit_info(copy, storage_format="lance")
    with pytest.raises(ForeactError, match=r"storage_format is 'lance', which foreact does not read.*parquet.*LeRobot"):
        LeRobotDataset(copy)


def open_many(root: Path, episodes: int) -> tuple[float, int]:
    """Seconds and bytes that it takes to know where so many episodes lie, each with a video of its own."""
    rows = {
        "episode_index": range(episodes),
        "length": [100] * episodes,
        "tasks": [[f"do {k}"] for k in range(episodes)],
    }
    rows |= {"data/chunk_index": [0] * episodes, "data/file_index": [k // 50 for k in range(episodes)]}
    rows |= {"dataset_from_index": [100 * k for k in range(episodes)]}
    rows |= {"dataset_to_index": [100 * k + 100 for k in range(episodes)]}
    for camera in ("top", "side"):
        key = f"videos/observation.images.{camera}"
        rows |= {f"{key}/chunk_index": [k // 1000 for k in range(episodes)]}
        rows |= {f"{key}/file_index": [k % 1000 for k in range(episodes)]}
        rows |= {f"{key}/from_timestamp": [0.0] * episodes, f"{key}/to_timestamp": [10.0] * episodes}
    pq.write_table(pa.table({key: list(values) for key, values in rows.items()}), root / EPISODES)
    begun = time.perf_counter()
    read_episodes(root, read_info(root))
    seconds = time.perf_counter() - begun
    tracemalloc.start()
    dataset = LeRobotDataset(root)
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(dataset.episodes) == episodes
    return seconds, taken


def test_memory_and_time_grow_with_the_episodes_and_no_faster(copy: Path) -> None:
    open_many(copy, 10)
    few, many = open_many(copy, 100), open_many(copy, 800)
    assert many[1] < 10 * few[1]
    assert many[1] / 800 < 6000
    assert many[0] < 30 * few[0] + 0.1
