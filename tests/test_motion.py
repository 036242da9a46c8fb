"""What `foreact fit` says of recordings in which nothing moves, or too little within a chunk; and the way out."""

import numpy as np
import pytest

from foreact.core.errors import ForeactError
from foreact.core.progress import progress_bar
from foreact.data.importers import import_recordings
from foreact.data.lerobot import LeRobotDataset
from foreact.data.writer import LeRobotWriter
from foreact.fitting.motion import advise
from foreact.recordings.opening import open_recordings

LENGTH = 240


def record(root, speed, *, fps=50):
    """A bright bar that moves `speed` pixels per frame to and fro, and an action that says where it is next."""
    with LeRobotWriter(root, fps=fps, cameras={"top": (48, 48)}, columns={"action": ("x",)}) as writer:
        for episode in range(4):
            places = np.abs((11 * episode + speed * np.arange(LENGTH)) % 80 - 40)
            frames = np.full((LENGTH, 48, 48, 3), 90, np.uint8)
            for frame, x in zip(frames, places.round().astype(int)):
                frame[:, x : x + 8] = 230
            writer.add_episode({"top": frames}, {"action": np.roll(places, -1)[:, None].astype(np.float32)}, task="go")
    return root


@pytest.fixture
def opened(tmp_path):
    def open_(data):
        return open_recordings(data, encoder="tiny", image_size=48, cache=tmp_path / "cache", progress=progress_bar)

    return open_


def test_stillness_is_refused_and_movement_is_not(tmp_path, opened):
    with pytest.raises(ForeactError, match=r"nothing moves in .*still: .* record movement, or choose another --camera"):
        advise(opened(record(tmp_path / "still", 0.0)), 15)
    assert advise(opened(record(tmp_path / "lively", 1.5)), 15) == ""


def test_a_rate_so_high_that_little_moves_is_said_with_a_stride_that_helps(tmp_path, opened):
    slow = record(tmp_path / "slow", 0.05)
    advice = advise(opened(slow), 5)
    assert "little moves within 5 frames" in advice
    stride = int(advice.split("--stride ")[1].split()[0])
    import_recordings(slow, tmp_path / "thin", stride=stride, actions="last")
    assert advise(opened(tmp_path / "thin"), 5) == ""


@pytest.mark.parametrize("how", ["last", "sum"])
def test_every_third_frame_and_what_its_actions_come_to(tmp_path, how):
    whole = LeRobotDataset(record(tmp_path / "whole", 0.5, fps=30))
    import_recordings(whole.root, tmp_path / "thin", stride=3, actions=how)
    thin = LeRobotDataset(tmp_path / "thin")
    assert (thin.fps, len(thin.episodes), thin.episode(1).length) == (10, 4, 80)
    taken = whole.actions(1).reshape(80, 3, 1)
    np.testing.assert_allclose(thin.actions(1), taken[:, -1] if how == "last" else taken.sum(axis=1), rtol=1e-6)
    assert np.abs(thin.frames(1).astype(int) - whole.frames(1)[::3]).mean() < 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "is a LeRobot dataset already: use it as it is, or"),
        ({"stride": 1, "actions": "last"}, "--stride 2 or more"),
        ({"stride": 3}, "say with --actions what becomes of the actions"),
        ({"stride": 500, "actions": "sum"}, "--stride 500 leaves one frame of 240"),
        ({"stride": 3, "actions": "reached"}, "last, for targets, or sum, for changes"),
    ],
)
def test_what_a_lower_rate_needs_to_know(tmp_path, options, said):
    whole = record(tmp_path / "whole", 0.5)
    with pytest.raises(ForeactError, match=said):
        import_recordings(whole, tmp_path / "thin", **options)
