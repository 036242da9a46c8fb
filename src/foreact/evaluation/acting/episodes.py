"""Episodes of a policy in environments that run side by side, drawn only when the policy looks.

Shape legend: B environments, H actions of a chunk, A action dimension.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np

from foreact.core.contracts import Observation, Policy
from foreact.core.errors import ForeactError
from foreact.envs.env import RobotEnv


@dataclass(frozen=True, kw_only=True)
class Episode:
    """What came of one episode.

    Attributes:
        seed: of the environment and of the policy.
        success: whether the task was done.
        length: actions taken.
        reward: sum over the episode.
        measures: largest value of each further number that the environment tells, such as coverage.
        crash: what broke it; empty where nothing did.
    """

    seed: int
    success: bool = False
    length: int = 0
    reward: float = 0.0
    measures: Mapping[str, float] = field(default_factory=dict)
    crash: str = ""


@runtime_checkable
class Telling(Protocol):
    """A policy that measures something itself."""

    def told(self, last: Observation) -> list[Mapping[str, float]]:
        """Further measures of each episode, given what came of it, (B, ...)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How a policy's chunks are carried out.

    Attributes:
        execute: actions of each chunk; all, or as many as the policy says, if None.
        delay: actions for which an observation has grown old when the policy sees it.
    """

    execute: int | None = None
    delay: int = 0

    def count(self, policy: Policy, horizon: int) -> int:
        """Of a chunk of `horizon` actions, how many are executed.

        Raises:
            ForeactError: more than there are.
        """
        wanted = self.execute or getattr(policy, "execute", None) or horizon
        if wanted > horizon:
            raise ForeactError(f"--execute {wanted}: this policy predicts {horizon} actions at a time")
        return int(wanted)


def play(
    envs: Sequence[RobotEnv],
    policy: Policy,
    seeds: Sequence[int],
    execution: Execution,
    *,
    on_frame: Callable[[int, np.ndarray], None] | None = None,
) -> list[Episode]:
    """One episode of each seed, each in an environment of its own; what one does changes nothing for the others.

    Args:
        envs: at least as many as seeds.
        policy: sees all environments at once, those that are done as they were last.
        seeds: of the episodes.
        execution: how chunks are carried out.
        on_frame: called with (row, picture) before the first action and after each.

    Raises:
        ForeactError: actions of a wrong shape or not finite.
    """
    rows = [_Row(env, seed, execution.delay, on_frame, number) for number, (env, seed) in enumerate(zip(envs, seeds))]
    policy.reset(list(seeds))
    while any(not row.done for row in rows):
        chunk = np.asarray(policy.act(stack([row.seen for row in rows])))
        if chunk.ndim != 3 or len(chunk) != len(rows):
            raise ForeactError(
                f"the policy gave actions of shape {chunk.shape} for {len(rows)} environments, not (B, H, A)"
            )
        count = execution.count(policy, chunk.shape[1])
        for row, actions in zip(rows, chunk, strict=True):
            row.carry_out(actions[:count])
    if isinstance(policy, Telling):
        for row, told in zip(rows, policy.told(stack([row.look() for row in rows])), strict=True):
            row.episode = replace(row.episode, measures={**row.episode.measures, **told})
    return [row.episode for row in rows]


class _Row:
    """One environment on its way through an episode."""

    def __init__(
        self,
        env: RobotEnv,
        seed: int,
        delay: int,
        on_frame: Callable[[int, np.ndarray], None] | None,
        number: int,
    ) -> None:
        self._env, self._delay, self._on_frame, self._number = env, delay, on_frame, number
        self.episode, self.done, self._step = Episode(seed=seed), False, 0
        self.seen: Observation = env.reset(seed=seed)[0]
        self._looks: deque[tuple[int, Observation]] = deque()
        self._show()

    def carry_out(self, actions: np.ndarray) -> None:
        """Execute actions (K, A), and see what the policy will see next."""
        end = self._step + len(actions)
        for action in actions:
            if self.done:
                return
            self._advance(action)
            if not self.done and (self._step + self._delay - end) % len(actions) == 0:
                self._looks.append((self._step + self._delay, self._env.observe()))
        while self._looks and self._looks[0][0] <= self._step:
            self.seen = self._looks.popleft()[1]

    def look(self) -> Observation:
        """What there is to see now."""
        return self._env.observe()

    def _advance(self, action: np.ndarray) -> None:
        reward, terminated, truncated, info = self._env.advance(action)
        self._step += 1
        told = {k: float(v) for k, v in info.items() if k != "success"}
        known = self.episode.measures
        self.episode = Episode(
            seed=self.episode.seed,
            success=bool(info["success"]),
            length=self._step,
            reward=self.episode.reward + reward,
            measures={k: max(v, known.get(k, v)) for k, v in told.items()},
        )
        self.done = terminated or truncated
        self._show()

    def _show(self) -> None:
        if self._on_frame:
            self._on_frame(self._number, self._env.render())


def stack(observations: Sequence[Observation]) -> dict[str, Any]:
    """Observations of single environments as one with B rows."""
    first = observations[0]
    return {
        name: [o[name] for o in observations]
        if isinstance(first[name], str)
        else np.stack([o[name] for o in observations])
        for name in first
    }
