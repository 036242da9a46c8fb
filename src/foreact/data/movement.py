"""Which start frames show something moving: from object poses where the data tells them, else from token change."""

from __future__ import annotations

import numpy as np

from foreact.data.lerobot import LeRobotDataset

OBJECT_COLUMNS = {"observation.environment_state": 2, "observation.object_pose": 3}
"""Columns that hold an object's pose, and how many of their leading dimensions are its position."""

_QUIET = 0.1  # of the 95th percentile of the steps in which anything moves: below it, a step counts as still
_DILATION = 3  # frames before and after a moving one that count as moving too, as in the released code


def object_positions(dataset: LeRobotDataset, episode: int) -> np.ndarray | None:
    """Object positions (T, 2 or 3) in the data's units, or None where the dataset has none."""
    for column, dims in OBJECT_COLUMNS.items():
        if column in dataset.features:
            return np.asarray(dataset.column(column, episode)[:, :dims], dtype=np.float64)
    return None


def moving_starts(changes: list[np.ndarray]) -> list[np.ndarray]:
    """Boolean masks (T,) of start frames near movement.

    Args:
        changes: per episode, how much changes from each frame to the next, (T - 1,): metres, pixels or token L1.
    """
    steps = np.concatenate(changes) if changes else np.zeros(0)
    moving = steps[steps > 1e-9]
    threshold = _QUIET * float(np.quantile(moving, 0.95)) if len(moving) else np.inf
    kernel = np.ones(2 * _DILATION + 1)
    masks = []
    for change in changes:
        near = np.convolve(change > threshold, kernel)[_DILATION : _DILATION + len(change)] > 0
        masks.append(np.append(near, False))
    return masks
