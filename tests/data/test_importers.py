from __future__ import annotations

import builtins
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from foreact.core.errors import ForeactError
from foreact.data.importers import import_recordings
from foreact.data.lerobot import LeRobotDataset
from foreact.data.video import write_video


def shades(length: int, height: int = 48, width: int = 64, first: int = 0) -> np.ndarray:
    """Frames whose brightness tells their number."""
    values = (first + 5 * np.arange(length)) % 250
    return np.broadcast_to(values[:, None, None, None].astype(np.uint8), (length, height, width, 3))


def shade_of(frames: np.ndarray) -> list[int]:
    return [round(float(value)) for value in frames.mean((1, 2, 3))]


def run(source: Path, out: Path, *, format: str = "auto", **options: Any) -> LeRobotDataset:
    import_recordings(source, out, format=format, **options)
    return LeRobotDataset(out)


# A folder of videos


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """clip_2 (11 frames, actions per frame), clip_10 (13 frames, actions between frames), clip_11 (7 frames, none)."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for name, length in (("clip_2", 11), ("clip_10", 13), ("clip_11", 7)):
        write_video(folder / f"{name}.mp4", shades(length), 12)
    (folder / "clip_2.csv").write_text("dx,dy\n" + "\n".join(f"{t * t},{-t / 10}" for t in range(11)))
    table = pa.table({"dx": np.arange(12.0) ** 2, "dy": np.arange(12.0) * 2})
    pq.write_table(table, folder / "clip_10.parquet")
    return folder


def test_folder_of_videos(videos: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    count = import_recordings(
        videos,
        tmp_path / "out",
        camera="wrist",
        task="push",
        on_progress=lambda done, total: calls.append((done, total)),
    )
    dataset = LeRobotDataset(tmp_path / "out")
    assert count == 3
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert [(e.length, e.task) for e in dataset.episodes] == [(11, "push"), (13, "push"), (7, "push")]
    assert (dataset.fps, dataset.camera, dataset.image_shape) == (12, "observation.images.wrist", (48, 64))
    assert dataset.names_of("action") == ("dx", "dy")
    assert dataset.actions(0).tolist() == np.float32([[t * t, -t / 10] for t in range(11)]).tolist()
    assert dataset.actions(1).tolist() == [[t * t, 2 * t] for t in (*range(12), 11)]
    assert [dataset.has_actions(i) for i in range(3)] == [True, True, False]
    assert np.allclose(shade_of(dataset.frames(1)), shade_of(shades(13)), atol=2)


def test_videos_alone_are_an_actionless_dataset(videos: Path, tmp_path: Path) -> None:
    (videos / "clip_2.csv").unlink()
    (videos / "clip_10.parquet").unlink()
    assert run(videos, tmp_path / "out", fps=25).action_dim is None
    assert LeRobotDataset(tmp_path / "out").fps == 25


def test_height_scales_the_pictures(videos: Path, tmp_path: Path) -> None:
    dataset = run(videos, tmp_path / "out", height=32)
    assert dataset.image_shape == (32, 42)
    assert dataset.frames(0).shape == (11, 32, 42, 3)


def test_states_beside_actions(videos: Path, tmp_path: Path) -> None:
    for path in (videos / "clip_2.csv", videos / "clip_10.parquet", videos / "clip_11.mp4", videos / "clip_10.mp4"):
        path.unlink()
    rows = "\n".join(f"{t},{t + 100},{t + 200}" for t in range(11))
    (videos / "clip_2.csv").write_text("action.x,observation.state.a,observation.state.b\n" + rows)
    dataset = run(videos, tmp_path / "out")
    assert dataset.names_of("observation.state") == ("a", "b")
    assert dataset.column("observation.state", 0).tolist() == [[t + 100, t + 200] for t in range(11)]
    assert dataset.actions(0).tolist() == [[t] for t in range(11)]


def text(content: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "clip_2.csv").write_text(content) and None


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (text("dx,dy\n1,2\n3,4\n"), r"clip_2\.csv: 2 rows of actions for 11 frames; it needs 11 .* or 10"),
        (
            text("dx,dz\n" + "1,2\n" * 11),
            r"clip_10\.parquet has the columns .* but the tables before it|clip_2\.csv has",
        ),
        (text("dx,dy\n" + "1,left\n" * 11), r"clip_2\.csv: column 'dy' holds something other than numbers"),
        (text("dx,dy\n" + "1,\n" * 11), "column 'action', row 0, dy is nan"),
        (text("reward,dx\n" + "1,2\n" * 11), r"clip_2\.csv: is the column 'reward' an action\?"),
        (text("action.x,y\n" + "1,2\n" * 11), r"clip_2\.csv: is the column 'y' an action\?"),
        (text(""), r"clip_2\.csv cannot be read"),
        (lambda f: (f / "clip_3.csv").write_text("dx,dy\n1,2\n"), r"clip_3\.csv has no video of the same name"),
        (lambda f: (f / "clip_10.csv").write_text("dx,dy\n1,2\n"), "belong to the same video"),
        (lambda f: (f / "clip_2.mp4").write_bytes(b"no video"), r"clip_2\.mp4 is truncated or not a video"),
        (lambda f: write_video(f / "clip_2.mp4", shades(11, 32, 32), 12), r"a dataset needs one size"),
        (lambda f: write_video(f / "clip_2.mp4", shades(11), 30), r"frames per second, the videos before it"),
    ],
)
def test_folders_that_do_not_fit(videos: Path, tmp_path: Path, spoil: Callable[[Path], object], message: str) -> None:
    spoil(videos)
    with pytest.raises(ForeactError, match=message):
        run(videos, tmp_path / "out")


def test_an_interrupted_import_goes_on(videos: Path, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    whole = run(videos, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        import_recordings(videos, tmp_path / "cut", on_progress=interrupt)
    calls: list[int] = []
    import_recordings(videos, tmp_path / "cut", on_progress=lambda done, total: calls.append(done))
    assert calls == [3]
    cut = LeRobotDataset(tmp_path / "cut")
    assert cut.episodes == whole.episodes
    for episode in range(3):
        assert np.array_equal(cut.column("action", episode), whole.column("action", episode), equal_nan=True)
        assert np.abs(cut.frames(episode).astype(int) - whole.frames(episode)).mean() < 2


# ManiSkill


def write_maniskill(folder: Path, *, lengths: dict[int, int] | None = None, **changes: Any) -> Path:
    """A recording whose action row t is [t, t + 0.5, t], with pictures unless `pictures` is False."""
    lengths = lengths or {2: 5, 10: 8}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "trajectory.rgb.pd_joint_pos.cpu.h5"
    with h5py.File(path, "w") as file:
        for number, steps in lengths.items():
            group = file.create_group(f"traj_{number}")
            t, f4 = np.arange(steps + 1, dtype=np.float32), {"dtype": "f4"}
            actions = np.stack([t, t + 0.5, t], 1)[: changes.get("action_rows", steps)]
            if changes.get("action_parts"):
                group.create_dataset("actions/gripper", data=actions[:, 2:], **f4)
                group.create_dataset("actions/arm", data=actions[:, :2], **f4)
            else:
                group.create_dataset("actions", data=actions, **f4)
            group.create_dataset("success", data=np.zeros(steps, bool))
            cube = np.zeros((steps + 1, 13), np.float32)
            cube[:, 0], cube[:, 3] = t / 10, 1
            group.create_dataset("env_states/actors/cube", data=cube)
            group.create_dataset("env_states/actors/goal", data=np.ones((steps + 1, 13), np.float32))
            if changes.get("second_object"):
                group.create_dataset("env_states/actors/tool", data=cube * 2)
            if changes.get("pictures", True):
                group.create_dataset("obs/agent/qpos", data=np.stack([t, -t], 1), **f4)
                group.create_dataset("obs/sensor_data/base/rgb", data=shades(steps + 1, first=number), compression=5)
                group.create_dataset("obs/sensor_data/hand/rgb", data=shades(steps + 1, 32, 32), compression=5)
            else:
                group.create_dataset("obs", data=np.stack([t, -t], 1), **f4)
    episodes = [{"episode_id": i, "episode_seed": i, "elapsed_steps": n, "success": n == 8} for i, n in lengths.items()]
    info = {"env_id": "PullCube-v1", "env_kwargs": {"robot_uids": "panda"}, "max_episode_steps": 50}
    path.with_suffix(".json").write_text(json.dumps({"env_info": info, "episodes": episodes}))
    return folder


@pytest.mark.parametrize("action_parts", [False, True])
def test_maniskill(tmp_path: Path, action_parts: bool) -> None:
    write_maniskill(tmp_path / "demos/PullCube-v1", action_parts=action_parts)
    dataset = run(tmp_path / "demos", tmp_path / "out")
    assert [(e.length, e.task) for e in dataset.episodes] == [(6, "PullCube-v1"), (9, "PullCube-v1")]
    assert (dataset.fps, dataset.robot_type) == (20, "panda")
    assert dataset.cameras == ("observation.images.base", "observation.images.hand")
    assert dataset.actions(0).tolist() == [[t, t + 0.5, t] for t in (0, 1, 2, 3, 4, 4)]
    assert dataset.column("observation.state", 1).tolist() == [[t, -t] for t in range(9)]
    assert dataset.names_of("observation.object_pose") == ("x", "y", "z", "qw", "qx", "qy", "qz")
    assert np.allclose(dataset.column("observation.object_pose", 1)[:, 0], np.arange(9) / 10)
    assert np.allclose(shade_of(dataset.frames(1)), [10 + 5 * t for t in range(9)], atol=2)
    assert dataset.frames(0, camera="hand").shape == (6, 32, 32, 3)


def test_maniskill_takes_the_order_of_the_json(tmp_path: Path) -> None:
    source = write_maniskill(tmp_path / "demos", lengths={10: 3, 2: 4, 1: 5})
    assert [e.length for e in run(source, tmp_path / "out").episodes] == [4, 5, 6]


def test_maniskill_one_camera_and_a_single_file(tmp_path: Path) -> None:
    source = write_maniskill(tmp_path / "demos")
    dataset = run(next(source.glob("*.h5")), tmp_path / "out", camera="hand", task="pull", fps=10)
    assert (dataset.cameras, dataset.fps) == (("observation.images.hand",), 10)
    assert dataset.episodes[0].task == "pull"


def test_maniskill_with_two_moving_objects_needs_a_choice(tmp_path: Path) -> None:
    source = write_maniskill(tmp_path / "demos", second_object=True)
    with pytest.raises(ForeactError, match=r"several objects move \(cube, tool\): choose one"):
        run(source, tmp_path / "out")
    dataset = run(source, tmp_path / "out", actor="tool")
    assert dataset.column("observation.object_pose", 0)[5, 0] == 1


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"pictures": False}, {}, r"traj_2 holds states only .* replay it with pictures"),
        ({"action_rows": 3}, {}, r"traj_2: 3 rows of actions for 6 frames"),
        ({}, {"camera": "wrist"}, r"no camera 'wrist'; it has \['base', 'hand'\]"),
        ({}, {"actor": "ball"}, r"no actor 'ball'; it has \['cube', 'goal'\]"),
        ({}, {"actions": "joints"}, "the option 'actions' means nothing"),
    ],
)
def test_maniskill_errors(tmp_path: Path, changes: dict[str, Any], options: dict[str, Any], message: str) -> None:
    source = write_maniskill(tmp_path / "demos", **changes)
    with pytest.raises(ForeactError, match=message):
        run(source, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_maniskill_damaged_files(tmp_path: Path) -> None:
    source = write_maniskill(tmp_path / "demos")
    path = next(source.glob("*.h5"))
    with h5py.File(path, "a") as file:
        del file["traj_10"]
    with pytest.raises(ForeactError, match="traj_10 is missing, though the JSON file lists it"):
        run(source, tmp_path / "out")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ForeactError, match="truncated or not an HDF5 file"):
        run(source, tmp_path / "out")
    path.with_suffix(".json").write_text("{}")
    with pytest.raises(ForeactError, match="not the JSON file of a ManiSkill recording"):
        run(source, tmp_path / "out")


# Interactive World Sim


def write_iws(folder: Path, number: int, length: int, *, arms: int = 2, drop: str | None = None) -> Path:
    """A real episode: hand r is at x = t + 10 r in its base's frame, which is turned by 90 degrees and moved."""
    folder.mkdir(parents=True, exist_ok=True)
    path, t = folder / f"episode_{number}.hdf5", np.arange(length, dtype=np.float32)
    hands = np.zeros((length, arms, 7), np.float32)
    hands[..., 0], hands[..., 6] = t[:, None] + 10 * np.arange(arms), 0.5
    base = np.array([[0, -1, 0, 100], [1, 0, 0, 0], [0, 0, 1, 2], [0, 0, 0, 1]], np.float32)
    with h5py.File(path, "w") as file:
        file.attrs["sim"] = True
        file.create_dataset("action", data=np.stack([t, t + 0.25], 1))
        file.create_dataset("timestamp", data=1.7e9 + np.arange(length) / 10, dtype="f8")
        file.create_dataset("obs/joint_pos", data=np.repeat(t[:, None], 7 * arms, 1))
        file.create_dataset("obs/ee_pos", data=hands.reshape(length, -1))
        file.create_dataset("obs/world_t_robot_base", data=np.broadcast_to(base, (length, arms, 4, 4)))
        file.create_dataset("obs/images/camera_0_color", data=shades(length, first=number))
        file.create_dataset("obs/images/camera_1_color", data=shades(length))
        file.create_dataset("obs/images/camera_0_depth", data=np.zeros((length, 48, 64), "u2"))
        file.create_dataset("obs/images/camera_0_intrinsics", data=np.zeros((length, 3, 3), "f4"))
        if drop:
            del file[drop]
    return path


