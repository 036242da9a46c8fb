"""Gradient descent through the imagination, from several starts at once, with Adam's steps (Kingma and Ba 2015)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from foreact.core.errors import ForeactError
from foreact.planning.solver import Belief, Draw, Solver

_FIRST, _SECOND = 0.9, 0.999  # Adam's decay rates


@dataclass(frozen=True)
class Descent:
    """Where the plans are, (B, S, K, A), Adam's two moments of their gradients, and steps taken; none before the first draw."""

    start: Belief
    plans: Tensor | None = None
    first: Tensor | None = None
    second: Tensor | None = None
    steps: int = 0


@dataclass(frozen=True, kw_only=True)
class Gradient(Solver):
    """Each candidate goes downhill on its own, and stays between the bounds.

    Attributes:
        rate: how far a plan goes in one step; 1 is half the way between the bounds.
    """

    differentiates: ClassVar[bool] = True

    samples: int = 8
    rate: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.rate > 0:
            raise ForeactError(f"the gradient's rate must be above 0, not {self.rate:g}")

    def begin(self, first: Tensor) -> Descent:
        """See `Solver`."""
        return Descent(super().begin(first))

    def propose(self, belief: Descent, draw: Draw) -> Tensor:
        """See `Solver`."""
        plans = self.around(belief.start, draw) if belief.plans is None else belief.plans
        return plans.detach().requires_grad_()

    def refit(self, belief: Descent, candidates: Tensor, costs: Tensor) -> Descent:
        """See `Solver`; a candidate whose gradient is no number stays where it is."""
        (slope,) = torch.autograd.grad(costs.sum(), candidates)
        slope, plans, steps = slope.nan_to_num(0.0, 0.0, 0.0), candidates.detach(), belief.steps + 1
        first = slope * (1 - _FIRST) if belief.first is None else belief.first.lerp(slope, 1 - _FIRST)
        squared = slope.square()
        second = squared * (1 - _SECOND) if belief.second is None else belief.second.lerp(squared, 1 - _SECOND)
        step = (first / (1 - _FIRST**steps)) / ((second / (1 - _SECOND**steps)).sqrt() + 1e-12)
        return Descent(belief.start, (plans - self.rate * step).clamp(-1, 1), first, second, steps)
