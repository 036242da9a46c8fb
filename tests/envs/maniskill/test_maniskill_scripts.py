"""The scripted hands: they do their tasks, stay within reach, and play keeps things on the table."""

import numpy as np
import pytest
from fake_table import FakeTable

from foreact.envs.block import centre_of, distance_to_block
from foreact.envs.maniskill import play, scripts
from foreact.envs.maniskill.contract import Snapshot
from foreact.envs.maniskill.hand import Hand, nearest_turn
from foreact.envs.maniskill.robots import BASE, ROBOTS


def drive(table, frames, seed):
    """Snapshots of an exact arm that follows the task's script."""
    rng = np.random.default_rng(seed)
    seen = [table.reset(seed)]
    script = scripts.POLICIES[table.task.name](rng, seen[0])
    command = next(script)
    for _ in range(frames):
        seen.append(table.step(table.reach(command)))
        try:
            command = script.send(seen[-1])
        except StopIteration:
            break
    return seen


@pytest.mark.parametrize(
    ("task", "robot"), [("PullCube", "xarm6_robotiq"), ("PokeCube", "panda"), ("RollBall", "ur_10e")]
)
def test_an_exact_arm_succeeds(task, robot):
    table = FakeTable(task, robot)
    done = [any(s.success for s in drive(table, table.task.max_frames, seed)) for seed in range(12)]
    assert np.mean(done) > 0.8


def test_the_tee_is_pushed_about():
    table = FakeTable("PushT", "ur_10e")
    ways = []
    for seed in range(6):
        places = np.array([s.objects["tee"][:2] for s in drive(table, 200, seed)])
        ways.append(np.linalg.norm(np.diff(places, axis=0), axis=1).sum())
    assert np.median(ways) > 0.05


def test_a_command_asks_for_no_leap():
    """At most 3.2 cm a frame where hands travel; the T's pusher, which plans for ten frames a second, at most 6."""
    for task, robot, longest in (("PullCube", "ur_10e", 0.032), ("PokeCube", "panda", 0.032), ("Play", "panda", 0.032)):
        table = FakeTable(task, robot)
        drive(table, 120, 3)
        places = np.array([command.position for command in table.commands])
        assert np.linalg.norm(np.diff(places, axis=0), axis=1).max() <= longest, task
        assert places[:, 2].min() > 0.01, task


def test_play_keeps_the_shapes_on_the_table_and_handles_several():
    table = FakeTable("Play", "panda")
    travelled = []
    for seed in range(8):
        seen = drive(table, 150, seed)
        tracks = np.array([[s.objects[name][:2] for name in sorted(s.objects)] for s in seen])
        travelled.append(np.linalg.norm(np.diff(tracks, axis=0), axis=-1).sum(0))
        assert all(play.on_table(place) for place in tracks[-1])
    assert (np.array(travelled).max(1) > 0.03).mean() > 0.5
    assert len(set(np.argmax(travelled, axis=1))) > 1


def test_places_of_play_are_within_every_arms_reach():
    rng = np.random.default_rng(0)
    for place in (play.sample_place(rng) for _ in range(200)):
        for robot in ROBOTS.values():
            np.testing.assert_allclose(robot.within_reach(np.append(place, 0.1)), np.append(place, 0.1))


@pytest.mark.parametrize("robot", ROBOTS.values(), ids=ROBOTS)
def test_far_places_are_brought_within_reach_in_the_same_direction(robot):
    far = robot.within_reach(np.array([3.0, 1.0, 0.2]))
    way = far[:2] - np.array(BASE[:2])
    assert np.linalg.norm(way) == pytest.approx(robot.reach[1])
    assert far[2] == 0.2
    assert np.arctan2(way[1], way[0]) == pytest.approx(np.arctan2(1.0, 3.0 - BASE[0]))


def test_the_tee_is_gym_pushts_at_another_scale():
    """ManiSkill's frame lies in the T's centre of mass; corners of its bar and stem lie on gym-pusht's outline."""
    turn = 0.7
    pose = np.array([0.1, -0.05, 0.02, np.cos(turn / 2), 0.0, 0.0, np.sin(turn / 2)])
    block = scripts.tee_in_window(pose)
    corners = np.array([[-0.1, -0.0625], [0.1, -0.0625], [-0.1, -0.0125], [-0.025, 0.1375], [0.025, 0.1375]])
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    there = np.array([scripts.to_window(pose[:2] + rotation @ corner) for corner in corners])
    np.testing.assert_allclose(distance_to_block(there, block), 0.0, atol=1e-6)
    outside = np.array([scripts.to_window(pose[:2] + rotation @ (corner * 1.1)) for corner in corners])
    assert (distance_to_block(outside, block) > 1.0).all()
    # gym-pusht puts the centre of gravity 45 pixels from the edge, ManiSkill 37.5
    assert np.linalg.norm(centre_of(block) - scripts.to_window(pose[:2])) == pytest.approx(7.5)


def test_hand_turns_the_short_way_and_keeps_its_fingers():
    assert nearest_turn(np.pi - 0.1) == pytest.approx(-0.1)
    first = Snapshot(joints=np.zeros(9), tool=np.zeros(7), objects={}, goal=None, success=False)
    hand = Hand(first, opening=1.0)
    commands = []
    motion = hand.to(np.array([0.1, 0.0]), 0.0, speed=0.03, yaw=np.pi - 0.1)
    command = next(motion)
    while True:
        commands.append(command)
        try:
            command = motion.send(first)
        except StopIteration:
            break
    assert len(commands) == 4
    assert [c.opening for c in commands] == [1.0] * 4
    assert commands[-1].yaw == pytest.approx(-0.1)
    np.testing.assert_allclose(commands[-1].position, [0.1, 0.0, 0.0])
