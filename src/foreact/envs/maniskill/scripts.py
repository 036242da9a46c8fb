"""State-based policies of our own for the tasks: pull, poke, roll and push.

They see poses, never pictures, and are there to make varied recordings with successes and failures. Metres, metres a frame.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from foreact.envs.maniskill.contract import Array, Script, Snapshot
from foreact.envs.maniskill.hand import Hand, unit
from foreact.envs.maniskill.play import play
from foreact.envs.maniskill.robots import STICK_RADIUS
from foreact.envs.pusher import Manners, ScriptedPusher

Policy = Callable[[np.random.Generator, Snapshot], Script]

CUBE = 0.02  # half the side of ManiSkill's cubes
BALL = 0.035  # radius of its ball
PEG = 0.12  # half the length of its peg
FINGER = 0.015  # half the thickness of closed fingers
LOW = 0.03  # height of the hand when it pushes
CLEAR = 0.1  # above the cube and the ball

WINDOW = 600.0  # pixels of gym-pusht's window to a metre: at this scale its T is ManiSkill's
WINDOW_CENTRE = np.array([0.0, 0.0])  # where the middle of that window lies on the table
MANNERS: Manners = (("solve", 0.9), ("push", 0.05), ("play", 0.05))  # of pushing the T
TEE_EDGE = np.array([0.0, -0.0625])  # the middle of the bar's outer edge, in ManiSkill's frame of the T


def pull(rng: np.random.Generator, first: Snapshot) -> Script:
    """Reach behind the cube and pull it onto the target."""
    hand = Hand(first)
    way = unit(hand.goal() - hand.spot("cube"))
    behind = hand.spot("cube") - way * (CUBE + FINGER + rng.uniform(0.015, 0.03))
    yield from hand.over(behind)
    yield from hand.to(behind, LOW)
    yield from hand.to(hand.goal() - way * rng.uniform(0.0, 0.06), LOW, speed=rng.uniform(0.008, 0.018))
    yield from hand.to(hand.position[:2] - way * 0.03, CLEAR)


def poke(rng: np.random.Generator, first: Snapshot) -> Script:
    """Grasp the peg, line it up with the cube and poke the cube onto the target."""
    hand = Hand(first, opening=1.0)
    grasp = hand.spot("peg") - np.array([rng.uniform(0.04, 0.08), 0.0])
    yield from hand.over(grasp)
    yield from hand.to(grasp, LOW, speed=0.02)
    yield from hand.grip(0.0)
    ahead = hand.spot("peg")[0] + PEG - hand.position[0]  # from the hand to the peg's head
    before = hand.spot("cube") - np.array([CUBE + rng.uniform(0.015, 0.03) + ahead, 0.0])
    yield from hand.to(before, LOW + 0.005, speed=0.012)
    end = hand.goal() - np.array([CUBE + ahead, 0.0]) + rng.normal(0.0, 0.01, 2) * np.array([1.0, 0.0])
    yield from hand.to(np.array([end[0], hand.spot("cube")[1]]), LOW + 0.005, speed=rng.uniform(0.006, 0.014))


def roll(rng: np.random.Generator, first: Snapshot) -> Script:
    """Hit the ball so that it rolls over the target."""
    hand = Hand(first)
    way = unit(hand.goal() - hand.spot("ball"))
    behind = hand.spot("ball") - way * (BALL + FINGER + rng.uniform(0.04, 0.06))
    yield from hand.over(behind)
    yield from hand.to(behind, BALL)
    way = unit(hand.goal() - hand.spot("ball"))
    yield from hand.to(hand.spot("ball") + way * rng.uniform(0.02, 0.06), BALL, speed=rng.uniform(0.015, 0.035))
    yield from hand.to(hand.position[:2] - way * 0.05, CLEAR)
    yield from hand.wait(50)


def push_tee(rng: np.random.Generator, first: Snapshot, *, manners: Manners = MANNERS) -> Script:
    """Push the T onto the target, sometimes elsewhere: gym-pusht's scripted pusher at ManiSkill's scale, two frames a step."""
    hand = Hand(first)
    assert first.goal is not None, "Push-T has a goal"
    agent, goal = to_window(hand.position[:2]), tee_in_window(first.goal)
    pusher = ScriptedPusher(rng, agent, goal, radius=STICK_RADIUS * WINDOW, manners=manners)
    yield from hand.to(hand.position[:2], LOW, speed=0.02)
    while True:
        target = pusher.act(to_window(hand.seen.tool[:2]), tee_in_window(hand.seen.objects["tee"]))
        start, end = hand.position[:2], target / WINDOW - 256.0 / WINDOW + WINDOW_CENTRE
        for part in (0.5, 1.0):
            hand.position = np.append(start + (end - start) * part, LOW)
            yield from hand.wait(1)


def to_window(place: Array) -> Array:
    """A place (2,) on the table in gym-pusht's window."""
    return (place - WINDOW_CENTRE) * WINDOW + 256.0


def tee_in_window(pose: Array) -> Array:
    """ManiSkill's pose (7,) of the T as gym-pusht's (x, y, angle)."""
    angle = 2.0 * np.arctan2(pose[6], pose[3])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.append(to_window(pose[:2] + turn @ TEE_EDGE), angle)


POLICIES: dict[str, Policy] = {"PullCube": pull, "PokeCube": poke, "RollBall": roll, "PushT": push_tee, "Play": play}
"""Task -> script. PullCubeTool has none: only ManiSkill's own planner does it."""
EXPERTS = POLICIES | {"PushT": partial(push_tee, manners=(("solve", 1.0),))}
"""Task -> script that always has the task's aim."""
PLAYERS: dict[str, Policy] = {"PushT": partial(push_tee, manners=(("push", 0.5), ("play", 0.5)))}
"""Task -> script without an aim, where `play` does not suit its things."""
