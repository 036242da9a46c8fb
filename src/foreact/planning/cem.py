"""The cross-entropy method: the next candidates are drawn from the mean and spread of the cheapest ones (Rubinstein 1999)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from foreact.core.errors import ForeactError
from foreact.planning.solver import Belief, Draw, Solver, best_of


@dataclass(frozen=True, kw_only=True)
class CEM(Solver):
    """DINO-WM's planner, which has 300 samples and 30 elites.

    Attributes:
        elites: how many of the cheapest candidates are looked at; a tenth of them if None.
        momentum: how much of the earlier mean and spread is kept.
        least_deviation: below which the spread does not fall.
    """

    elites: int | None = None
    momentum: float = 0.0
    least_deviation: float = 0.02

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.count <= self.samples or not 0 <= self.momentum < 1:
            raise ForeactError(
                f"CEM needs 1 to {self.samples} elites of its {self.samples} samples and a momentum below 1, "
                f"not {self.count} and {self.momentum:g}"
            )

    @property
    def count(self) -> int:
        """Of elites."""
        return -(-self.samples // 10) if self.elites is None else self.elites

    def propose(self, belief: Belief, draw: Draw) -> Tensor:
        """See `Solver`."""
        return self.around(belief, draw)

    def refit(self, belief: Belief, candidates: Tensor, costs: Tensor) -> Belief:
        """See `Solver`."""
        elites, _ = best_of(candidates, costs, self.count)
        mean, deviation = elites.mean(dim=1), elites.std(dim=1, unbiased=False).clamp_min(self.least_deviation)
        return Belief(mean.lerp(belief.mean, self.momentum), deviation.lerp(belief.deviation, self.momentum))
