"""A scripted expert for the suites in which one thing is put on, or into, another: waypoints over the true poses.

Above the thing, down, close, lift, over the target, down, open. Each suite has one set of sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from foreact.core.contracts import Observation
from foreact.core.errors import ForeactError
from foreact.envs.world import Floats

OPEN, CLOSE = -1.0, 1.0
_REACH, _SPIN = 10.0, 2.0  # action per metre, and per radian, of what is left
_STRAIGHT = 0.06  # radians that do not matter
_GRIP = 12  # actions in which fingers close or open


@dataclass(frozen=True, kw_only=True)
class Way:
    """How the things of a suite are taken, metres.

    Attributes:
        grasp: where the fingers close, from the thing's middle.
        lift: height at which it is carried.
        drop: height above the target's middle at which it is let go.
    """

    grasp: tuple[float, float, float]
    lift: float
    drop: float


WAYS = {
    "object": Way(grasp=(0.0, 0.0, 0.0), lift=0.30, drop=0.18),
    "spatial": Way(grasp=(0.0, 0.045, 0.04), lift=1.20, drop=0.09),  # bowls, by the rim
}


class Expert:
    """Puts the thing of interest where it belongs, in suites of `WAYS`.

    Args:
        world: a `Libero`, whose poses it sees.

    Raises:
        ForeactError: a suite that needs another script.
    """

    def __init__(self, world: Any) -> None:
        if world.suite not in WAYS:
            raise ForeactError(f"LIBERO's expert knows the suites {' and '.join(WAYS)}, not {world.suite}")
        self._world, self._way = world, WAYS[world.suite]

    def reset(self, seeds: Sequence[int] | None = None) -> None:
        """For the episode that has just begun."""
        self._turn = self._world.seen["robot0_eef_quat"].copy()
        self._actions = self._script()

    def act(self, observation: Observation) -> Floats:
        """The next action, (1, 7); rests when all is done."""
        return next(self._actions, np.append(np.zeros(6), OPEN))[None]

    def _script(self) -> Iterator[Floats]:
        way = self._way
        thing, target = (f"{name}_main" for name in self._world.simulator.obj_of_interest[:2])
        grasp = self._place(thing) + way.grasp
        yield from self._go(np.append(grasp[:2], grasp[2] + 0.12), OPEN, 80, 0.008)
        yield from self._go(grasp, OPEN, 60, 0.006)
        yield from self._rest(CLOSE)
        yield from self._go(np.append(grasp[:2], way.lift), CLOSE, 60, 0.02)
        aim = self._place(target)
        over = aim[:2] - (self._place(thing) - self._hand)[:2]  # where the hand is when the thing is over its target
        yield from self._go(np.append(over, way.lift), CLOSE, 100, 0.012)
        yield from self._go(np.append(over, aim[2] + way.drop), CLOSE, 60, 0.01)
        yield from self._rest(OPEN)
        yield from self._go(np.append(over, way.lift), OPEN, 40, 0.03)

    def _go(self, goal: Floats, fingers: float, most: int, near: float) -> Iterator[Floats]:
        """Towards a place, upright, until it is reached, or for so many actions."""
        for _ in range(most):
            way, turn = goal - self._hand, self._tilt
            yield np.concatenate([np.clip(_REACH * way, -1, 1), np.clip(_SPIN * turn, -1, 1), [fingers]])
            if np.linalg.norm(goal - self._hand) < near and np.linalg.norm(self._tilt) < _STRAIGHT:
                return

    def _rest(self, fingers: float) -> Iterator[Floats]:
        for _ in range(_GRIP):
            yield np.append(np.zeros(6), fingers)

    def _place(self, body: str) -> Floats:
        sim = self._world.simulator.sim
        return np.array(sim.data.body_xpos[sim.model.body_name2id(body)])

    @property
    def _hand(self) -> Floats:
        return np.array(self._world.seen["robot0_eef_pos"])

    @property
    def _tilt(self) -> Floats:
        """How far the hand has turned away from how it began, axis times angle."""
        from robosuite.utils import transform_utils as turns

        left = turns.quat_multiply(self._turn, turns.quat_inverse(self._world.seen["robot0_eef_quat"]))
        return turns.quat2axisangle(left if left[3] > 0 else -left)
