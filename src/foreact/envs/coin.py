"""A small, fully understood world: a red square that the actions drive, and a green one that jumps by an unseen coin.

The right answers are known. Given the actions, red's future is certain. Green's has four equally likely modes, so the
prediction with the least L1 error shows no green square at all, and a sample of the future shows it in one of four places.

Shape legend: B samples, H actions per chunk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE, PATCH, SQUARE = 32, 4, 6
ACTIONS, REACH, JUMP = 5, 2.0, 6
GRID = (SIDE // PATCH, SIDE // PATCH)
CHANNELS = 3 * PATCH * PATCH
JUMPS = np.array([[JUMP, 0], [-JUMP, 0], [0, JUMP], [0, -JUMP]])

Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class CoinPairs:
    """Pairs of frames.

    Attributes:
        before, after: frames (B, 32, 32, 3) in [0, 1].
        actions: (B, 5, 2) in pixels, x right and y down; their sum is red's way.
        green: top left corner (B, 2) of the green square before its jump.
    """

    before: Array
    after: Array
    actions: Array
    green: NDArray[np.int64]


def draw_pairs(count: int, rng: np.random.Generator) -> CoinPairs:
    """Draw independent pairs; both squares stay inside the picture."""
    way = ACTIONS * REACH
    red = rng.uniform(way, SIDE - SQUARE - way, (count, 2))
    actions = rng.uniform(-REACH, REACH, (count, ACTIONS, 2))
    green = rng.integers(JUMP, SIDE - SQUARE - JUMP + 1, (count, 2))
    landed = green + JUMPS[rng.integers(len(JUMPS), size=count)]
    return CoinPairs(
        before=draw(red, green),
        after=draw(red + actions.sum(axis=1), landed),
        actions=actions.astype(np.float32),
        green=green,
    )


def possible_futures(pairs: CoinPairs) -> Array:
    """What could have come instead of `after`, all equally likely: (4, B, 32, 32, 3)."""
    futures = np.repeat(pairs.after[None], len(JUMPS), axis=0)
    for future, jump in zip(futures, JUMPS, strict=True):
        future[..., 1] = draw(np.zeros((len(pairs.green), 2)), pairs.green + jump)[..., 1]
    return futures


def draw(red: NDArray[np.float64], green: NDArray[np.int64]) -> Array:
    """Frames (B, 32, 32, 3) of squares with their top left corners at (x, y) (B, 2), antialiased; blue stays empty."""
    frames = np.zeros((len(red), SIDE, SIDE, 3), dtype=np.float32)
    for channel, corners in enumerate((red, green)):
        cover_x, cover_y = (_cover(corners[:, axis]) for axis in (0, 1))
        frames[..., channel] = cover_y[:, :, None] * cover_x[:, None, :]
    return frames


def _cover(start: NDArray[Any]) -> NDArray[np.float64]:
    """How much of each pixel (B, 32) lies in [start, start + SQUARE]."""
    pixels = np.arange(SIDE)
    first = np.maximum(pixels, start[:, None])
    last = np.minimum(pixels + 1, start[:, None] + SQUARE)
    return np.clip(last - first, 0.0, 1.0)


def to_tokens(frames: Array) -> Array:
    """Frames (B, 32, 32, 3) -> tokens (B, 64, 48): patches, mixed by a fixed rotation so that no channel is a pixel."""
    rows, columns = GRID
    patches = frames.reshape(-1, rows, PATCH, columns, PATCH, 3).transpose(0, 1, 3, 2, 4, 5)
    return (patches.reshape(len(frames), rows * columns, CHANNELS) @ _rotation()).astype(np.float32)


def to_frames(tokens: Array) -> Array:
    """Inverse of `to_tokens`; predicted tokens may give values outside [0, 1]."""
    rows, columns = GRID
    patches = (tokens @ _rotation().T).reshape(-1, rows, columns, PATCH, PATCH, 3).transpose(0, 1, 3, 2, 4, 5)
    return patches.reshape(len(tokens), SIDE, SIDE, 3).astype(np.float32)


def _rotation() -> NDArray[np.float64]:
    return np.linalg.qr(np.random.default_rng(0).normal(size=(CHANNELS, CHANNELS)))[0]
