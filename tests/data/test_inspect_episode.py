from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from test_inspect import edit_column, top

from foreact.cli import main
from foreact.core.errors import ForeactError
from foreact.data.inspect_episode import inspect_episode, render_episode
from foreact.data.lerobot import LeRobotDataset
from foreact.data.video import write_video


@pytest.fixture
def copy(two_camera_dataset: Path, tmp_path: Path) -> Path:
    """A dataset of episodes with 11, 13 and 17 frames that a test may damage."""
    return Path(shutil.copytree(two_camera_dataset, tmp_path / "copy"))


def told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit status of `foreact inspect` and what it wrote on standard output."""
    try:
        main(["inspect", *arguments])
    except SystemExit as ended:
        return int(ended.code or 0), capsys.readouterr().out
    return 0, capsys.readouterr().out


def test_an_episode_in_detail(copy: Path) -> None:
    edit_column(copy, "action", lambda a: a.__setitem__((11 + 6, 1), a[11 + 6, 1] + 5000))
    edit_column(copy, "timestamp", lambda t: t.__setitem__(11 + 4, t[11 + 4] + 0.03))
    dataset = LeRobotDataset(copy)
    found = inspect_episode(dataset, 1)
    assert (found.episode, found.length, found.fps, found.task, found.actionless) == (1, 13, 10, "pull", False)
    assert found.timestamps is not None
    assert found.timestamps.jitter == pytest.approx(0.03, abs=1e-6)
    assert (found.timestamps.least, found.timestamps.greatest) == pytest.approx((0.07, 0.13), abs=1e-6)
    assert [camera.name for camera in found.cameras] == list(dataset.cameras)
    assert found.cameras[0].file == top(copy, 1).relative_to(copy).as_posix()
    assert found.cameras[0].spacing is not None
    assert found.cameras[0].spacing.jitter == pytest.approx(0, abs=1e-6)
    jump = next(dim for dim in found.dimensions if dim.name == "target_y")
    steps = np.abs(np.diff(dataset.actions(1)[:, 1]))
    assert (jump.column, jump.jump_row) == ("action", int(steps.argmax()))
    assert jump.jump == pytest.approx(steps.max())
    assert jump.jump > 4000
    assert len(found.defects) == 1
    assert "episode 1, row 4: timestamp 0.4300 s" in found.defects[0]


def test_defects_of_other_episodes_are_not_told(copy: Path) -> None:
    top(copy, 0).unlink()
    write_video(top(copy, 2), np.zeros((17, 48, 64, 3), np.uint8), 30)
    dataset = LeRobotDataset(copy)
    assert inspect_episode(dataset, 1).defects == ()
    assert "file-000.mp4 is missing" in inspect_episode(dataset, 0).defects[0]
    assert [defect.split(" ")[1].rstrip(":") for defect in inspect_episode(dataset, 2).defects] == ["2", "2"]
    with pytest.raises(ForeactError, match="no episode 7"):
        inspect_episode(dataset, 7)


def test_damaged_and_actionless_episodes_are_shown_as_far_as_they_can_be_read(
    copy: Path, partly_actionless_dataset: Path
) -> None:
    top(copy, 0).unlink()
    edit_column(copy, "action", lambda a: a.__setitem__((3, 0), np.nan))
    found = inspect_episode(LeRobotDataset(copy), 0)
    assert [camera.name for camera in found.cameras] == ["observation.images.side"]
    assert all(np.isfinite([dim.low, dim.high, dim.jump]).all() for dim in found.dimensions)
    assert len(found.defects) == 2
    actionless = inspect_episode(LeRobotDataset(partly_actionless_dataset), 1)
    assert actionless.actionless
    assert {dim.column for dim in actionless.dimensions} == {"observation.state", "observation.environment_state"}


def test_rendering_fits_a_terminal_of_80_columns(copy: Path) -> None:
    edit_column(copy, "action", lambda a: a.__setitem__((11 + 6, 1), -12345.6))
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(render_episode(inspect_episode(LeRobotDataset(copy), 1)))
    shown = console.export_text()
    for part in (
        "episode 1",
        "pull",
        "13 at 10 per second: 1.3 s, with actions",
        "target_y",
        "%, row 6",
        "side",
    ):
        assert part in shown
    assert "…" not in shown


@pytest.mark.parametrize("episode", [None, 1])
@pytest.mark.parametrize("spoil", [None, lambda root: top(root, 1).unlink()])
def test_json_alone_on_standard_output_and_the_status(
    copy: Path,
    episode: int | None,
    spoil: Callable[[Path], None] | None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(copy.parent)
    if spoil:
        spoil(copy)
    words = [str(copy), *(["--episode", str(episode)] if episode is not None else [])]
    status, said = told([*words, "--json"], capsys)
    found = json.loads(said)
    assert found["schema"] == 1
    assert status == int(bool(spoil)) == int(bool(found["defects"]))
    if episode is None:
        assert found["defective"] == ([1] if spoil else [])
        assert (found["lengths"], found["fps"], found["tasks"]) == ([11, 13, 17], 10, {"push": 2, "pull": 1})
    else:
        assert (found["episode"], found["length"], found["task"]) == (1, 13, "pull")
    assert not list(copy.parent.glob("*.png"))
    assert told([*words, "--contact-sheet", "sheet.png"], capsys)[0] == status
    assert Image.open("sheet.png").width > 100


def test_bad_use_is_status_2_with_an_empty_standard_output(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([str(copy / "none")], [str(copy), "--episode", "3"], [str(copy), "--camera", "nose"]):
        assert told([*words, "--json"], capsys) == (2, "")


def test_the_sheet_of_an_episode_has_a_row_for_each_camera(
    copy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(copy.parent)
    assert "contact sheet: contact_sheet.png" in told([str(copy), "--episode", "2"], capsys)[1]
    sheet = np.asarray(Image.open("contact_sheet.png"))
    assert sheet.shape == (2 * (144 + 18 + 4) + 4, 12 * (192 + 4) + 4, 3)
    told([str(copy), "--episode", "2", "--camera", "side"], capsys)
    one = np.asarray(Image.open("contact_sheet.png"))
    assert np.array_equal(one[4:], sheet[144 + 18 + 4 + 4 :])


def test_a_reader_of_the_json_that_left_is_no_error(copy: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    words = [sys.executable, "-m", "foreact", "inspect", str(copy), "--json", "--episode", "0"]
    ended = subprocess.run(words, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (141, b"")
