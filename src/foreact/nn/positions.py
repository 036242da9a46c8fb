"""Fixed position and time codes. Their NumPy twins are in the tests."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from foreact.nn.floats import widen


def sincos_2d(grid: tuple[int, int], dim: int, *, fastest: float = 1.0, ratio: float = 10_000.0) -> Tensor:
    """Two-dimensional sine-cosine codes of a patch grid, (rows * columns, dim); half the channels per axis.

    Args:
        grid: rows and columns.
        dim: channels.
        fastest: the highest frequency, radians per patch.
        ratio: of the highest to the lowest frequency; geometric in between.

    Raises:
        ValueError: `dim` is not a multiple of 4.
    """
    if dim % 4:
        raise ValueError(f"2-D position codes need a width that is a multiple of 4, not {dim}")
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    frequencies = fastest / ratio ** (torch.arange(dim // 4) / (dim // 4))
    angles = [axis.reshape(-1, 1) * frequencies for axis in (rows, columns)]
    return torch.cat([f(a) for a in angles for f in (torch.sin, torch.cos)], dim=1).float()


def time_angles(time_B: Tensor, frequencies: int) -> Tensor:
    """1000 t times each of `frequencies` rates from 1 down to nearly 1 / 10,000, radians: (B,) -> (B, frequencies)."""
    scale = -math.log(10_000) / frequencies
    rates = torch.exp(scale * torch.arange(frequencies, device=time_B.device, dtype=torch.float32))
    return 1000.0 * widen(time_B)[:, None] * rates


def seconds_code(seconds: Tensor, dim: int, periods: tuple[float, float]) -> Tensor:
    """Sine-cosine codes of times in seconds (LaWAM, Eq. 7), (..., dim): half sines, half cosines.

    The paper's frequencies are those of word positions, 1 rad/s and slower: over a chunk of one second its codes hardly move, and
    neighbouring actions look alike. Periods between a few actions and a few chunks tell them apart.

    Args:
        seconds: times, (...).
        dim: channels, an even number.
        periods: the shortest and the longest, in seconds; geometric in between. The paper's are 2 pi and 20,000 pi.
    """
    steps = torch.linspace(0, 1, dim // 2, device=seconds.device)
    angles = 2 * math.pi / (periods[0] * (periods[1] / periods[0]) ** steps) * widen(seconds)[..., None]
    return torch.cat([torch.sin(angles), torch.cos(angles)], dim=-1)


class TimeEmbedding(nn.Module):
    """Flow time in [0, 1] -> (B, dim): cosines, then sines, of `time_angles` through a two-layer MLP."""

    def __init__(self, dim: int, *, frequencies: int = 128) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.mlp = nn.Sequential(nn.Linear(2 * frequencies, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, time_B: Tensor) -> Tensor:
        """(B,) -> (B, dim)."""
        angles = time_angles(time_B, self.frequencies)
        return self.mlp(torch.cat([torch.cos(angles), torch.sin(angles)], dim=1))


def merge_patches(tokens_BNC: Tensor, grid: tuple[int, int], side: int) -> Tensor:
    """Patches of a grid (rows, columns) -> squares of them, row by row: (B, N, C) -> (B, N / side^2, side^2 * C)."""
    squares = tokens_BNC.unflatten(1, (grid[0] // side, side, grid[1] // side, side))
    return squares.transpose(2, 3).flatten(3).flatten(1, 2)


def split_patches(squares_BMC: Tensor, grid: tuple[int, int], side: int) -> Tensor:
    """Inverse of `merge_patches`."""
    squares = squares_BMC.unflatten(2, (side, side, -1)).unflatten(1, (grid[0] // side, grid[1] // side))
    return squares.transpose(2, 3).flatten(1, 4)


class PatchEmbedding(nn.Module):
    """Patch tokens (B, N, C) -> (B, N / merge^2, D): a linear layer and, unless their scale is 0, fixed 2-D position codes.

    Wavelengths run from 4 patches to 4 times the grid, so that no channel is constant over a small grid. The codes, and
    with them the residual stream, stay in float32 under autocast.

    Args:
        grid: rows and columns of the patches.
        channels: C.
        dim: D.
        position_scale: amplitude of the codes.
        merge: side of the squares of patches that become one token (as in Swin, arXiv:2103.14030).

    Raises:
        ValueError: the grid does not consist of such squares.
    """

    codes: Tensor | None

    def __init__(
        self, grid: tuple[int, int], channels: int, dim: int, position_scale: float, *, merge: int = 1
    ) -> None:
        super().__init__()
        if merge < 1 or grid[0] % merge or grid[1] % merge:
            raise ValueError(
                f"a grid of {grid[0]} x {grid[1]} patches does not consist of squares of {merge} x {merge}"
            )
        self.grid, self.merge = grid, merge
        self.linear = nn.Linear(merge * merge * channels, dim)
        merged = (grid[0] // merge, grid[1] // merge)
        codes = None
        if position_scale:
            codes = position_scale * sincos_2d(merged, dim, fastest=math.pi / 2, ratio=max(merged))
        self.register_buffer("codes", codes, persistent=False)

    def forward(self, tokens_BNC: Tensor) -> Tensor:
        """(B, N, C) -> (B, N / merge^2, D)."""
        if self.merge > 1:
            tokens_BNC = merge_patches(tokens_BNC, self.grid, self.merge)
        x_BND = self.linear(tokens_BNC)
        return x_BND if self.codes is None else x_BND + self.codes
