"""The scripted pusher and its recordings: what is on disk is what the simulator did, whatever interrupted it."""

from __future__ import annotations

import multiprocessing
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreact.core.errors import ForeactError
from foreact.data.lerobot import LeRobotDataset
from foreact.data.writer import LeRobotWriter
from foreact.envs import block, pusher
from foreact.envs.pusht import recording as pusht
from foreact.envs.pusht.look import UNSEEN
from foreact.envs.pusht.recording import collect_pusht, make_pusht, record_episode

pytest.importorskip("gym_pusht")


@pytest.fixture(scope="module")
def env():
    return make_pusht(128)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    out = tmp_path_factory.mktemp("recording") / "pusht"
    collect_pusht(out, episodes=3, seed=5, image_size=64, max_steps=17)
    return out


def test_dataset_has_the_promised_columns(recording):
    data = LeRobotDataset(recording)
    assert (data.fps, data.cameras, data.image_shape, data.action_dim) == (10, (pusht.CAMERA,), (64, 64), 2)
    assert [episode.length for episode in data.episodes] == [17] * 3
    assert data.frames(1).shape == (17, 64, 64, 3)
    assert data.column("observation.state", 1).shape == (17, 2)
    assert data.column("observation.environment_state", 1).shape == (17, 3)
    actions = np.concatenate([data.actions(episode) for episode in range(3)])
    assert actions.min() >= pusher.ARENA[0]
    assert actions.max() <= pusher.ARENA[1]


def test_action_t_leads_frame_t_to_the_next(recording):
    """A NumPy twin of the simulator's controller, fed with the actions alone, walks through the recorded states."""
    data = LeRobotDataset(recording)
    for episode in range(3):
        states, actions = data.column("observation.state", episode), data.actions(episode)
        position, velocity = states[0].astype(float), np.zeros(2)
        for t in range(len(states) - 1):
            for _ in range(10):
                velocity += (100 * (actions[t] - position) - 20 * velocity) * 0.01
                position += velocity * 0.01
            np.testing.assert_allclose(position, states[t + 1], atol=0.01)


def test_frame_t_shows_state_t(env):
    frames, columns, _ = record_episode(env, np.random.default_rng((0, 1)), 30)
    blue = (frames[..., 2] > 200) & (frames[..., 0] < 120)
    for picture, agent in zip(blue, columns["observation.state"], strict=True):
        y, x = np.nonzero(picture)
        assert np.abs((np.array([x.mean(), y.mean()]) + 0.5) * 4 - agent).max() < 4


def test_block_moves_in_most_episodes_and_rests_in_some_windows():
    small = make_pusht(16)
    blocks = [
        record_episode(small, np.random.default_rng((1, i)), 70)[1]["observation.environment_state"] for i in range(24)
    ]
    assert min(map(len, blocks)) >= 41
    moved = [np.linalg.norm(b[:, :2] - b[0, :2], axis=1).max() > 5 for b in blocks]
    windows = np.concatenate([np.linalg.norm(b[10:, :2] - b[:-10, :2], axis=1) > 5 for b in blocks])
    assert np.mean(moved) > 0.8
    assert 0.35 < windows.mean() < 0.75


def test_the_pusher_that_solves_covers_the_goal():
    """Reward 1 is nineteen twentieths of the goal covered."""
    small, done = make_pusht(16), []
    for i in range(6):
        rng = np.random.default_rng((0, i))
        _, info = small.reset(options={"reset_to_state": pusht._initial_state(rng)})
        script = pusher.ScriptedPusher(rng, info["pos_agent"], info["goal_pose"], manners=(("solve", 1.0),))
        rewards = []
        for _ in range(300):
            _, reward, _, _, info = small.step(script.act(info["pos_agent"], info["block_pose"]))
            rewards.append(reward)
        done.append(max(rewards) == 1.0)
    assert np.mean(done) > 0.6


def test_interrupted_recording_resumes_to_the_same_dataset(recording, tmp_path):
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            collect_pusht(tmp_path / "b", episodes=3, seed=5, image_size=64, max_steps=17, on_progress=interrupt)
    seen = []
    collect_pusht(
        tmp_path / "b", episodes=3, seed=5, image_size=64, max_steps=17, on_progress=lambda *at: seen.append(at)
    )
    assert seen == [(3, 3)]
    assert LeRobotDataset(tmp_path / "b").fingerprint() == LeRobotDataset(recording).fingerprint()


@pytest.mark.slow
def test_recording_does_not_depend_on_the_number_of_workers(recording, tmp_path):
    def interrupt(done: int, total: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    wanted = {"episodes": 3, "seed": 5, "image_size": 64, "max_steps": 17, "workers": 2}
    with pytest.raises(KeyboardInterrupt):
        collect_pusht(tmp_path / "b", **wanted, on_progress=interrupt)
    assert not multiprocessing.active_children()
    collect_pusht(tmp_path / "b", **wanted)
    assert LeRobotDataset(tmp_path / "b").fingerprint() == LeRobotDataset(recording).fingerprint()


def test_finished_recording_is_left_alone(recording):
    def refuse(done: int, total: int) -> None:
        raise AssertionError("recorded again")

    before = LeRobotDataset(recording).fingerprint()
    collect_pusht(recording, episodes=3, seed=5, image_size=64, max_steps=17, on_progress=refuse)
    assert LeRobotDataset(recording).fingerprint() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [({"seed": 6}, "another --out"), ({"image_size": 32}, "another --out"), ({"episodes": 4}, "3 episodes, not 4")],
)
def test_other_recording_is_refused(recording, change, message):
    wanted = {"episodes": 3, "seed": 5, "image_size": 64, "max_steps": 17, **change}
    with pytest.raises(ForeactError, match=message):
        collect_pusht(recording, **wanted)


