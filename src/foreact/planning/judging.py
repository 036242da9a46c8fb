"""What plans cost in the imagination: every candidate is dreamt, all of them with the same noise.

Shape legend: B rows, S candidates, F futures of each, R = B * S * F dreams, T actions of a plan, N patch tokens, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from foreact.core.errors import ForeactError
from foreact.dreams.dream import Dream
from foreact.planning.objectives import Objective, TokenDistance
from foreact.planning.search import Cost


class Judge(Protocol):
    """Says what candidates cost."""

    def costs(self, now: np.ndarray, goal: np.ndarray, seeds: Sequence[int]) -> Cost:
        """The cost of plans that begin now and are to end at the goal.

        Args:
            now, goal: pictures, uint8 (B, height, width, 3).
            seeds: one per row, of what cannot be foreseen.
        """
        ...


@runtime_checkable
class Measuring(Protocol):
    """A judge that can say what has really come of a plan."""

    def measure(self, start: np.ndarray, end: np.ndarray, goal: np.ndarray) -> np.ndarray:
        """What it costs, (B,), that pictures (B, height, width, 3) at the start became those at the end: as of an imagined end."""
        ...


@dataclass(frozen=True, kw_only=True)
class Risk:
    """What is made of the costs of several futures.

    Attributes:
        futures: F, drawn for each candidate; the noise of the f-th is the same for all candidates.
        worst: look at the dearest of them, in the place of the mean.
        spread: weight of their standard deviation, which is added.

    Raises:
        ForeactError: no future, a negative weight, or a spread of a single future.
    """

    futures: int = 1
    worst: bool = False
    spread: float = 0.0

    def __post_init__(self) -> None:
        if self.futures < 1 or not self.spread >= 0:
            raise ForeactError(
                f"plan over at least one future, with a spread of 0 or more, not {self.futures} and {self.spread:g}"
            )
        if self.futures == 1 and (self.worst or self.spread):
            raise ForeactError("the worst of several futures, or their spread, needs at least two of them: --futures 4")

    def weigh(self, costs: Tensor) -> Tensor:
        """Costs (B, S, F) -> (B, S)."""
        if self.futures == 1:
            return costs[..., 0]
        single = costs.amax(dim=-1) if self.worst else costs.mean(dim=-1)
        return single + self.spread * costs.std(dim=-1, unbiased=False) if self.spread else single


@dataclass(frozen=True, kw_only=True)
class Imagined:
    """Judges plans by dreaming them.

    Attributes:
        dream: a world model with its encoder.
        objective: what a future costs.
        risk: what several futures cost.
        chunk: actions per prediction.
        batch: dreams at a time; it changes nothing but time and memory.

    Raises:
        ForeactError: several futures of a deterministic model, or a chunk beyond the model's horizon.
    """

    dream: Dream
    objective: Objective = field(default_factory=TokenDistance)
    risk: Risk = Risk()
    chunk: int = 5
    batch: int = 256

    def __post_init__(self) -> None:
        config: Any = self.dream.world_model.config
        if self.risk.futures > 1 and not self.dream.world_model.stochastic:
            raise ForeactError(f"{config.kind} is deterministic: all of its futures are the same, leave out --futures")
        if not 1 <= self.chunk <= self.dream.horizon or self.batch < 1:
            raise ForeactError(
                f"a chunk of this model has 1 to {self.dream.horizon} actions, not {self.chunk} (and a batch at least 1 dream)"
            )

    def costs(self, now: np.ndarray, goal: np.ndarray, seeds: Sequence[int]) -> Cost:
        """See `Judge`; pictures are encoded once."""
        start, end = self.dream.encode(now), self.dream.encode(goal)
        noises = [future_seeds(seed, self.risk.futures) for seed in seeds]

        def cost(plans: Tensor) -> Tensor:
            B, S, F = *plans.shape[:2], self.risk.futures
            dreams, row = plans.repeat_interleave(F, dim=1).flatten(0, 1), torch.arange(B).repeat_interleave(S * F)
            noise = [seed for futures in noises for seed in futures * S]
            parts = [
                self._dream(dreams[part], start[row[part]], end[row[part]], noise[part])
                for part in (slice(k, k + self.batch) for k in range(0, len(dreams), self.batch))
            ]
            return self.risk.weigh(torch.cat(parts).view(B, S, F))

        return cost

    def measure(self, start: np.ndarray, end: np.ndarray, goal: np.ndarray) -> np.ndarray:
        """See `Measuring`."""
        was, came, wanted = (self.dream.encode(pictures) for pictures in (start, end, goal))
        return self.objective(came[:, None], wanted, was).cpu().numpy()

    def _dream(self, plans: Tensor, start: Tensor, goal: Tensor, seeds: Sequence[int]) -> Tensor:
        """The cost (R,) of dreams from tokens (R, N, C) by plans (R, T, A)."""
        state, seen = self.dream.start(start, seeds), []
        for chunk in plans.split(self.chunk, dim=1):
            state = self.dream.step(state, chunk)
            seen.append(state.tokens)
        return self.objective(torch.stack(seen, dim=1).float(), goal, start)


def future_seeds(seed: int | tuple[int, ...], futures: int) -> list[int]:
    """Seeds of a row's futures."""
    return [int(n) >> 1 for n in np.random.SeedSequence(seed).generate_state(futures, np.uint64)]
