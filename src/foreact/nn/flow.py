"""Flow matching with straight paths (RLA-WM, section 3): tau = 0 is noise, tau = 1 is data.

z_tau = tau * z + (1 - tau) * eps (E5),    v* = z - eps (E6),    dz/dtau = v (E7, by Euler steps)
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal, TypeVar

import torch
from torch import Tensor

Solver = Literal["euler", "midpoint", "heun"]
TimeLaw = Literal["uniform", "logit_normal", "noisy"]
Time = TypeVar("Time", float, Tensor)


def sample_times(law: TimeLaw, batch: int, generator: torch.Generator) -> Tensor:
    """Flow times (B,) in (0, 1) drawn from the named law on the generator's device; "noisy" is LaWAM's 0.999 (1 - Beta(1.5, 1))."""
    if law in ("uniform", "noisy"):
        even = torch.rand(batch, generator=generator, device=generator.device)
        return even if law == "uniform" else 0.999 * (1 - even ** (1 / 1.5))  # Beta(a, 1) is the a-th root of a uniform
    if law == "logit_normal":
        return torch.sigmoid(torch.randn(batch, generator=generator, device=generator.device))
    raise ValueError(f"unknown flow time law {law!r}")


def interpolate(noise: Tensor, data: Tensor, time_B: Tensor) -> tuple[Tensor, Tensor]:
    """The point at `time_B` on the straight path from noise to data (E5) and the path's velocity (E6), both shaped like data."""
    time = time_B.view(-1, *[1] * (data.ndim - 1))
    return time * data + (1 - time) * noise, data - noise


def shift_times(time: Time, shift: float) -> Time:
    """Flow times moved towards the noise, as high dimensions need (RAE, arXiv:2510.11690): shift 1 leaves them alone.

    With noise level t = 1 - tau this is t -> shift * t / (1 + (shift - 1) * t).
    """
    return time / (time + shift * (1 - time))


def integrate(
    velocity: Callable[[Tensor, Tensor], Tensor],
    noise: Tensor,
    *,
    steps: int,
    solver: Solver = "euler",
    shift: float = 1.0,
) -> Tensor:
    """Solve dz/dtau = velocity(z, tau) from noise at tau = 0 to tau = 1 on a grid that is even before `shift_times`.

    Args:
        velocity: maps z (B, ...) and times (B,) to a velocity shaped like z.
        noise: z at tau = 0, (B, ...).
        steps: grid intervals; midpoint and Heun call `velocity` twice in each.
        solver: euler (the papers'), midpoint or heun.
        shift: of the grid.

    Raises:
        ValueError: fewer than one step or an unknown solver.
    """
    if steps < 1:
        raise ValueError(f"a sampler needs at least one step, not {steps}")
    if solver not in ("euler", "midpoint", "heun"):
        raise ValueError(f"unknown solver {solver!r}: euler, midpoint or heun")
    z = noise
    grid = [shift_times(step / steps, shift) for step in range(steps + 1)]  # of floats, constants to a compiler
    for now, then in pairwise(grid):
        width = then - now
        start = torch.full((z.shape[0],), now, dtype=z.dtype, device=z.device)
        slope = velocity(z, start)
        if solver == "midpoint":
            slope = velocity(z + 0.5 * width * slope, start + 0.5 * width)
        elif solver == "heun":
            slope = 0.5 * (slope + velocity(z + width * slope, start + width))
        z = z + width * slope  # E7
    return z
