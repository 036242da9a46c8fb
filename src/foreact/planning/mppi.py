"""Model-predictive path integral control: all candidates count, the cheaper the more (Williams et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from foreact.core.errors import ForeactError
from foreact.planning.solver import Belief, Draw, Solver


@dataclass(frozen=True, kw_only=True)
class MPPI(Solver):
    """Weights are exp(-cost / temperature), costs in units of their own spread, so that one temperature suits all objectives.

    Attributes:
        temperature: smaller, and fewer candidates count.
        cooling: factor of the candidates' spread from one iteration to the next.
    """

    temperature: float = 0.2
    cooling: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.temperature > 0 or not 0 < self.cooling <= 1:
            raise ForeactError(
                f"MPPI needs a temperature above 0 and a cooling above 0 and up to 1, not {self.temperature:g} and {self.cooling:g}"
            )

    def propose(self, belief: Belief, draw: Draw) -> Tensor:
        """See `Solver`."""
        return self.around(belief, draw)

    def refit(self, belief: Belief, candidates: Tensor, costs: Tensor) -> Belief:
        """See `Solver`."""
        spread = costs.std(dim=1, keepdim=True, unbiased=False).clamp_min(1e-12)
        weights = torch.softmax(-costs / (self.temperature * spread), dim=1)
        return Belief((weights[..., None, None] * candidates).sum(dim=1), self.cooling * belief.deviation)
