"""A policy's real success, for trainings that happen elsewhere; and simulators to train in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foreact.core.progress import ProgressFactory
from foreact.envs.env import RobotEnv
from foreact.envs.registry import make_env
from foreact.evaluation.acting.act import ActRequest, act
from foreact.evaluation.acting.choosing import image_size_of, require_fit
from foreact.evaluation.results import Results


@dataclass(frozen=True, kw_only=True)
class Arena:
    """A simulator in which policies are judged.

    Attributes:
        env: id.
        options: of the simulator.
        episodes: per judgement.
        seed: of the first episode; no recording may have used it or those that follow.
        workers: processes.
    """

    env: str
    options: dict[str, Any] = field(default_factory=dict)
    episodes: int = 100
    seed: int = 2_000_000
    workers: int = 1

    def play(self, policy: str | Path, out: Path | None, progress: ProgressFactory) -> Results:
        """All episodes of a policy; see `evaluation.acting.act.act`."""
        asked = ActRequest(
            policy=str(policy),
            env=self.env,
            episodes=self.episodes,
            seed=self.seed,
            options=self.options,
            workers=self.workers,
        )
        return act(asked, out, progress)

    def success(self, policy: Path, progress: ProgressFactory) -> float:
        """Share of episodes in which a policy does the task."""
        return next(row.mean for row in self.play(policy, None, progress).rows if row.metric == "success")

    def simulators(self, policy: Path, count: int) -> Sequence[RobotEnv]:
        """As many environments, as the policy sees them.

        Raises:
            ForeactError: a policy that does not fit.
        """
        size = image_size_of(str(policy))
        options = self.options if size is None else {**self.options, "image_size": size}
        envs = [make_env(self.env, **options) for _ in range(count)]
        require_fit(str(policy), envs[0])
        return envs
