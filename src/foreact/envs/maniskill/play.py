"""Task-agnostic play among primitive shapes: push one, wander, pick one up and put it elsewhere."""

from __future__ import annotations

import numpy as np

from foreact.envs.maniskill.contract import Array, Script, Snapshot
from foreact.envs.maniskill.hand import HIGH, Hand, Motion, unit
from foreact.envs.maniskill.robots import BASE

AREA = np.array([[-0.3, -0.28], [0.1, 0.28]])  # of the table, where shapes lie, metres
FEWEST, MOST = 5, 10  # shapes on the table
NEAR, FAR = 0.3, 0.6  # metres from the base at which every arm works with ease
_TOY = 0.6  # how often the hand comes back to the same shape
_GRASP = 0.02  # height of the hand when it grasps or pushes


def play(rng: np.random.Generator, first: Snapshot) -> Script:
    """Handle one shape after the other for as long as the episode lasts; a stick's grasps are pushes from above."""
    hand = Hand(first)
    names = sorted(first.objects)
    toy = names[int(rng.integers(len(names)))]
    while True:
        name = toy if rng.random() < _TOY else names[int(rng.integers(len(names)))]
        mood = rng.random()
        if not on_table(hand.spot(name)) or mood < 0.15:
            yield from hand.to(sample_place(rng), rng.uniform(0.03, HIGH), speed=rng.uniform(0.01, 0.03))
        elif mood < 0.65:
            yield from _push(hand, rng, name)
        else:
            yield from _pick_and_place(hand, rng, name)


def sample_place(rng: np.random.Generator) -> Array:
    """A place (2,) on the table within reach of every arm."""
    while True:
        place = rng.uniform(*AREA)
        if NEAR < np.linalg.norm(place - np.array(BASE[:2])) < FAR:
            return np.asarray(place)


def on_table(place: Array) -> bool:
    """Whether a place (2,) can still be worked at."""
    return bool((place > AREA[0] - 0.1).all() and (place < AREA[1] + 0.1).all())


def _push(hand: Hand, rng: np.random.Generator, name: str) -> Motion:
    aim = sample_place(rng) - hand.spot(name)  # towards a place on the table, so that it stays there
    way, before = unit(aim), rng.uniform(0.06, 0.08)
    start = hand.spot(name) - way * before
    yield from hand.grip(0.0, frames=1)
    yield from hand.over(start)
    yield from hand.to(start, _GRASP + 0.01)
    end = start + way * (before + min(float(np.linalg.norm(aim)), 0.2))
    yield from hand.to(end, _GRASP + 0.01, speed=rng.uniform(0.008, 0.02))


def _pick_and_place(hand: Hand, rng: np.random.Generator, name: str) -> Motion:
    pose = hand.seen.objects[name]
    yaw = 2.0 * float(np.arctan2(pose[6], pose[3]))
    yield from hand.grip(1.0, frames=2)
    yield from hand.over(hand.spot(name), yaw=yaw)
    yield from hand.to(hand.spot(name), _GRASP)
    yield from hand.grip(0.0)
    yield from hand.to(hand.position[:2], rng.uniform(0.06, HIGH))
    place = sample_place(rng)
    yield from hand.to(place, hand.position[2], yaw=rng.uniform(-1.0, 1.0))
    yield from hand.to(place, _GRASP + rng.uniform(0.005, 0.03))
    yield from hand.grip(1.0, frames=4)
