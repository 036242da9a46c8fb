"""Recordings of ManiSkill's tasks, with a fake table in its place: what is kept, resume, unseen pushes, refusals."""

import io
import sys
import types

import numpy as np
import pytest
from fake_table import SWAP, FakeTable
from rich.console import Console

import foreact.envs.maniskill
from foreact.cli import main
from foreact.core.errors import ForeactError
from foreact.data.inspect import inspect_dataset, render_inspection
from foreact.data.lerobot import LeRobotDataset
from foreact.data.movement import object_positions
from foreact.envs.maniskill import episode as episodes_room
from foreact.envs.maniskill.collect import CAMERA, collect_maniskill, make_maniskill
from foreact.envs.maniskill.episode import record_episode, unseen_pushes
from foreact.envs.maniskill.robots import ROBOTS
from foreact.envs.maniskill.tasks import TASKS, choose
from foreact.evaluation.poses import find_poses

POKE = {"task": "PokeCube", "robot": "xarm6_robotiq", "episodes": 3, "seed": 5, "image_size": 16, "make": FakeTable}


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    out = tmp_path_factory.mktemp("recording") / "poke"
    collect_maniskill(out, **POKE, uncertain=True)
    return out


def record(task, robot, seed, **options):
    return record_episode(FakeTable(task, robot), *choose(task, robot), np.random.default_rng(seed), **options)


def test_dataset_has_the_promised_columns(recording):
    data = LeRobotDataset(recording)
    assert (data.fps, data.cameras, data.image_shape, data.action_dim) == (20, (CAMERA,), (16, 16), 7)
    assert data.robot_type == "xarm6_robotiq"
    assert data.features["action"]["names"][-1] == "gripper"
    dims = {"observation.state": 12, "observation.object_pose": 7, "observation.tcp_pose": 7, "hidden.push": 2}
    for episode in range(3):
        assert 45 <= data.episodes[episode].length <= TASKS["PokeCube"].max_frames
        assert data.episodes[episode].task == TASKS["PokeCube"].text
        for column, width in dims.items():
            assert data.column(column, episode).shape == (data.episodes[episode].length, width)
        assert set(np.unique(data.column("next.success", episode))) <= {0.0, 1.0}


def test_inspect_counts_successes(recording, two_camera_dataset):
    data = LeRobotDataset(recording)
    done = sum(data.column("next.success", episode).any() for episode in range(3))
    inspection = inspect_dataset(data)
    assert inspection.successes == done
    console = Console(record=True, width=120, file=io.StringIO())
    console.print(render_inspection(inspection))
    assert f"{done} of 3 episodes" in console.export_text()
    assert inspect_dataset(LeRobotDataset(two_camera_dataset)).successes is None


def test_movement_and_probes_find_the_poses(recording):
    data = LeRobotDataset(recording)
    assert object_positions(data, 0).shape == (data.episodes[0].length, 3)
    block, turn, hand = find_poses(data)
    assert [target.metric for target in (block, turn, hand)] == ["block_error_px", "block_error_deg", "agent_error_px"]
    for target, column in ((block, "observation.object_pose"), (hand, "observation.tcp_pose")):
        pixels, places = target.poses(data, 0), data.column(column, 0)[:, :3]
        assert pixels.shape == (len(places), 2)
        left, right = (
            np.argmin(places[:, 1]),
            np.argmax(places[:, 1]),
        )  # the camera looks towards the arm, its y to the right
        assert pixels[left, 0] <= pixels[right, 0]
    assert np.ptp(hand.poses(data, 0)[:, 0]) > 0.5