def test_foreign_folder_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(ForeactError, match=str(tmp_path)):
        collect_pusht(tmp_path, episodes=1, seed=0, max_steps=4)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_fewer_episodes_than_recorded_are_refused(tmp_path):
    def stop_after_two(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect_pusht(tmp_path, episodes=3, seed=0, image_size=16, max_steps=4, on_progress=stop_after_two)
    with pytest.raises(ForeactError, match="2 episodes already"):
        collect_pusht(tmp_path, episodes=1, seed=0, image_size=16, max_steps=4)


@pytest.mark.parametrize("wrong", [{"episodes": 0}, {"max_steps": 1}, {"image_size": 8}])
def test_impossible_sizes_are_refused(tmp_path, wrong):
    with pytest.raises(ForeactError, match="cannot record"):
        collect_pusht(tmp_path / "out", **{"episodes": 1, "seed": 0, "max_steps": 4, **wrong})
    assert not (tmp_path / "out").exists()


def test_default_look_is_the_simulators_own_and_the_unseen_one_has_another_block():
    import pygame
    from gym_pusht.envs.pusht import PushTEnv

    start = {"reset_to_state": [100.0, 120.0, 300.0, 280.0, 1.0]}
    ours, theirs, other = make_pusht(96), PushTEnv(obs_type="pixels"), make_pusht(96, UNSEEN)
    for env in (ours, theirs, other):
        env.reset(options=start)
    windows = [pygame.surfarray.array3d(env._draw()) for env in (ours, theirs, other)]
    np.testing.assert_array_equal(windows[0], windows[1])
    assert (windows[2] != windows[0]).mean() > 0.9
    for step in range(20):
        action = np.array([100.0 + 20 * step, 120.0 + 15 * step])
        poses = [env.step(action)[4]["block_pose"] for env in (ours, theirs, other)]
        np.testing.assert_allclose(poses[0], poses[1])
    assert np.abs(poses[0][:2] - [300, 280]).max() > 50, "the block was not pushed"
    assert np.abs(poses[2] - poses[0]).max() > 0.1
    for u, v in ((100.0, 100.0), (300.0, 300.0)):
        true = min(max(shape.point_query((u, v)).distance, 0.0) for shape in other.block.shapes)
        near = block.distance_to_block(np.array([[u, v]]), poses[2], UNSEEN.boxes)[0]
        assert near == pytest.approx(true, abs=1e-3)


@settings(max_examples=30, deadline=None)
@given(x=st.floats(120, 390), y=st.floats(120, 390), angle=st.floats(-4, 4), u=st.floats(0, 512), v=st.floats(0, 512))
def test_geometry_agrees_with_the_simulator(env, x, y, angle, u, v):
    _, info = env.reset(options={"reset_to_state": [30.0, 30.0, x, y, angle]})
    pose = info["block_pose"]
    np.testing.assert_allclose(block.centre_of(pose), env.block.local_to_world(env.block.center_of_gravity), atol=1e-6)
    true = min(max(shape.point_query((u, v)).distance, 0.0) for shape in env.block.shapes)
    assert block.distance_to_block(np.array([[u, v]]), pose)[0] == pytest.approx(true, abs=1e-3)


def test_missing_extra_names_the_command(monkeypatch):
    monkeypatch.delitem(sys.modules, "foreact.envs.pusht.simulation")
    monkeypatch.setitem(sys.modules, "gym_pusht.envs.pusht", None)
    with pytest.raises(ForeactError, match=r"pip install 'foreact\[pusht\]'"):
        make_pusht(64)


@pytest.mark.filterwarnings("ignore:.*Overriding environment")
def test_opencv_without_its_system_library_names_the_command(monkeypatch, tmp_path):
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "foreact.envs.pusht.simulation")
    for name in [name for name in sys.modules if name.split(".")[0] in ("cv2", "gym_pusht")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ForeactError, match=r"libGL.*opencv-python-headless"):
        make_pusht(64)


def test_interrupted_recording_of_another_kind_is_refused(tmp_path):
    writer = LeRobotWriter(tmp_path, fps=20, cameras={"front": (16, 16)}, columns={"action": ("x",)})
    writer.add_episode({"front": np.zeros((3, 16, 16, 3), np.uint8)}, {"action": np.zeros((3, 1))}, "stand still")
    with pytest.raises(ForeactError, match="other settings"):
        collect_pusht(tmp_path, episodes=1, seed=0, max_steps=4)
