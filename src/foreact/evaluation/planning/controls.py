"""What a planner is compared with: the recorded actions, the same planner in the real simulator, and in a world that stands still."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foreact.core.batch import Batch
from foreact.core.config import ModelConfig
from foreact.core.contracts import Observation
from foreact.core.errors import ForeactError
from foreact.envs.env import RobotEnv
from foreact.envs.world import PlaceableWorld
from foreact.evaluation.planning.goals import RecordedGoalEnv
from foreact.planning.judging import Imagined
from foreact.planning.search import Cost


class Recorded:
    """The recording's own actions, which lead to the goal."""

    def __init__(self, env: RobotEnv) -> None:
        if not isinstance(env, RecordedGoalEnv):
            raise ForeactError("recorded actions lead to goals of recordings alone: leave out the task and pictures")
        self._env = env

    def reset(self, seeds: Sequence[int] | None = None) -> None:
        """See `Policy`."""

    def act(self, observation: Observation) -> np.ndarray:
        """All actions from start to goal, (H, A)."""
        return self._env.goal.actions[self._env.goal.start :]


class Persistence:
    """A `WorldModel` in which nothing ever happens: what a planner does without foresight.

    Args:
        config: of the world model whose place it takes.
    """

    stochastic = False

    def __init__(self, config: ModelConfig) -> None:
        self.config = config

    def draw_noise(self, batch: int, generator: torch.Generator) -> Tensor:
        """None, (B, 0)."""
        return torch.zeros(batch, 0)

    def predict(self, tokens: Tensor, actions: Tensor, lengths: Tensor, noise: Tensor) -> Tensor:
        """Now, (B, N, C)."""
        return tokens

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """There is nothing to learn."""
        return {"loss": torch.zeros(())}


@dataclass(frozen=True, kw_only=True)
class InSimulator(Imagined):
    """Judges plans of one environment by carrying them out in it and going back: the upper bound of all world models.

    Attributes:
        world: the environment's.
        camera: full name of the one that is looked at.
    """

    world: PlaceableWorld
    camera: str

    def costs(self, now: np.ndarray, goal: np.ndarray, seeds: Sequence[int]) -> Cost:
        """See `Judge`; B is 1."""
        start, end = self.dream.encode(now), self.dream.encode(goal)

        def cost(plans: Tensor) -> Tensor:
            snapshot = self.world.snapshot()
            seen = np.stack([self._carry_out(plan.cpu().numpy(), snapshot) for plan in plans[0]])
            self.world.place(snapshot)
            future = self.dream.encode(seen.reshape(-1, *seen.shape[2:])).unflatten(0, seen.shape[:2])
            S = len(seen)
            return self.objective(future, end.expand(S, -1, -1), start.expand(S, -1, -1))[None]

        return cost

    def _carry_out(self, plan: np.ndarray, snapshot: Any) -> np.ndarray:
        """Pictures (M, height, width, 3) after each chunk of a plan (T, A)."""
        self.world.place(snapshot)
        pictures = []
        for number, action in enumerate(plan, 1):
            self.world.act(action.astype(np.float64))
            if number % self.chunk == 0 or number == len(plan):
                pictures.append(self.world.pictures()[self.camera])
        return np.stack(pictures)
