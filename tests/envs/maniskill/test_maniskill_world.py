"""ManiSkill's tasks as environments, with a fake table in the simulator's place: spaces, seeds, pictures, experts, refusals."""

from __future__ import annotations

import sys

import gymnasium
import numpy as np
import pytest
from fake_table import FakeTable
from gymnasium.utils.env_checker import check_env

from foreact.core.errors import ForeactError
from foreact.envs.env import RobotEnv
from foreact.envs.maniskill import scripts
from foreact.envs.maniskill.robots import ROBOTS
from foreact.envs.maniskill.world import CARD, PAPERS, ManiSkillWorld
from foreact.envs.pusher import ScriptedPusher
from foreact.envs.registry import find_env, gymnasium_id, make_env

CAMERA = "observation.images.front"


def table(task, **options):
    max_steps = options.pop("max_steps", None)
    world = ManiSkillWorld(task, 16, **options, make=FakeTable)
    return RobotEnv(world, max_steps=max_steps or world.spec.max_steps)


def run(env, policy, seed, steps=None):
    """States after each action, and the last info."""
    env.reset(seed=seed)
    policy.reset([seed])
    states = []
    for _ in range(steps or env.max_steps):
        _, done, cut, info = env.advance(policy.act({})[0])
        states.append(env.world.state())
        if done or cut:
            break
    return np.array(states), info


@pytest.mark.filterwarnings("ignore::UserWarning:gymnasium")  # actions are radians, not within -1 and 1
@pytest.mark.parametrize("task", PAPERS)
def test_gymnasium_accepts_every_task_with_the_papers_robot(task):
    env = table(task)
    robot = ROBOTS[PAPERS[task][0]]
    assert (env.world.spec.robot, env.world.spec.action) == (robot.name, robot.action_names)
    assert env.observation_space[CAMERA].shape == (16, 16, 3)
    assert env.observation_space["observation.state"].shape == (len(robot.joints),)
    assert env.metadata["render_fps"] == 20
    assert len(env.world.spec.phrasings) >= 2
    check_env(env, skip_render_check=True)
    assert gymnasium_id(f"maniskill/{task}") in gymnasium.registry


def test_another_robot_by_option_and_an_unfit_one_is_refused():
    assert table("PullCube", robot="ur_10e").action_space.shape == (6,)
    with pytest.raises(ForeactError, match="gripper"):
        table("PokeCube", robot="ur_10e")
    with pytest.raises(ForeactError, match="maniskill/PullCube"):
        make_env("maniskill/Play")


def test_pictures_are_drawn_only_when_someone_looks():
    env = table("RollBall")
    env.reset(seed=0)
    policy = CARD.policies["expert"](env.world)
    policy.reset([0])
    for _ in range(8):
        env.advance(policy.act({})[0])
    assert env.world._simulator.drawn == 1, "the look at the start"
    assert env.observe()[CAMERA][0, 0, 0] == 8
    env.step(policy.act({})[0])
    assert env.world._simulator.drawn == 3
    env.close()
    assert env.world._simulator.closed


@pytest.mark.parametrize("task", PAPERS)
def test_hidden_has_the_recorded_poses_and_those_of_all_things(task):
    env = table(task)
    env.reset(seed=1)
    hidden = env.world.hidden()
    assert {name: len(names) for name, names in CARD.hidden.items()} == {
        name: len(hidden[name]) for name in CARD.hidden
    }
    assert len(hidden) == 1 + len(env.world.now.objects)
    first = next(iter(env.world.now.objects.values()))
    np.testing.assert_array_equal(hidden["observation.object_pose"], first)


@pytest.mark.parametrize("task", ["PullCube", "PokeCube", "RollBall"])
def test_the_expert_does_the_task_and_its_episode_depends_on_the_seed_alone(task):
    env = table(task)
    expert = CARD.policies["expert"](env.world)
    first = {seed: run(env, expert, seed) for seed in range(6)}
    assert np.mean([info["success"] for _, info in first.values()]) > 0.8
    for seed in (3, 0):
        np.testing.assert_array_equal(run(env, expert, seed)[0], first[seed][0])


def test_planning_leaves_the_episode_at_its_start_and_the_arm_stays_where_the_plan_ends():
    env = table("PullCubeTool")
    before, _ = env.reset(seed=4)
    plan = FakeTable("PullCubeTool", "panda").plan(4)
    expert = CARD.policies["expert"](env.world)
    expert.reset([4])
    np.testing.assert_array_equal(env.observe()[CAMERA], before[CAMERA])
    np.testing.assert_array_equal(env.observe()["observation.state"], before["observation.state"])
    actions = [expert.act({}) for _ in range(len(plan) + 2)]
    assert {action.shape for action in actions} == {(1, 8)}
    np.testing.assert_array_equal(np.concatenate(actions), plan[[*range(len(plan)), -1, -1]])


@pytest.mark.parametrize("task", PAPERS)
def test_play_handles_the_tasks_things_without_end(task):
    env = table(task)
    states, _ = run(env, CARD.policies["play"](env.world), 0, 60)
    assert np.ptp(states, axis=0).max() > 0.05


@pytest.mark.parametrize(("policy", "manners"), [("expert", {"solve"}), ("play", {"push", "play"})])
def test_the_pusher_of_the_tee_keeps_to_its_manners(monkeypatch, policy, manners):
    made = []

    class Listening(ScriptedPusher):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            made.append(self.manner)

    monkeypatch.setattr(scripts, "ScriptedPusher", Listening)
    env = table("PushT")
    for seed in range(24):
        run(env, CARD.policies[policy](env.world), seed, 1)
    assert set(made) == manners


def test_without_maniskill_the_remedy_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("foreact.envs.maniskill.simulation")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sapien", None)
    assert find_env("maniskill/PushT")[1] == "PushT"
    with pytest.raises(ForeactError, match=r"requirements/maniskill\.txt"):
        make_env("maniskill/PullCube")
