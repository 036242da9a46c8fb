from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from rich.console import Console

from foreact.core.errors import ForeactError
from foreact.data.inspect import contact_sheet, inspect_dataset, render_inspection
from foreact.data.lerobot import LeRobotDataset
from foreact.data.video import write_video

DATA = "data/chunk-000/file-000.parquet"


def top(root: Path, episode: int, camera: str = "top") -> Path:
    return root / f"videos/observation.images.{camera}/chunk-000/file-{episode:03d}.mp4"


def edit_column(root: Path, key: str, change: Callable[[np.ndarray], object]) -> None:
    """Change a column of the data file in place; the array has as many rows as the dataset has frames."""
    table = pq.read_table(root / DATA)
    place = table.column_names.index(key)
    values = np.array(table.column(key).to_pylist(), dtype=np.float32)
    change(values)
    column = (
        pa.array(values)
        if values.ndim == 1
        else pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
    )
    pq.write_table(table.set_column(place, key, column), root / DATA)


def defects(root: Path) -> list[str]:
    return list(inspect_dataset(LeRobotDataset(root)).defects)


def test_a_sound_dataset(tiny_dataset: Path) -> None:
    calls: list[tuple[int, int]] = []
    dataset = LeRobotDataset(tiny_dataset)
    inspection = inspect_dataset(dataset, lambda done, total: calls.append((done, total)))
    assert inspection.defects == ()
    assert calls == [(i, 6) for i in range(1, 7)]
    assert inspection.lengths == (37, 41, 43, 47, 53, 37)
    assert inspection.cameras == {"observation.images.top": (48, 64)}
    assert inspection.columns == {"observation.state": 2, "observation.environment_state": 3, "action": 2}
    assert inspection.tasks == {"push the block": 6}
    assert (inspection.fps, inspection.robot_type, inspection.actionless) == (10, "square", 0)
    actions = np.concatenate([dataset.actions(e.index) for e in dataset.episodes])
    assert [dim.name for dim in inspection.actions] == ["target_x", "target_y"]
    assert [dim.low for dim in inspection.actions] == pytest.approx(actions.min(0).tolist())
    assert [dim.mean for dim in inspection.actions] == pytest.approx(actions.mean(0).tolist(), rel=1e-5)


def test_actionless_episodes_are_counted_and_no_defect(
    partly_actionless_dataset: Path, actionless_dataset: Path
) -> None:
    partly = inspect_dataset(LeRobotDataset(partly_actionless_dataset))
    assert (partly.actionless, partly.defects) == (2, ())
    wholly = inspect_dataset(LeRobotDataset(actionless_dataset))
    assert (wholly.actionless, wholly.actions, wholly.defects) == (3, (), ())


def test_every_defect_is_found_in_one_go(copy: Path) -> None:
    def spoil(actions: np.ndarray) -> None:
        actions[11 + 4, 0] = np.nan
        actions[11 + 6, 1] = np.inf

    edit_column(copy, "action", spoil)
    top(copy, 0).write_bytes(top(copy, 0).read_bytes()[:300])
    top(copy, 1).unlink()
    write_video(top(copy, 2, "side"), np.full((17, 48, 64, 3), 90, np.uint8), 10)
    found = defects(copy)
    assert len(found) == 4
    assert found[0].startswith(f"episode 0: video {top(copy, 0)} is truncated")
    assert found[1] == "episode 1, row 4: action target_x is nan (2 values are not finite)"
    assert found[2] == f"episode 1: video {top(copy, 1)} is missing"
    assert found[3] == "episode 2: observation.images.side shows no motion in 17 frames"


def test_missing_column_is_told_once(copy: Path) -> None:
    pq.write_table(pq.read_table(copy / DATA).drop_columns(["action"]), copy / DATA)
    inspection = inspect_dataset(LeRobotDataset(copy))
    assert len(inspection.defects) == 1
    assert "file-000.parquet: column 'action' is missing" in inspection.defects[0]
    assert (inspection.actionless, inspection.actions) == (None, ())


