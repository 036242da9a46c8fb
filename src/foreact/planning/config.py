"""All that a planner can be asked, as numbers and words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from foreact.dreams.dream import Dream
from foreact.planning.bounds import Bounds
from foreact.planning.judging import Imagined, Judge, Risk
from foreact.planning.objectives import parse_objective
from foreact.planning.planner import Planner
from foreact.planning.search import Budget
from foreact.planning.solvers import make_solver


@dataclass(frozen=True, kw_only=True)
class PlannerConfig:
    """A planner, whatever the world model.

    Attributes:
        solver: of `SOLVERS`.
        options: of the solver, by name, such as samples.
        objective: see `parse_objective`.
        iterations, seconds: budget of each plan; seconds set no limit if None.
        horizon: actions that are looked ahead.
        execute: actions that are executed before it plans again.
        chunk: actions per prediction; as many as are executed, within the model's horizon, if None.
        knots: of a plan, joined by straight lines; one for each action if None.
        futures: of each candidate.
        worst: plan for the worst future, in the place of the mean.
        spread: weight of the spread of the futures' costs.
        warm: begin with what is left of the last plan.
        batch: dreams at a time.
        seed: of all that is random, beside the seeds of the episodes.
    """

    solver: str = "cem"
    options: tuple[tuple[str, Any], ...] = ()
    objective: str = "l2"
    iterations: int = 5
    seconds: float | None = None
    horizon: int = 10
    execute: int = 5
    chunk: int | None = None
    knots: int | None = None
    futures: int = 1
    worst: bool = False
    spread: float = 0.0
    warm: bool = True
    batch: int = 256
    seed: int = 0

    def judging(self, dream: Dream) -> dict[str, Any]:
        """The arguments of `Imagined`."""
        return {
            "dream": dream,
            "objective": parse_objective(self.objective),
            "risk": Risk(futures=self.futures, worst=self.worst, spread=self.spread),
            "chunk": self.chunk or min(self.execute, dream.horizon),
            "batch": self.batch,
        }

    def planner(
        self, dream: Dream, bounds: Bounds, *, judge: Judge | None = None, camera: str | None = None
    ) -> Planner:
        """A planner in this dream, or with another judge.

        Raises:
            ForeactError: something in it that means nothing, or a dream that has no encoder or cannot do it.
        """
        return Planner(
            judge or Imagined(**self.judging(dream)),
            make_solver(self.solver, **dict(self.options)),
            bounds,
            budget=Budget(iterations=self.iterations, seconds=self.seconds),
            horizon=self.horizon,
            execute=self.execute,
            knots=self.knots,
            warm=self.warm,
            camera=camera,
            seed=self.seed,
        )
