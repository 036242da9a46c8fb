"""The one loop of all solvers: propose, imagine what comes of it, learn from the costs; again, until the budget is spent.

Shape legend: B rows, S candidates, K knots, T actions of a plan, A action dimension, I iterations.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from foreact.core.errors import ForeactError
from foreact.dreams.dream import row_generator
from foreact.planning.bounds import Bounds
from foreact.planning.solver import Solver, best_of

Cost = Callable[[Tensor], Tensor]
"""Candidates (B, S, T, A) in the units of the recordings -> what each costs, (B, S)."""
_ELITE = 0.1  # share of the candidates whose costs the diagnostics compare


@dataclass(frozen=True, kw_only=True)
class Budget:
    """When a search ends; at least one iteration is done.

    Attributes:
        iterations: at most so many.
        seconds: after the iteration in which so many are over; None sets no limit.

    Raises:
        ForeactError: nothing to spend.
    """

    iterations: int = 5
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.iterations < 1 or (self.seconds is not None and not self.seconds > 0):
            raise ForeactError(
                f"a budget of {self.iterations} iterations and {self.seconds} seconds is none: both must be above 0"
            )


@dataclass(frozen=True, kw_only=True)
class Diagnostics:
    """What a search did, in the same form for every solver.

    Attributes:
        cost: of the best plan up to each iteration, (I, B).
        elite_spread: standard deviation of the costs of each iteration's cheapest tenth, (I, B).
        seconds: gone after each iteration, (I,).
    """

    cost: np.ndarray
    elite_spread: np.ndarray
    seconds: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The best that was found.

    Attributes:
        actions: (B, T, A) in the units of the recordings.
        cost: what they cost, (B,).
        diagnostics: of the search.
    """

    actions: np.ndarray
    cost: np.ndarray
    diagnostics: Diagnostics


def search(
    cost: Cost, solver: Solver, first: Tensor, *, steps: int, bounds: Bounds, budget: Budget, seeds: Sequence[int]
) -> Plan:
    """Search the actions that cost least.

    Args:
        cost: of candidates; one whose cost is no number is the last choice.
        solver: proposes and learns.
        first: guess from which it begins, (B, K, A), -1 and 1 being the bounds; its K knots are joined by straight lines.
        steps: T.
        bounds: of the actions.
        budget: when it ends.
        seeds: one per row, which all that is random in the row follows from.

    Raises:
        ForeactError: a row in which no candidate's cost is a number.
    """
    begun, device, lines = time.perf_counter(), first.device, knots_to_steps(first.shape[1], steps).to(first.device)
    generators = [row_generator(seed, 0) for seed in seeds]

    def draw(*shape: int) -> Tensor:
        return torch.stack([torch.randn(*shape, generator=g) for g in generators]).to(device)

    belief, told = solver.begin(first), []
    best, least = first, torch.full((len(first),), math.inf, device=device)
    for _ in range(budget.iterations):
        with torch.set_grad_enabled(solver.differentiates):
            candidates = solver.propose(belief, draw)
            costs = _finite(cost(bounds.actions(lines @ candidates)).to(device))
            belief = solver.refit(belief, candidates, costs)
        costs, candidates = costs.detach(), candidates.detach()
        elites, cheapest = best_of(candidates, costs, max(2, round(_ELITE * solver.samples)))
        better = cheapest[:, 0] < least
        best = torch.where(better[:, None, None], elites[:, 0], best)
        least = torch.where(better, cheapest[:, 0], least)
        told.append((least, cheapest.std(dim=1, unbiased=False), time.perf_counter() - begun))
        if budget.seconds is not None and told[-1][2] >= budget.seconds:
            break
    curve, spread = (torch.stack(values).cpu().numpy() for values in list(zip(*told))[:2])
    return Plan(
        actions=bounds.actions(lines @ best).cpu().numpy(),
        cost=least.cpu().numpy(),
        diagnostics=Diagnostics(cost=curve, elite_spread=spread, seconds=np.array([seconds for *_, seconds in told])),
    )


def knots_to_steps(knots: int, steps: int) -> Tensor:
    """The weights (T, K) with which knots, evenly spread over the steps, are joined by straight lines."""
    if knots == 1:
        return torch.ones(steps, 1)
    place = torch.linspace(0, knots - 1, steps)
    return (1 - (place[:, None] - torch.arange(knots)).abs()).clamp_min(0)


def _finite(costs: Tensor) -> Tensor:
    """Costs (B, S) in which what is no number is above all that are."""
    known = costs.isfinite()
    if not known.any(dim=1).all():
        raise ForeactError(
            "no candidate's cost is a number: look at the objective, and at what the world model imagines"
        )
    worst = costs.detach().masked_fill(~known, -math.inf).amax(dim=1, keepdim=True)
    return torch.where(known, costs, worst + worst.abs() + 1)
