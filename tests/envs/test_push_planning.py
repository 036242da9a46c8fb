"""Planned pushes: the model obeys the symmetries of pushing, and a few pushes bring a block home from anywhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreact.envs.block import BLOCK_BOXES, distance_to_block, rotate
from foreact.envs.push_planning import PushPlanner
from foreact.envs.pusher import AGENT_RADIUS

ROOM = (22.0, 489.0)
CENTRE = np.array([0.0, (15 * 120 * 30 + 75 * 30 * 90) / (120 * 30 + 30 * 90)])  # of the T's area
POSES = st.tuples(st.floats(130, 380), st.floats(130, 380), st.floats(-np.pi, np.pi)).map(np.array)
WAYS = st.tuples(st.floats(-60, 60), st.floats(-60, 60)).map(np.array)


@pytest.fixture(scope="module")
def planner():
    return PushPlanner(BLOCK_BOXES, AGENT_RADIUS, ROOM, gap=20.0)


@given(pose=POSES, length=st.floats(1, 100), angle=st.floats(-np.pi, np.pi))
def test_a_push_through_the_centre_does_not_turn(planner, pose, length, angle):
    way = length * np.array([np.cos(angle), np.sin(angle)])
    spot = CENTRE - rotate(way, -pose[2]) / length * 20.0
    after = planner.pushed(pose, spot[None], way[None])[0]
    np.testing.assert_allclose(after, pose + np.append(way, 0.0), atol=1e-9)


@given(pose=POSES, way=WAYS, spot=st.sampled_from([[-50.0, 0.0], [50.0, 0.0], [15.0, 100.0], [0.0, 120.0]]))
def test_the_contact_goes_with_the_pusher(planner, pose, way, spot):
    spot = np.array(spot)
    after = planner.pushed(pose, spot[None], way[None])[0]
    before, then = (block[:2] + rotate(spot, block[2]) for block in (pose, after))
    np.testing.assert_allclose(then - before, way, atol=0.06 * np.linalg.norm(way) + 1e-9)  # the substeps' error


@given(pose=POSES, goal=POSES, turn=st.floats(-np.pi, np.pi))
def test_the_outcome_turns_with_the_table(planner, pose, goal, turn):
    spots, ways = np.array([[50.0, 0.0], [15.0, 100.0]]), np.array([[0.0, 30.0], [-40.0, 10.0]])

    def turned(poses):
        return np.concatenate([rotate(poses[..., :2] - 256, turn) + 256, poses[..., 2:] + turn], axis=-1)

    np.testing.assert_allclose(
        planner.pushed(turned(pose), spots, rotate(ways, turn)), turned(planner.pushed(pose, spots, ways)), atol=1e-6
    )


@given(pose=POSES, goal=POSES)
def test_a_planned_push_begins_outside_touches_and_stays_in_the_room(planner, pose, goal):
    push = planner.best(pose, goal)
    way = np.array([push.touch - 20.0 * push.direction, push.touch, push.touch + push.length * push.direction])
    assert way.min() >= ROOM[0]
    assert way.max() <= ROOM[1]
    assert np.linalg.norm(push.direction) == pytest.approx(1.0)
    gaps = distance_to_block(way[:2], pose, BLOCK_BOXES)
    assert gaps[1] == pytest.approx(AGENT_RADIUS, abs=0.2)
    assert gaps[0] > AGENT_RADIUS


def test_a_few_imprecise_pushes_bring_the_block_home(planner):
    rng = np.random.default_rng(0)
    goal, pushes = np.array([256.0, 256.0, np.pi / 4]), []
    for _ in range(30):
        block, count = np.append(rng.uniform(130, 380, 2), rng.uniform(-np.pi, np.pi)), 0
        while off(block, goal) > 4.0 and count < 10:
            push = planner.best(block, goal)
            spot = rotate(push.touch + AGENT_RADIUS * push.direction - block[:2], -block[2]) + rng.normal(0, 2, 2)
            way = push.length * push.direction * np.exp(rng.normal(0.0, 0.05))
            block, count = planner.pushed(block, spot[None], way[None])[0], count + 1
        pushes.append(count)
    assert max(pushes) < 10
    assert np.median(pushes) <= 4


def off(block, goal):
    """How far the ends of the bar and of the stem are from their places, on average."""
    ends = np.array([[-60.0, 0.0], [60.0, 0.0], [0.0, 120.0]])
    places = [pose[:2] + rotate(ends, np.full(3, pose[2])) for pose in (block, goal)]
    return np.linalg.norm(places[0] - places[1], axis=1).mean()