def test_frames_and_rows_that_do_not_match(copy: Path) -> None:
    frames = LeRobotDataset(copy).frames(1)
    write_video(top(copy, 1), np.concatenate([frames, frames]), 10)
    assert defects(copy) == [f"episode 1: {top(copy, 1).relative_to(copy)} has 26 frames, but there are 13 rows"]
    write_video(top(copy, 1), frames[:12], 10)
    found = defects(copy)
    assert "has 12 frames, not frames 0 to 12" in found[0]
    assert found[1].endswith("has 12 frames, but there are 13 rows")


def test_other_rate_and_size(copy: Path) -> None:
    frames = LeRobotDataset(copy).frames(2)
    write_video(top(copy, 2), frames[:, :32, :32], 30)
    found = defects(copy)
    assert len(found) == 2
    assert found[0].endswith("has pictures of 32 x 32, info.json says 48 x 64")
    assert found[1].endswith("has 30.00 frames per second, info.json says 10")


def test_timestamps_and_frame_numbers(copy: Path) -> None:
    edit_column(copy, "timestamp", lambda t: t.__setitem__(slice(14, 24), t[14:24] + 0.02))
    edit_column(copy, "frame_index", lambda n: n.__setitem__(30, 0))
    assert defects(copy) == [
        "episode 1, row 3: timestamp 0.3200 s, but at 10 frames per second it is 0.3000 s (10 rows are off)",
        "episode 2, row 6: frame_index is 0.0, not 6",
    ]


def test_totals(copy: Path) -> None:
    path = copy / "meta/info.json"
    path.write_text(path.read_text().replace('"total_frames": 41', '"total_frames": 40'))
    assert defects(copy) == ["meta/info.json says total_frames is 40, but there are 41"]


def test_constant_actions(copy: Path) -> None:
    edit_column(copy, "action", lambda a: a.__setitem__((slice(11, 24), slice(None)), 3.5))
    assert defects(copy) == ["episode 1: the action is the same in all 13 rows"]
    edit_column(copy, "action", lambda a: a.__setitem__((slice(None), 1), 2.5))
    assert "action target_y is 2.5 in every row of the dataset" in defects(copy)


def test_duplicates(make_dataset: Callable[..., Path]) -> None:
    root = make_dataset(lengths=(11, 11, 11))
    shutil.copy(top(root, 0), top(root, 2))
    assert defects(root) == ["episode 2: duplicate of episode 0 (the same pictures of observation.images.top)"]
    for key in ("action", "observation.state", "observation.environment_state"):
        edit_column(root, key, lambda values: values.__setitem__(slice(22, 33), values[11:22]))
    assert defects(root)[-1] == "episode 2: duplicate of episode 1 (the same rows)"


def test_episodes_of_one_frame(make_dataset: Callable[..., Path]) -> None:
    assert defects(make_dataset(lengths=(11, 1))) == ["episode 1: 1 frame, so there is no pair of frames in it"]


def test_rendering_says_it_all(copy: Path) -> None:
    top(copy, 1).unlink()
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(render_inspection(inspect_dataset(LeRobotDataset(copy))))
    text = console.export_text()
    for part in (
        "3 (all with actions)",
        "41 at 10 per second",
        "11 to 17",
        "48 x 64",
        "push: 2 episodes",
        "target_x",
        "2 defects",
    ):
        assert part in text or part == "2 defects"
    assert "1 defect" in text
    assert "episode 1: video" in text


def test_contact_sheet_shows_the_frames(tiny_dataset: Path, tmp_path: Path) -> None:
    dataset = LeRobotDataset(tiny_dataset)
    contact_sheet(dataset, tmp_path / "sheet.png", episodes=3, frames=5, height=48)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png")).astype(int)
    assert sheet.shape == (3 * (48 + 18 + 4) + 4, 5 * (64 + 4) + 4, 3)
    last = sheet[-52:-4, -68:-4]
    assert np.abs(last - dataset.frames(5)[-1])[20:].mean() < 3


def test_contact_sheet_of_damaged_and_short_episodes(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    root = make_dataset(lengths=(1, 5), tasks=("greife den Würfel ☃",))
    top(root, 1).unlink()
    contact_sheet(LeRobotDataset(root), tmp_path / "sheet.png")
    assert Image.open(tmp_path / "sheet.png").size[1] == 2 * (96 + 18 + 4) + 4
    with pytest.raises(ForeactError, match="cannot write"):
        contact_sheet(LeRobotDataset(root), tmp_path / "none" / "sheet.png")