@pytest.fixture
def iws(tmp_path: Path) -> Path:
    for number, length in ((0, 12), (1, 7), (10, 5)):
        write_iws(tmp_path / "pusht/train", number, length)
    return tmp_path / "pusht/train"


def test_iws_rows_lead_to_the_next_frame(iws: Path, tmp_path: Path) -> None:
    dataset = run(iws, tmp_path / "out")
    assert [e.length for e in dataset.episodes] == [12, 7, 5]
    assert (dataset.fps, dataset.robot_type) == (10, "aloha")
    assert dataset.cameras == ("observation.images.camera_0", "observation.images.camera_1")
    assert dataset.names_of("action")[:5] == ("right_x", "right_y", "right_z", "right_gripper", "left_x")
    expected = [[100, t, 2, 0.5, 100, t + 10, 2, 0.5] for t in (*range(1, 7), 6)]
    assert dataset.actions(1).tolist() == expected
    assert dataset.column("observation.state", 1)[:, 3].tolist() == list(range(7))
    assert np.allclose(shade_of(dataset.frames(2)), [10 + 5 * t for t in range(5)], atol=2)


def test_iws_other_actions(iws: Path, tmp_path: Path) -> None:
    joints = run(iws, tmp_path / "joints", actions="joints", camera="camera_1")
    assert joints.cameras == ("observation.images.camera_1",)
    assert joints.actions(2).tolist() == [[t] * 14 for t in (1, 2, 3, 4, 4)]
    commanded = run(iws, tmp_path / "commanded", actions="commanded", height=24)
    assert commanded.actions(2).tolist() == [[t, t + 0.25] for t in range(5)]
    assert commanded.frames(2).shape == (5, 24, 32, 3)


