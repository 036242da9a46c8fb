"""Random shooting: candidates between the bounds, drawn anew in every iteration; nothing is learnt but the best one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from foreact.planning.solver import Belief, Draw, Solver


@dataclass(frozen=True, kw_only=True)
class Shooting(Solver):
    """All plans between the bounds are equally likely; `deviation` does not count."""

    def propose(self, belief: Belief, draw: Draw) -> Tensor:
        """See `Solver`."""
        candidates = torch.erf(draw(self.samples, *belief.mean.shape[1:]) / math.sqrt(2))  # a normal number, made even
        candidates[:, 0] = belief.mean
        return candidates

    def refit(self, belief: Belief, candidates: Tensor, costs: Tensor) -> Belief:
        """See `Solver`."""
        return belief
