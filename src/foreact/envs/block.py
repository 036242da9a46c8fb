"""The T of Push-T and where its parts lie.

A block is boxes (K, 2, 2), low and high corners in its own frame, at a pose (x, y, angle): the T's origin is the middle of its
bar's outer edge. Lengths are window pixels, angles radians.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BLOCK_CENTRE = np.array([0.0, 45.0])  # the simulator's centre of gravity, in the block's frame
BLOCK_BOXES = np.array([[[-60.0, 0.0], [60.0, 30.0]], [[-15.0, 30.0], [15.0, 120.0]]])  # the bar and the stem


def centre_of(block: Array) -> Array:
    """The centre of gravity (2,) of a block at pose (3,)."""
    return block[:2] + rotate(BLOCK_CENTRE, block[2])


def distance_to_block(points: Array, block: Array, boxes: Array = BLOCK_BOXES) -> Array:
    """Distance (...) of each point (..., 2) to the block at pose (..., 3); 0 inside."""
    local = rotate(points - block[..., :2], -block[..., 2])[..., None, :]
    outside = np.maximum(np.maximum(boxes[:, 0] - local, local - boxes[:, 1]), 0.0)
    return np.linalg.norm(outside, axis=-1).min(axis=-1)


def rotate(points: Array, angle: Array | float) -> Array:
    """Points (..., 2) turned by angles (...) about the origin."""
    c, s = np.cos(angle), np.sin(angle)
    x, y = points[..., 0], points[..., 1]
    return np.stack([c * x - s * y, s * x + c * y], axis=-1)
