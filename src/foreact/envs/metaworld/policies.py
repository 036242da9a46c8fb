"""Scripted policies for MetaWorld, which see where the object is: its own experts, also with noise, and aimless play."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from foreact.core.contracts import Observation
from foreact.envs.world import Floats, World

ROOM = np.array([[-0.3, 0.45, 0.06], [0.3, 0.85, 0.35]])  # where the hand wanders, metres
NEAR = 0.02  # metres from a place at which the hand goes on to the next
PATIENCE = 30  # actions after which it does so anyway: something is in its way


class Expert:
    """MetaWorld's own expert of the world's task, asked once a period.

    Args:
        world: a `MetaWorld`.
        noise: standard deviation of a slowly changing disturbance of its actions.
    """

    def __init__(self, world: Any, *, noise: float = 0.0) -> None:
        from metaworld.policies import ENV_POLICY_MAP

        self._world = world
        self._noise = noise
        self._script = ENV_POLICY_MAP[f"{world.task}-v3"]()

    def reset(self, seeds: Sequence[int] | None = None) -> None:
        """For the episode that has just begun."""
        self._rng = np.random.default_rng(seeds[0] if seeds else None)
        self._drift = np.zeros(4)

    def act(self, observation: Observation) -> Floats:
        """The next action, (1, 4), clipped: experts ask for up to 19."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MetaWorld's own about that
            action = np.clip(self._script.get_action(self._world.seen).astype(np.float64), -1.0, 1.0)
        self._drift = 0.8 * self._drift + 0.6 * self._rng.normal(0.0, self._noise, 4)  # keeps the deviation
        return np.clip(action + self._drift, -1.0, 1.0)[None]


class Play:
    """Wanders through the room and strokes through the object in all directions, whatever the task.

    Args:
        world: whose object is touched.
    """

    def __init__(self, world: World) -> None:
        self._world = world

    def reset(self, seeds: Sequence[int] | None = None) -> None:
        """For the episode that has just begun."""
        self._rng = np.random.default_rng(seeds[0] if seeds else None)
        self._way: list[Floats] = []
        self._velocity = np.zeros(3)
        self._pace = self._effort = 0.0
        self._patience = PATIENCE

    def act(self, observation: Observation) -> Floats:
        """The next action, (1, 4)."""
        if not self._way:
            self._plan()
        way = self._way[0] - self._world.state()[:3]
        distance = float(np.linalg.norm(way))
        self._patience -= 1
        if distance < NEAR or not self._patience:  # there, or held up
            del self._way[0]
            self._patience = PATIENCE
        self._velocity = 0.7 * self._velocity + 0.3 * self._pace * way / max(distance, NEAR)
        return np.clip(np.append(self._velocity, self._effort), -1.0, 1.0)[None]

    def _plan(self) -> None:
        """Where to go next: to some place, or to one beside the object and through it."""
        rng = self._rng
        self._pace, self._effort = rng.uniform(0.4, 1.2), rng.uniform(-1.0, 1.0)
        if rng.random() < 0.3:
            self._way = [rng.uniform(*ROOM)]
            return
        (thing,) = self._world.hidden().values()
        aim = thing + rng.normal((0.0, 0.0, -0.03), (0.02, 0.02, 0.05))  # fingers reach below the hand
        direction = rng.normal(0.0, (1.0, 1.0, 0.5))
        reach = rng.uniform(0.08, 0.15) * direction / np.linalg.norm(direction)
        self._way = [np.clip(place, *ROOM) for place in (aim - reach, aim + reach)]