def test_iws_single_arm(tmp_path: Path) -> None:
    write_iws(tmp_path / "grasp", 3, 5, arms=1)
    dataset = run(tmp_path / "grasp", tmp_path / "out")
    assert dataset.names_of("action") == ("x", "y", "z", "gripper")
    assert dataset.names_of("observation.state")[-1] == "joint_6"


def test_iws_simulated(tmp_path: Path) -> None:
    (tmp_path / "mujoco").mkdir()
    t = np.arange(5, dtype=np.float32)
    hands = np.zeros((5, 2, 4, 4), np.float32)
    hands[:, 0, 0, 3], hands[:, 1, 1, 3] = t, 10 + t
    with h5py.File(tmp_path / "mujoco/episode_0.hdf5", "w") as file:
        file.create_dataset("robot_bases", data=np.zeros((5, 2, 4, 4), "f4"))
        file.create_dataset("env_state", data=np.repeat(t[:, None], 7, 1))
        file.create_dataset("obs/joint_pos", data=np.zeros((5, 14), "f4"))
        file.create_dataset("obs/ee_pos", data=hands)
        file.create_dataset("obs/images/top_pov", data=shades(5, 32, 32))
        file.create_dataset("action", data=np.zeros((5, 4), "f4"))
    dataset = run(tmp_path / "mujoco", tmp_path / "out")
    assert dataset.camera == "observation.images.top_pov"
    assert dataset.names_of("action") == ("left_x", "left_y", "right_x", "right_y")
    assert dataset.actions(0).tolist() == [[t, 0, 0, 10 + t] for t in (1, 2, 3, 4, 4)]
    assert dataset.column("observation.object_pose", 0)[:, 0].tolist() == [0, 1, 2, 3, 4]


