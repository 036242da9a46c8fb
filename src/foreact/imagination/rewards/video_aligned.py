"""The paper's Video Aligned Reward: how near the imagined tokens are to the demonstration's.

r = -5 mean |s^_{t+8} - s*|, s* = the demonstration at t + 8, clipped at its end; or s_T, which PokeCube takes (E15)
"""

from __future__ import annotations

import numpy as np

from foreact.imagination.demonstrations import Demonstrations
from foreact.imagination.rewards.base import Step

SCALE = 5.0


class VideoAligned:
    """Likeness to the frame that the demonstration has reached by now."""

    def __init__(self, demonstrations: Demonstrations) -> None:
        self._last = demonstrations.last

    def __call__(self, step: Step) -> np.ndarray:
        """(n,), 0 at best."""
        return -SCALE * (step.tokens - step.truth(self.goal(step))).abs().mean(dim=(1, 2)).numpy()

    def goal(self, step: Step) -> np.ndarray:
        """The frame (n,) that is compared with."""
        return step.frame


class VideoEnd(VideoAligned):
    """Likeness to the demonstration's last frame."""

    def goal(self, step: Step) -> np.ndarray:
        """The last one."""
        return self._last[step.which]
