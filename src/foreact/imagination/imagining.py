"""A policy played in a dream without learning: what the dream promises, to be held beside what is real."""

from __future__ import annotations

import numpy as np

from foreact.core.contracts import Policy
from foreact.imagination.imagined import ImaginedVectorEnv


def imagine_policy(policy: Policy, env: ImaginedVectorEnv, seed: int) -> dict[str, np.ndarray]:
    """The first episode of every environment: its return, and whether it counts as an imagined success, (n,) each.

    Args:
        policy: acts by its chunks' first actions.
        env: whose seeds are `seed`, `seed` + 1, ...
        seed: of the first environment.
    """
    seen, _ = env.reset(seed=seed)
    policy.reset(list(range(seed, seed + env.num_envs)))
    told = {"return": np.zeros(env.num_envs), "success": np.zeros(env.num_envs)}
    over = np.zeros(env.num_envs, dtype=bool)
    while not over.all():
        seen, _, terminated, truncated, infos = env.step(policy.act(seen)[:, : env.chunk])
        for name, values in told.items():
            values[~over] = infos[name][~over]
        over |= terminated | truncated
    return told
