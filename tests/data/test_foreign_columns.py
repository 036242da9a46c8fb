"""Columns as others write them: annotations, other widths than announced, NaN where it does not matter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from edited_data import DATA, EPISODES, edit_cell, edit_feature, edit_info, edit_table, set_column

from foreact.core.errors import ForeactError
from foreact.data.inspect import inspect_dataset, render_inspection
from foreact.data.lerobot import LeRobotDataset
from foreact.recordings.pairs import action_statistics

WORD = {"role": "assistant", "content": "grasp", "timestamp": 0.1}
KINDS = {
    "annotations, none to some in a row": ("language", [[WORD] * (row % 3) for row in range(41)]),
    "annotations, as many as rows": ("language", [[WORD]] * 41),
    "no annotation at all": ("language", pa.nulls(41, pa.list_(pa.struct([("role", pa.string())])))),
    "one annotation, not in a list": ("language", [WORD] * 41),
    "sound of several lengths": ("audio", [[0.5] * (row % 3) for row in range(41)]),
    "texts": ("string", ["grasp", None] * 20 + [""]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_number_leaves_the_rest_readable_and_is_handed_out_as_it_is(kind: str, copy: Path) -> None:
    before = LeRobotDataset(copy)
    dtype, values = KINDS[kind]
    edit_feature(copy, "language_events", {"dtype": dtype, "shape": [1], "names": None})
    set_column(copy / DATA, "language_events", values)
    dataset = LeRobotDataset(copy)
    for episode in range(3):
        np.testing.assert_array_equal(dataset.actions(episode), before.actions(episode))
        np.testing.assert_array_equal(dataset.frames(episode, count=2), before.frames(episode, count=2))
    inspection = inspect_dataset(dataset)
    assert inspection.defects == ()
    assert inspection.unread == {"language_events": dtype}
    assert "language_events" not in inspection.columns
    said = values.to_pylist() if isinstance(values, pa.Array) else values
    assert dataset.column("language_events", 1)[:, 0].tolist() == said[11:24]
    assert any("not read" in str(part) for part in render_inspection(inspection).renderables[0].columns[0].cells)


WIDTHS: dict[str, tuple[Any, list[int], str]] = {
    "wider": ([[1.0] * 3] * 41, [2], "has 3 numbers in a row, but its shape in meta/info.json says 2"),
    "narrower": ([[1.0]] * 41, [2], "has 1 numbers in a row"),
    "one for two": ([1.0] * 41, [2], "has 1 numbers in a row"),
    "flattened": ([[1.0] * 3] * 41, [2, 2], "says 4"),
    "ragged": ([[1.0] * 2] * 40 + [[1.0]], [2], r"rows of different lengths \(1 to 2 numbers\)"),
    "ragged, the sum fits": ([[1.0], [1.0] * 3] + [[1.0] * 2] * 39, [2], "rows of different lengths"),
    "ragged inside": ([[[1.0], [1.0] * 3]] + [[[1.0] * 2] * 2] * 40, [2, 2], "rows of different lengths"),
    "texts for numbers": (["left"] * 41, [1], "holds string, not the numbers"),
}


@pytest.mark.parametrize("case", WIDTHS)
def test_other_widths_than_announced_are_named_and_cost_that_column_alone(case: str, copy: Path) -> None:
    values, shape, message = WIDTHS[case]
    set_column(copy / DATA, "observation.state", values)
    edit_feature(copy, "observation.state", {"shape": shape, "names": None})
    dataset = LeRobotDataset(copy)
    assert dataset.actions(1).shape == (13, 2)
    with pytest.raises(ForeactError, match=rf"file-000\.parquet: column 'observation.state' .*{message}"):
        dataset.column("observation.state", 1)
    assert any("observation.state" in defect for defect in inspect_dataset(dataset).defects)


def test_numbers_of_more_than_one_dimension_are_flattened(copy: Path) -> None:
    values = np.arange(41 * 6, dtype=np.float32).reshape(41, 2, 3)
    set_column(copy / DATA, "observation.state", values.tolist())
    edit_feature(copy, "observation.state", {"shape": [2, 3], "names": None})
    np.testing.assert_array_equal(LeRobotDataset(copy).column("observation.state", 1), values[11:24].reshape(13, 6))


LAST = (10, 23, 40)


def spoil(root: Path, row: int, value: float) -> None:
    edit_cell(root / DATA, "action", row, [0.0, value])


def test_the_last_action_leads_nowhere_and_may_be_missing(copy: Path, two_camera_dataset: Path) -> None:
    for row in LAST:
        spoil(copy, row, np.nan)
    dataset, whole = LeRobotDataset(copy), LeRobotDataset(two_camera_dataset)
    inspection = inspect_dataset(dataset)
    assert inspection.defects == ()
    assert all(np.isfinite([dim.low, dim.mean, dim.high, dim.std]).all() for dim in inspection.actions)
    for episode in range(3):
        np.testing.assert_array_equal(dataset.actions(episode)[:-1], whole.actions(episode)[:-1])
    of = [action_statistics([d.actions(e) for e in range(3)]) for d in (dataset, whole)]
    np.testing.assert_array_equal(of[0], of[1])


@pytest.mark.parametrize(("row", "value"), [(22, np.nan), (23, np.inf), (11, np.nan)])
def test_elsewhere_it_is_a_defect(row: int, value: float, copy: Path) -> None:
    spoil(copy, row, value)
    spoil(copy, 10, np.nan)
    with pytest.raises(ForeactError, match=f"episode 1, row {row - 11}: action target_y is {value}"):
        LeRobotDataset(copy).actions(1)
    found = inspect_dataset(LeRobotDataset(copy)).defects
    assert found == (f"episode 1, row {row - 11}: action target_y is {value} (1 values are not finite)",)


def test_a_number_of_no_task_is_a_defect(copy: Path) -> None:
    edit_cell(copy / DATA, "task_index", 14, 7)
    found = inspect_dataset(LeRobotDataset(copy)).defects
    assert found == ("episode 1, row 3: task_index is 7, but the list of tasks has 2, up to number 1 (1 rows)",)


def test_episodes_without_texts_take_those_of_their_rows(copy: Path) -> None:
    expected = [e.task for e in LeRobotDataset(copy).episodes]
    edit_table(copy / EPISODES, lambda table: table.drop_columns(["tasks"]))
    assert [e.task for e in LeRobotDataset(copy).episodes] == expected == ["push", "pull", "push"]
    (copy / "meta/tasks.parquet").unlink()
    assert [e.task for e in LeRobotDataset(copy).episodes] == ["", "", ""]
    assert inspect_dataset(LeRobotDataset(copy)).defects == ()


@pytest.mark.parametrize("name", ["task", "__index_level_0__"])
def test_texts_of_tasks_in_another_order_and_under_another_name(name: str, copy: Path) -> None:
    pq.write_table(pa.table({"task_index": [1, 0], name: ["pull", "push"]}), copy / "meta/tasks.parquet")
    assert LeRobotDataset(copy).tasks == {0: "push", 1: "pull"}


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["x", "y"], ("x", "y")),
        ([["x", "y"]], ("x", "y")),
        ({"motors": ["x", "y"]}, ("x", "y")),
        ({"arm": [["x", "y"]]}, ("x", "y")),
        (["x"], ("0", "1")),
        ([], ("0", "1")),
        ([[]], ("0", "1")),
        ({}, ("0", "1")),
        (None, ("0", "1")),
    ],
)
def test_names_of_dimensions(names: Any, shown: tuple[str, ...], copy: Path) -> None:
    edit_feature(copy, "action", {"names": names})
    assert LeRobotDataset(copy).names_of("action") == shown


def test_rates_of_broadcasting(copy: Path) -> None:
    edit_info(copy, fps=29.97)
    for rate in (29.97, 30_000 / 1001):
        numbers = pq.read_table(copy / DATA).column("frame_index").to_numpy()
        set_column(copy / DATA, "timestamp", numbers / rate)
        assert not [d for d in inspect_dataset(LeRobotDataset(copy)).defects if "timestamp" in d]
    assert LeRobotDataset(copy).fps == 30_000 / 1001
