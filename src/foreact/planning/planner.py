"""The policy that plans: search, execute some of what was found, look, search again from there.

    planner = Planner(Imagined(dream=load("runs/push/rla-wm")), make_solver("cem"), Bounds.of(actions))
    planner.reset([0])
    chunk = planner.act({"observation.images.top": frame, GOAL: goal_picture})

Shape legend: B observations, K knots of a plan, A action dimension.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from foreact.core.contracts import Observation
from foreact.core.errors import ForeactError
from foreact.planning.bounds import Bounds
from foreact.planning.judging import Judge, Measuring, future_seeds
from foreact.planning.search import Budget, Plan, knots_to_steps, search
from foreact.planning.solver import Solver

GOAL = "goal.image"
"""What the camera is to see: uint8, as large as the camera's pictures."""
GOAL_STEPS = "goal.steps"
"""In how many actions from now, (B,); where it is not in the observation, the planner looks as far ahead as it can."""
_CAMERAS = "observation.images."


@dataclass(kw_only=True)
class _Row:
    """What is remembered of an episode.

    Attributes:
        seed: of all that is random in it.
        plans: made so far, in so many `seconds`.
        seen: the picture before the last one, its `actions` (T, A), and their `cost`.
    """

    seed: int
    plans: int = 0
    seconds: float = 0.0
    seen: np.ndarray
    actions: np.ndarray
    cost: float = 0.0


class Planner:
    """A `Policy` that reaches the goal picture in its observations.

    Args:
        judge: says what candidates cost, such as `Imagined`.
        solver: searches.
        bounds: of the actions.
        budget: of each search.
        horizon: actions looked ahead, at most.
        execute: of which so many are executed before it looks again.
        knots: of a plan, joined by straight lines; one for each action if None.
        warm: whether a search begins with what is left of the last plan.
        camera: full name of the camera that is looked at; the only one if None.
        seed: of all that is random, beside the seeds of the episodes.

    Attributes:
        plan: the last one, with its diagnostics.

    Raises:
        ForeactError: a horizon of nothing, more to execute than is planned, or no knot.
    """

    plan: Plan

    def __init__(
        self,
        judge: Judge,
        solver: Solver,
        bounds: Bounds,
        *,
        budget: Budget | None = None,
        horizon: int = 10,
        execute: int = 5,
        knots: int | None = None,
        warm: bool = True,
        camera: str | None = None,
        seed: int = 0,
    ) -> None:
        if not 1 <= execute <= horizon or (knots is not None and knots < 1):
            raise ForeactError(
                f"a planner executes at least 1 and at most all of the actions it plans, and has a knot: not {execute} of "
                f"{horizon} with {knots} knots"
            )
        self.judge, self.solver, self.bounds, self.budget = judge, solver, bounds, budget or Budget()
        self.horizon, self.execute, self.knots, self.warm, self.camera = horizon, execute, knots, warm, camera
        self.seed = seed
        self.reset()

    def reset(self, seeds: Sequence[int] | None = None) -> None:
        """Begin episodes; what is random in each follows from its seed."""
        none = np.empty((0, self.bounds.action_dim))
        self._rows = [_Row(seed=int(seed), seen=none, actions=none) for seed in (seeds if seeds is not None else [0])]

    def act(self, observation: Observation) -> np.ndarray:
        """The next actions of the best plans, (B, H, A), or (H, A) for one observation; H is the horizon.

        A plan that ends before, because the goal is nearer, goes on with its last action.

        Raises:
            ForeactError: no goal, one of another size than the camera's pictures, or more observations than episodes.
        """
        now, goal, left = self._look(observation)
        alone = now.ndim == 3
        if alone:
            now, goal = now[None], goal[None]
        if len(now) != len(self._rows):
            raise ForeactError(
                f"{len(now)} observations for {len(self._rows)} episodes: reset the planner with their seeds"
            )
        steps = np.clip(np.broadcast_to(self.horizon if left is None else left, len(now)), 1, self.horizon)
        chunk = np.empty((len(now), self.horizon, self.bounds.action_dim))
        for count in np.unique(steps):  # rows whose goals are equally far are searched together
            rows = np.flatnonzero(steps == count)
            found = self._search(now[rows], goal[rows], rows, int(count))
            chunk[rows, :count], chunk[rows, count:] = found, found[:, -1:]
        return chunk[0] if alone else chunk

    def told(self, last: Observation) -> list[dict[str, float]]:
        """Of each episode: seconds per plan (of plans that were made together, a share), and what the last one was to cost, and did.

        Args:
            last: what has come of it.
        """
        told = [{"seconds_per_plan": row.seconds / row.plans, "imagined_cost": row.cost} for row in self._rows]
        if isinstance(self.judge, Measuring):
            end, goal, _ = self._look(last)
            if end.ndim == 3:
                end, goal = end[None], goal[None]
            real = self.judge.measure(np.stack([row.seen for row in self._rows]), end, goal)
            told = [{**row, "real_cost": float(cost)} for row, cost in zip(told, real, strict=True)]
        return told

    def _search(self, now: np.ndarray, goal: np.ndarray, which: np.ndarray, steps: int) -> np.ndarray:
        """The best actions (B, T, A) of these rows."""
        rows = [self._rows[k] for k in which]
        seeds = [future_seeds((self.seed, row.seed), row.plans + 1)[-1] for row in rows]
        first = torch.stack([self._first(row, steps) for row in rows])
        begun = time.perf_counter()
        self.plan = search(
            self.judge.costs(now, goal, seeds),
            self.solver,
            first,
            steps=steps,
            bounds=self.bounds,
            budget=self.budget,
            seeds=seeds,
        )
        seconds = (time.perf_counter() - begun) / len(rows)
        for row, seen, actions, cost in zip(rows, now, self.plan.actions, self.plan.cost, strict=True):
            row.plans, row.seconds = row.plans + 1, row.seconds + seconds
            row.seen, row.actions, row.cost = seen, actions, float(cost)
        return self.plan.actions

    def _first(self, row: _Row, steps: int) -> torch.Tensor:
        """Where the search begins, (K, A): what is left of the last plan, else the recordings' mean action."""
        left = row.actions[self.execute :] if self.warm else row.actions[:0]
        left = left if len(left) else self.bounds.middle[None]
        actions = left[np.minimum(np.arange(steps), len(left) - 1)]
        return knots_to_steps(steps, min(self.knots or steps, steps)) @ self.bounds.units(actions)

    def _look(self, observation: Observation) -> tuple[np.ndarray, np.ndarray, Any]:
        """Pictures of now and of the goal, and how many actions are left."""
        cameras = [name for name in observation if name.startswith(_CAMERAS)]
        camera = self.camera or (cameras[0] if len(cameras) == 1 else None)
        if camera is None or camera not in observation:
            raise ForeactError(
                f"the planner looks at {camera or 'one camera'}, the observation has {', '.join(cameras)}"
            )
        if GOAL not in observation:
            raise ForeactError(f"the observation has no goal: a planner needs a picture under {GOAL!r}")
        now, goal = np.asarray(observation[camera]), np.asarray(observation[GOAL])
        if goal.shape != now.shape or goal.dtype != np.uint8:
            raise ForeactError(
                f"the goal picture is {goal.dtype} {goal.shape}, the camera's are {now.dtype} {now.shape}: take a picture of the same "
                "camera in the same size"
            )
        return now, goal, observation.get(GOAL_STEPS)
