"""Who may act in an environment, by name: its scripted policies, a random one, one of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from foreact.core.errors import ForeactError
from foreact.core.own_code import import_function
from foreact.envs.env import RobotEnv
from foreact.envs.world import EnvCard, Floats, WorldSpec

if TYPE_CHECKING:
    from foreact.core.contracts import Observation, Policy

MakePolicy = Callable[[str, RobotEnv, EnvCard], "Policy"]
"""Name, environment and its card -> a policy; `make_policy`, or what also knows trained ones."""


class RandomPolicy:
    """Actions drawn evenly within their bounds."""

    def __init__(self, spec: WorldSpec) -> None:
        self._spec = spec
        self.reset()

    def reset(self, seeds: Sequence[int] | None = None) -> None:
        """Begin an episode."""
        self._rng = np.random.default_rng(seeds[0] if seeds else None)

    def act(self, observation: Observation) -> Floats:
        """One action, (1, A)."""
        return self._rng.uniform(self._spec.low, self._spec.high)[None]


def make_policy(name: str, env: RobotEnv, card: EnvCard) -> Policy:
    """A policy by its name.

    Args:
        name: of one of the card's scripted policies, "random", or `module:function` of the user's own, where the function is
            given the environment's world and returns a policy.
        env: in which it acts.
        card: of the environment.

    Raises:
        ForeactError: an unknown name, or a function that cannot be imported.
    """
    if name == "random":
        return RandomPolicy(env.world.spec)
    if name in card.policies:
        return card.policies[name](env.world)
    if not name.partition(":")[2]:
        known = ", ".join((*card.policies, "random"))
        raise ForeactError(
            f"{card.label} has no policy {name!r}: choose one of {known}, a run, or module:function of your own"
        )
    made: Policy = import_function(name, what="policy")(env.world)
    return made
