"""Fixed position and time codes. Their NumPy twins are in the tests."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def sincos_2d(grid: tuple[int, int], dim: int) -> Tensor:
    """Two-dimensional sine-cosine codes of a patch grid, (rows * columns, dim); half the channels per axis.

    Raises:
        ValueError: `dim` is not a multiple of 4.
    """
    if dim % 4:
        raise ValueError(f"2-D position codes need a width that is a multiple of 4, not {dim}")
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    frequencies = 1.0 / 10_000 ** (torch.arange(dim // 4) / (dim // 4))
    angles = [axis.reshape(-1, 1) * frequencies for axis in (rows, columns)]
    return torch.cat([f(a) for a in angles for f in (torch.sin, torch.cos)], dim=1).float()


class TimeEmbedding(nn.Module):
    """Flow time in [0, 1] -> (B, dim): sinusoids of 1000 t, then a two-layer MLP."""

    def __init__(self, dim: int, *, frequencies: int = 128) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.mlp = nn.Sequential(nn.Linear(2 * frequencies, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, time_B: Tensor) -> Tensor:
        """(B,) -> (B, dim)."""
        scale = -math.log(10_000) / self.frequencies
        rates = torch.exp(scale * torch.arange(self.frequencies, device=time_B.device, dtype=torch.float32))
        angles = 1000.0 * time_B.float()[:, None] * rates
        return self.mlp(torch.cat([torch.cos(angles), torch.sin(angles)], dim=1))


class PatchEmbedding(nn.Module):
    """Patch tokens (B, N, C) -> (B, N, D): a linear layer and, where switched on, fixed 2-D position codes."""

    codes: Tensor | None

    def __init__(self, grid: tuple[int, int], channels: int, dim: int, positions: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, dim)
        self.register_buffer("codes", sincos_2d(grid, dim) if positions else None, persistent=False)

    def forward(self, tokens_BNC: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, D)."""
        x_BND = self.linear(tokens_BNC)
        return x_BND if self.codes is None else x_BND + self.codes.to(x_BND.dtype)
