"""What a solver is: where a search begins, which candidates it proposes, and what it makes of their costs.

Plans are in units in which -1 and 1 are the bounds of actions. A solver is a value without memory: what it has learnt is its
belief, which the loop (`search.search`) hands from one iteration to the next.

Shape legend: B rows, S candidates, K knots of a plan, A action dimension.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from foreact.core.errors import ForeactError

Draw = Callable[..., Tensor]
"""Numbers (B, *shape) of a standard normal distribution; row b's follow from its own seed."""


@dataclass(frozen=True)
class Belief:
    """A normal distribution of plans: mean and standard deviation, (B, K, A) each."""

    mean: Tensor
    deviation: Tensor


@dataclass(frozen=True, kw_only=True)
class Solver(ABC):
    """The options that all solvers share.

    Attributes:
        differentiates: whether it needs the costs' gradients.
        samples: S, candidates per iteration.
        deviation: of the first candidates; 1 is half the way between the bounds.

    Raises:
        ForeactError: nothing to sample, or no deviation.
    """

    differentiates: ClassVar[bool] = False

    samples: int = 64
    deviation: float = 0.5

    def __post_init__(self) -> None:
        if self.samples < 1 or not self.deviation > 0:
            raise ForeactError(
                f"a solver needs at least one sample and a deviation above 0, not {self.samples} and {self.deviation:g}"
            )

    def begin(self, first: Tensor) -> Any:
        """What is believed before anything is tried, from a first guess (B, K, A)."""
        return Belief(first, torch.full_like(first, self.deviation))

    @abstractmethod
    def propose(self, belief: Any, draw: Draw) -> Tensor:
        """Candidates (B, S, K, A) within [-1, 1]; the first is the best guess."""

    @abstractmethod
    def refit(self, belief: Any, candidates: Tensor, costs: Tensor) -> Any:
        """What is believed after candidates (B, S, K, A) cost (B, S)."""

    def around(self, belief: Belief, draw: Draw) -> Tensor:
        """The mean, and candidates drawn about it."""
        noise = draw(self.samples, *belief.mean.shape[1:])
        noise[:, 0] = 0
        return (belief.mean[:, None] + belief.deviation[:, None] * noise).clamp(-1, 1)


def best_of(candidates: Tensor, costs: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The cheapest candidates (B, count, K, A) and their costs (B, count)."""
    chosen = costs.argsort(dim=1, stable=True)[:, :count]
    rows = torch.arange(len(costs), device=costs.device)[:, None]
    return candidates[rows, chosen], costs[rows, chosen]
