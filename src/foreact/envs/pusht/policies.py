"""Push-T's scripted policies: they see where agent and block are, and give one action at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.envs.pusher import Manner, ScriptedPusher
from foreact.envs.pusht.expert import PushTExpert
from foreact.envs.world import Floats, World

if TYPE_CHECKING:
    from foreact.core.contracts import Observation

BLOCK = "observation.environment_state"


class Pusher:
    """The scripted pusher of recordings.

    Args:
        world: a `PushTWorld`, of which it reads the poses.
        manner: of `pusher.ScriptedPusher`.
    """

    def __init__(self, world: World, manner: Manner) -> None:
        self._world: Any = world
        self._manner = manner

    def reset(self, seeds: Sequence[int] | None = None) -> None:
        """For the episode that has just begun."""
        rng, world = np.random.default_rng(seeds[0] if seeds else None), self._world
        manners = ((self._manner, 1.0),)
        self._pusher = ScriptedPusher(rng, world.state(), world.goal, boxes=world.look.boxes, manners=manners)

    def act(self, observation: Observation) -> Floats:
        """The next target, (1, 2)."""
        return self._pusher.act(self._world.state(), self._world.hidden()[BLOCK])[None]


class Expert:
    """What brings the block home, and then stays where it is.

    Args:
        world: a `PushTWorld`, of which it reads the poses.
        noise: of its targets, standard deviation in pixels.
    """

    def __init__(self, world: World, noise: float = 0.0) -> None:
        self._world: Any = world
        self._noise = noise

    def reset(self, seeds: Sequence[int] | None = None) -> None:
        """For the episode that has just begun."""
        self._rng = np.random.default_rng(seeds[0] if seeds else None)
        self._expert = PushTExpert(self._world.model, self._world.goal)

    def act(self, observation: Observation) -> Floats:
        """The next target, (1, 2)."""
        world = self._world
        target = self._expert.act(world.state(), world.hidden()[BLOCK], done=world.done)
        return (target + self._rng.normal(0.0, self._noise, 2))[None]
