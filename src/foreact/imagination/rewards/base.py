"""What a reward is given, and what is asked of it.

Shape legend: n environments, E actions of a chunk, A action dimension, N patch tokens, C channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from foreact.core.errors import ForeactError
from foreact.imagination.demonstrations import Demonstrations


@dataclass(frozen=True)
class Step:
    """A chunk that was carried out in every environment.

    Attributes:
        tokens: after it, (n, N, C) float32.
        actions: (n, E, A) in the units of the recordings.
        which: the demonstration of each, (n,).
        frame: the frame of it that the episode should have reached, at most its last one, (n,).
        demonstrations: give true tokens.
    """

    tokens: Tensor
    actions: np.ndarray
    which: np.ndarray
    frame: np.ndarray
    demonstrations: Demonstrations

    def truth(self, frames: np.ndarray) -> Tensor:
        """Tokens (n, N, C) of frames (n,) of each one's demonstration."""
        return self.demonstrations.tokens(self.which, frames)


Reward = Callable[[Step], np.ndarray]
"""A step -> the reward (n,) of its chunk."""


def checked(reward: Reward, step: Step) -> np.ndarray:
    """The reward (n,) of a step, float64.

    Raises:
        ForeactError: another shape, or what is no number.
    """
    found = np.asarray(reward(step), dtype=np.float64)
    if found.shape != step.which.shape:
        raise ForeactError(
            f"the reward gives the shape {found.shape} for {len(step.which)} environments: one number each"
        )
    if not np.isfinite(found).all():
        worst = int(np.flatnonzero(~np.isfinite(found))[0])
        raise ForeactError(
            f"the reward is {found[worst]} for frame {step.frame[worst]} of demonstration {step.which[worst]}: it must be finite"
        )
    return found
