"""A rollout: a few chunks in every environment, and all that learning from them needs.

Shape legend: T steps, n environments, E actions of a chunk, A action dimension.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from foreact.imagination.chunked import ChunkVectorEnv
from foreact.imagination.networks import ActorCritic


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """What happened.

    Attributes:
        pictures: camera -> pictures uint8 or tokens float16, (T n, ...), on the CPU.
        state: (T n, P); None for a policy that sees none.
        actions: normalised, (T, n, E, A).
        log_probs: of the actions, (T, n).
        values: of the observations, (T, n).
        rewards: of the chunks, (T, n).
        next_values: of the observations that came of them, before any reset, (T, n).
        terminated: whether nothing comes after, (T, n).
        ended: whether the episode ended, (T, n).
        told: means of what the environments tell: of ended episodes of all, of the other numbers over all chunks.
    """

    pictures: Mapping[str, Tensor]
    state: Tensor | None
    actions: Tensor
    log_probs: Tensor
    values: Tensor
    rewards: Tensor
    next_values: Tensor
    terminated: Tensor
    ended: Tensor
    told: Mapping[str, float]

    @property
    def nbytes(self) -> int:
        """Of all tensors."""
        own = (value for value in vars(self).values() if isinstance(value, Tensor))
        return sum(value.nbytes for value in (*self.pictures.values(), *own))


@torch.no_grad()
def collect(env: ChunkVectorEnv, agent: ActorCritic, steps: int, generator: torch.Generator) -> Rollout:
    """Act for T steps from where the environments are; the noise of the actions comes from the generator."""
    limits = agent.policy.action_limits
    states: list[Tensor] = []
    pictures, rows, infos = [], [], []
    given = agent.see(env.seen)
    mean, std, value = agent(*given)
    for _ in range(steps):
        noise = torch.randn(mean.shape, generator=generator).to(mean.device)
        action = mean + std * noise
        pictures.append({name: seen.cpu() for name, seen in given[0].items()})
        states += [] if given[1] is None else [given[1].cpu()]
        log_prob = log_prob_of(action, mean, std)
        _, reward, terminated, truncated, info = env.step(limits.restore(action).cpu().numpy())
        given = agent.see(env.seen)
        mean, std, following = agent(*given)
        ended, next_value = terminated | truncated, following.clone()
        if ended.any():
            last = agent.see({name: info["final_obs"][name][ended] for name in env.seen})
            next_value[torch.from_numpy(ended)] = agent(*last)[2]
        told = (reward.astype(np.float32), terminated, ended)
        rows.append((action, log_prob, value, next_value, *map(torch.from_numpy, told)))
        infos.append({name: values for name, values in info.items() if f"_{name}" in info and name != "final_obs"})
        value = following
    actions, log_probs, values, next_values, rewards, dones, ends = (torch.stack(part).cpu() for part in zip(*rows))
    return Rollout(
        pictures={name: torch.cat([seen[name] for seen in pictures]) for name in pictures[0]},
        state=torch.cat(states) if states else None,
        actions=actions,
        log_probs=log_probs,
        values=values,
        rewards=rewards,
        next_values=next_values,
        terminated=dones,
        ended=ends,
        told=_told(infos, ends.numpy()),
    )


def log_prob_of(action: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Of chunks (B, E, A), summed over their numbers, (B,)."""
    return torch.distributions.Normal(mean, std).log_prob(action).sum(dim=(1, 2))


_AT_THE_END = ("return", "success")


def _told(infos: list[dict[str, np.ndarray]], ended: np.ndarray) -> dict[str, float]:
    found: dict[str, float] = {"episodes": float(ended.sum())}
    for name in infos[0]:
        values = np.stack([info[name] for info in infos]).astype(np.float64)
        chosen = values[ended] if name in _AT_THE_END else values
        if chosen.size:
            found[name] = float(chosen.mean())
    return found