def test_row_t_is_what_frame_t_shows_and_action_t_leads_to_the_next():
    frames, columns, _ = record("PullCube", "ur_10e", 1)
    assert [frame[0, 0, 0] for frame in frames] == list(range(len(frames)))
    np.testing.assert_allclose(columns["observation.tcp_pose"][1:, :3], columns["action"][:-1, SWAP], atol=1e-6)
    first = int(np.argmax(columns["next.success"][:, 0]))
    places = columns["observation.object_pose"]
    assert first > 0
    goal = FakeTable("PullCube", "ur_10e")
    goal.reset(int(np.random.default_rng(1).integers(2**31, size=2)[0]))
    inside = np.linalg.norm(places[:, :2] - goal.goal, axis=1) < 0.1
    assert inside[first + 1]
    assert not inside[first]
    assert len(frames) == max(first + 1 + episodes_room.LINGER, episodes_room.SHORTEST)


def test_planned_actions_are_followed_up_to_the_arms_imprecision():
    table = FakeTable("PullCubeTool", "panda")
    _, columns, _ = record("PullCubeTool", "panda", 4)
    plan = table.plan(int(np.random.default_rng(4).integers(2**31, size=2)[0]))
    wrong = columns["action"][: len(plan)] - plan
    assert np.abs(wrong[:, 0] - wrong[:, 0].mean()).max() < 5 * episodes_room.JITTER
    assert 0 < np.abs(wrong[:, 1:7]).max() < 5 * episodes_room.JITTER
    np.testing.assert_array_equal(wrong[:, 7], 0.0)
    assert len(columns["action"]) == episodes_room.SHORTEST, "after the plan it stays a moment"


def test_some_episodes_fail_and_some_succeed():
    done = [record("PullCube", "xarm6_robotiq", seed)[1]["next.success"].any() for seed in range(40)]
    assert 0.4 < np.mean(done) < 0.98


def test_play_keeps_the_pose_of_what_moved_most():
    _, columns, _ = record("Play", "panda", 2)
    assert len(columns["action"]) == TASKS["Play"].max_frames
    assert not columns["next.success"].any()
    assert np.linalg.norm(np.diff(columns["observation.object_pose"][:, :3], axis=0), axis=1).sum() > 0.01


def test_unseen_pushes_come_at_random_times_in_all_directions():
    pushes = unseen_pushes(np.random.default_rng(0), (0.6, 1.0))
    drawn = np.array([next(pushes) for _ in range(6000)])
    when = np.flatnonzero(drawn.any(axis=1))
    gaps = np.diff(when)
    assert gaps.min() >= episodes_room.SHOVES[0]
    assert gaps.max() <= episodes_room.SHOVES[1]
    assert len(np.unique(gaps)) > 20
    speeds = np.linalg.norm(drawn[when], axis=1)
    assert speeds.min() >= 0.6
    assert speeds.max() <= 1.0
    assert np.abs((drawn[when] / speeds[:, None]).mean(axis=0)).max() < 0.25


def test_the_uncertain_twin_has_the_same_actions_and_is_the_same_until_the_first_push():
    table = FakeTable("PokeCube", "panda")
    task, robot = choose("PokeCube", "panda")
    _, sure, _ = record_episode(table, task, robot, np.random.default_rng(7))
    _, unsure, _ = record_episode(table, task, robot, np.random.default_rng(7), uncertain=True)
    pushed = np.flatnonzero(unsure["hidden.push"].any(axis=1))
    assert "hidden.push" not in sure
    assert [name for name, _ in table.shoved] == ["cube"] * len(pushed)
    np.testing.assert_allclose([v for _, v in table.shoved], unsure["hidden.push"][pushed], rtol=1e-6)
    t = int(pushed[0])
    np.testing.assert_array_equal(sure["action"], unsure["action"])
    assert not np.allclose(sure["observation.object_pose"], unsure["observation.object_pose"])
    for key in sure:
        if key != "next.success":
            np.testing.assert_array_equal(sure[key][: t + 1], unsure[key][: t + 1])
    moved = unsure["observation.object_pose"][t + 1, :2] - unsure["observation.object_pose"][t, :2]
    assert moved @ unsure["hidden.push"][t] > 0


