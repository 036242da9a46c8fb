"""A diagonal Gaussian posterior over z, priced against N(0, 1)."""

from __future__ import annotations

from torch import Tensor


def draw_and_price(mean: Tensor, log_variance: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """z = mean + sigma * noise, all (B, Q, Z), and KL(N(mean, sigma^2) || N(0, 1)) summed over z, mean over the batch."""
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=(1, 2)).mean()
    return mean + (0.5 * log_variance).exp() * noise, kl
