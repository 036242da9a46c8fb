"""Diffusion as the pre-trained video models have it: discrete noise levels, v-prediction, DDIM.

x_n = sqrt(a_n) x + sqrt(1 - a_n) eps,    v* = sqrt(a_n) eps - sqrt(1 - a_n) x,    n = 0 (almost clean) ... LEVELS - 1 (noise alone)
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

LEVELS = 1000


def signal_powers(first: float = 0.00085, last: float = 0.012) -> Tensor:
    """a_n of the scaled-linear noise schedule of latent diffusion, (LEVELS,), moved so that the last one is 0: no signal is
    left to be sampled from (zero terminal SNR, Lin et al., arXiv:2305.08891).
    """
    betas = torch.linspace(first**0.5, last**0.5, LEVELS, dtype=torch.float64).square()
    root = (1 - betas).cumprod(dim=0).sqrt()
    return (((root - root[-1]) * root[0] / (root[0] - root[-1])).square()).float()


def diffuse(data_BT: Tensor, noise_BT: Tensor, power_BT: Tensor) -> tuple[Tensor, Tensor]:
    """x_n and v* of data and noise (B, T, ...), each frame with its own signal power (B, T)."""
    power = power_BT.view(*power_BT.shape, *[1] * (data_BT.ndim - power_BT.ndim))
    signal, spread = power.sqrt(), (1 - power).sqrt()
    return signal * data_BT + spread * noise_BT, signal * noise_BT - spread * data_BT


def sampling_levels(steps: int) -> list[int]:
    """Levels of a sampler, from noise down, evenly spaced and beginning with noise alone ("trailing").

    Raises:
        ValueError: not between one step and one per level.
    """
    if not 1 <= steps <= LEVELS:
        raise ValueError(f"a sampler takes 1 to {LEVELS} steps, not {steps}")
    return [round(LEVELS * (steps - i) / steps) - 1 for i in range(steps)]


def ddim(velocity: Callable[[Tensor, int], Tensor], noise: Tensor, powers: Tensor, steps: int) -> Tensor:
    """Deterministic sampling (DDIM, Song et al., arXiv:2010.02502) from noise alone to clean data.

    Args:
        velocity: maps x_n and n to v^.
        noise: x at the last level, (B, ...).
        powers: a_n, (LEVELS,).
        steps: calls of `velocity`.
    """
    x = noise
    clean = torch.ones_like(powers[0])
    levels = sampling_levels(steps)
    for (level, power), (_, following) in pairwise([*((n, powers[n]) for n in levels), (-1, clean)]):
        v = velocity(x, level)
        data, eps = power.sqrt() * x - (1 - power).sqrt() * v, power.sqrt() * v + (1 - power).sqrt() * x
        x = following.sqrt() * data + (1 - following).sqrt() * eps
    return x