def test_interrupted_recording_resumes_to_the_same_dataset(recording, tmp_path):
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            collect_maniskill(tmp_path / "b", **POKE, uncertain=True, on_progress=interrupt)
    collect_maniskill(tmp_path / "b", **POKE, uncertain=True)
    assert LeRobotDataset(tmp_path / "b").fingerprint() == LeRobotDataset(recording).fingerprint()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"uncertain": False}, "another --out"),
        ({"task": "Play"}, "another --out"),
        ({"robot": "panda"}, "another --out"),
        ({"episodes": 4}, "3 episodes, not 4"),
        ({"episodes": 0}, "cannot record"),
        ({"image_size": 8}, "cannot record"),
        ({"task": "FoldTowel"}, "no task 'FoldTowel'"),
        ({"robot": "ur_10e"}, "gripper: take panda or xarm6_robotiq"),
        ({"task": "PullCubeTool"}, "motion planner"),
    ],
)
def test_other_recordings_and_impossible_ones_are_refused(recording, change, message):
    with pytest.raises(ForeactError, match=message):
        collect_maniskill(recording, **{**POKE, "uncertain": True, **change})


def test_every_pair_is_recorded_or_refused():
    recorded = 0
    for task in TASKS:
        for robot in ROBOTS:
            if robot in TASKS[task].robots:
                _, columns, _ = record(task, robot, 0, uncertain=True)
                assert columns["action"].shape[1] == len(ROBOTS[robot].action_names)
                assert len(columns["observation.state"][0]) == len(ROBOTS[robot].joints)
                recorded += 1
            else:
                with pytest.raises(ForeactError, match=robot):
                    choose(task, robot)
    assert recorded == 13


def error_of(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["collect", *arguments])
    assert ended.value.code == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_without_maniskill_one_line_names_the_recipe(monkeypatch, capsys, tmp_path):
    for name in [name for name in sys.modules if name.startswith("foreact.envs.maniskill.simulation")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mani_skill", None)
    monkeypatch.setitem(sys.modules, "sapien", None)
    with pytest.raises(ForeactError, match=r"requirements/maniskill\.txt"):
        make_maniskill("PullCube", "panda", 64)
    wanted = ["maniskill", "--task", "PullCube", "--robot", "panda", "--out", str(tmp_path / "out"), "--workers", "1"]
    assert "requirements/maniskill.txt" in error_of(capsys, *wanted)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "said", ["vk::createInstanceUnique: ErrorIncompatibleDriver", 'Failed to find a supported physical device "cpu"']
)
def test_without_vulkan_one_line_says_which_driver(monkeypatch, capsys, tmp_path, said):
    def no_driver(*arguments):
        raise RuntimeError(said)

    def unexpected(*arguments):
        raise RuntimeError("something else")

    world = types.SimpleNamespace(ManiSkill=no_driver, require_assets=lambda robot: None)
    monkeypatch.setitem(sys.modules, "foreact.envs.maniskill.simulation", world)
    monkeypatch.setattr(foreact.envs.maniskill, "simulation", world, raising=False)
    wanted = ["maniskill", "--task", "PullCube", "--robot", "panda", "--out", str(tmp_path / "out"), "--workers", "1"]
    assert "mesa-vulkan-drivers" in error_of(capsys, *wanted)
    assert not (tmp_path / "out").exists()
    world.ManiSkill = unexpected
    with pytest.raises(RuntimeError, match="something else"):
        make_maniskill("PullCube", "panda", 64)


def test_options_of_the_other_simulator_are_refused(capsys, tmp_path):
    out = ["--out", str(tmp_path / "out")]
    assert "--task" in error_of(capsys, "pusht", *out, "--task", "Play")
    assert "--uncertain" in error_of(capsys, "pusht", *out, "--uncertain")
    assert "--look" in error_of(capsys, "maniskill", *out, "--look", "unseen")
    assert "--max-steps" in error_of(capsys, "maniskill", *out, "--max-steps", "60")
    assert "needs --task and --robot" in error_of(capsys, "maniskill", *out, "--robot", "panda")
    assert "gripper" in error_of(capsys, "maniskill", *out, "--robot", "ur_10e", "--task", "PokeCube")
    assert not (tmp_path / "out").exists()
