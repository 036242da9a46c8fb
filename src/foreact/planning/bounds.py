"""Which actions a planner may choose: those between the smallest and the largest of the recordings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from foreact.core.errors import ForeactError


@dataclass(frozen=True)
class Bounds:
    """Smallest and largest action, and the one from which a search begins; (A,) each, in the units of the recordings.

    Raises:
        ForeactError: numbers that are not finite, or bounds between which nothing lies.
    """

    low: np.ndarray
    high: np.ndarray
    middle: np.ndarray

    def __post_init__(self) -> None:
        if not np.isfinite([self.low, self.high, self.middle]).all():
            raise ForeactError("the bounds of actions hold NaN or infinite values")
        if not len(self.low) or (self.low > self.high).any() or not (self.low < self.high).any():
            raise ForeactError(
                f"the bounds of actions are empty: from {self.low.tolist()} to {self.high.tolist()} there is nothing to choose"
            )

    @classmethod
    def of(cls, actions: np.ndarray, low: np.ndarray | None = None, high: np.ndarray | None = None) -> Bounds:
        """Those of recorded actions (n, A), within what a robot takes, (A,) each, where that is known.

        Raises:
            ForeactError: no actions, or none that the robot takes.
        """
        known = actions[np.isfinite(actions).all(axis=1)].astype(np.float64)
        if not len(known):
            raise ForeactError("the recordings have no actions: there are no bounds to plan within")
        lowest = known.min(axis=0) if low is None else np.maximum(known.min(axis=0), low)
        highest = known.max(axis=0) if high is None else np.minimum(known.max(axis=0), high)
        return cls(lowest, highest, np.clip(known.mean(axis=0), lowest, highest))

    @property
    def action_dim(self) -> int:
        """A."""
        return len(self.low)

    def actions(self, units: Tensor) -> Tensor:
        """Plans (..., A) in which -1 and 1 are the bounds, as actions within them."""
        low, high = (torch.as_tensor(end, dtype=units.dtype, device=units.device) for end in (self.low, self.high))
        return low + (units.clamp(-1, 1) + 1) / 2 * (high - low)

    def units(self, actions: np.ndarray) -> Tensor:
        """Actions (..., A) as plans in which -1 and 1 are the bounds; what cannot be chosen is 0."""
        width = self.high - self.low
        found = 2 * (actions - self.low) / np.where(width > 0, width, 1.0) - 1
        return torch.as_tensor(np.where(width > 0, np.clip(found, -1, 1), 0.0), dtype=torch.float32)
