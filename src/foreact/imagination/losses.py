"""Advantages and losses of PPO (Schulman et al. 2017), as pure functions.

Shape legend: T steps, n environments, B samples of a minibatch.
"""

from __future__ import annotations

import torch
from torch import Tensor


def advantages_of(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    ended: Tensor,
    *,
    gamma: float,
    lam: float,
) -> Tensor:
    """Generalised advantages (T, n): A_t = delta_t + gamma lam A_{t+1}, delta_t = r_t + gamma V(o_{t+1}) - V(o_t).

    Where an episode ended, nothing of the next one counts; only where the task ended it, the value of what came last is zero:
    what was cut off by time alone would have gone on.

    Args:
        rewards, values: (T, n).
        next_values: of the observation after each step, before any reset, (T, n).
        terminated: ended by the task, (T, n).
        ended: by the task or by time, (T, n).
        gamma: discount of a step.
        lam: of the average over horizons.
    """
    deltas = rewards + gamma * next_values * ~terminated - values
    found, following = torch.zeros_like(rewards), torch.zeros_like(rewards[0])
    for t in reversed(range(len(rewards))):
        following = deltas[t] + gamma * lam * following * ~ended[t]
        found[t] = following
    return found


def policy_loss(log_probs: Tensor, before: Tensor, advantages: Tensor, *, clip: float) -> dict[str, Tensor]:
    """-min(rho A, clip(rho) A) of a minibatch, rho = pi(a) / pi_before(a).

    Args:
        log_probs: of the actions now, (B,).
        before: when they were taken, (B,).
        advantages: (B,); normalised here.
        clip: of the ratio's distance from 1.

    Returns:
        The loss; `kl`, the estimate (rho - 1) - log rho of how far the policy has moved; the share of clipped ratios.
    """
    normal = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    log_ratio = log_probs - before
    ratio = log_ratio.exp()
    loss = -torch.min(ratio * normal, ratio.clamp(1 - clip, 1 + clip) * normal).mean()
    return {
        "policy_loss": loss,
        "kl": (ratio - 1 - log_ratio).mean().detach(),
        "clipped": ((ratio - 1).abs() > clip).float().mean(),
    }


def explained_variance(values: Tensor, returns: Tensor) -> float:
    """1 - Var(returns - values) / Var(returns): 1 is a perfect value, 0 one that knows nothing; 0 where all returns are equal."""
    spread = returns.var()
    return float(1 - (returns - values).var() / spread) if spread > 0 else 0.0