def test_iws_errors(iws: Path, tmp_path: Path) -> None:
    with pytest.raises(ForeactError, match=r"import its folders train and val one by one"):
        run(iws.parent, tmp_path / "out")
    with pytest.raises(ForeactError, match="actions must be one of reached, joints, commanded"):
        run(iws, tmp_path / "out", actions="wished")
    write_iws(iws, 1, 7, drop="obs/ee_pos")
    with pytest.raises(ForeactError, match=r"episode_1\.hdf5: obs/ee_pos is missing"):
        run(iws, tmp_path / "out")
    write_iws(iws, 1, 7, drop="obs/images/camera_1_color")
    with h5py.File(iws / "episode_1.hdf5", "a") as file:
        file["obs/images/camera_1_color"] = shades(6)
    with pytest.raises(ForeactError, match=r"episode_1\.hdf5 has arrays of different lengths: .*'camera_1': 6"):
        run(iws, tmp_path / "out")
    write_iws(iws, 1, 7)
    assert len(run(iws, tmp_path / "out").episodes) == 3


# What is common to all


def test_nothing_to_import_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no recordings")
    with pytest.raises(ForeactError, match=r"looked for videos .* ManiSkill's \.h5 .* episode_<number>\.hdf5"):
        run(tmp_path, tmp_path / "out")
    with pytest.raises(ForeactError, match="no such file or folder"):
        run(tmp_path / "nothing", tmp_path / "out")
    with pytest.raises(ForeactError, match="unknown format 'rosbag'"):
        run(tmp_path, tmp_path / "out", format="rosbag")
    with pytest.raises(ForeactError, match="holds no videos"):
        run(tmp_path, tmp_path / "out", format="folder")


def test_several_formats_and_finished_datasets(videos: Path, tiny_dataset: Path, tmp_path: Path) -> None:
    write_maniskill(videos)
    with pytest.raises(ForeactError, match=r"several formats \(maniskill, folder\)"):
        run(videos, tmp_path / "out")
    assert len(run(videos, tmp_path / "out", format="folder").episodes) == 3
    with pytest.raises(ForeactError, match="is a LeRobot dataset already"):
        run(tiny_dataset, tmp_path / "other")


def test_without_h5py(iws: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "h5py":
            raise ImportError(name)
        return whole(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ForeactError, match=r"pip install 'foreact\[import\]'"):
        run(iws, tmp_path / "out")
