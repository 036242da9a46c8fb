"""What imagined and real environments share: chunks of actions, one reward each, episodes that begin again by themselves.

An environment that ended is reset in the same step (`AutoresetMode.SAME_STEP`): the observation is that of the new episode, the
last one of the old episode is `infos["final_obs"]`. Truncation is apart from termination. Everything random in an episode is a
function of (the environment's seed, the number of its episode), so that it does not depend on who else is there.

Shape legend: n environments, E actions of a chunk, A action dimension.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from foreact.core.errors import ForeactError

Seen = dict[str, np.ndarray]
"""Observations by name, with a row for each environment."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a chunk in every environment, (n,) each.

    Attributes:
        reward: of the chunk.
        terminated: the task ended the episode: nothing is to come.
        truncated: time ended it: what would have come counts.
        info: further numbers.
    """

    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    info: Mapping[str, np.ndarray] = field(default_factory=dict)


class ChunkVectorEnv(VectorEnv[Any, Any, Any]):
    """Environments that take a chunk of actions in each step.

    Args:
        num_envs: n.
        observation: the space of one environment's observation.
        low, high: bounds of an action, (A,), in the units of the recordings.
        chunk: E.
    """

    metadata = {"render_modes": ["rgb_array"], "autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012, Gymnasium's own

    def __init__(
        self, num_envs: int, observation: spaces.Dict, low: np.ndarray, high: np.ndarray, *, chunk: int
    ) -> None:
        if num_envs < 1 or chunk < 1:
            raise ForeactError(
                f"there must be at least one environment and one action a chunk, not {num_envs} and {chunk}"
            )
        self.num_envs, self.chunk = num_envs, chunk
        self.single_observation_space = observation
        self.observation_space = batch_space(observation, num_envs)
        lowest, highest = (np.tile(bound.astype(np.float32), (chunk, 1)) for bound in (low, high))
        self.single_action_space = spaces.Box(lowest, highest, dtype=np.float32)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._seeds: tuple[int, ...] | None = None
        self.episode, self.total = np.full(num_envs, -1), np.zeros(num_envs)
        self.seen: Seen = {}

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Seen, dict[str, Any]]:
        """Begin an episode in every environment.

        Args:
            seed: of each environment, or of the first, where the others count up; without one the next episodes begin.
            options: none are known.

        Raises:
            ForeactError: another number of seeds.
        """
        if seed is not None:
            self.seed_rows(seed)
        elif self._seeds is None:
            self.seed_rows(self.np_random.integers(2**62, size=self.num_envs).tolist())
        rows = np.arange(self.num_envs)
        self._begin(rows)
        self.seen = self.look(rows)
        return self.seen, {}

    def seed_rows(self, seed: int | Sequence[int]) -> None:
        """Give every environment its seed, see `reset`; its next episode is its first one."""
        seeds = tuple(seed + k for k in range(self.num_envs)) if isinstance(seed, int | np.integer) else tuple(seed)
        if len(seeds) != self.num_envs:
            raise ForeactError(f"{self.num_envs} environments need as many seeds, not {len(seeds)}")
        super().reset(seed=int(seeds[0]))
        self._seeds = tuple(map(int, seeds))
        self.episode[:] = -1

    def step(self, actions: np.ndarray) -> tuple[Seen, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Take a chunk (n, E, A) in every environment; see the module for what happens where an episode ends.

        Raises:
            ForeactError: actions of another shape or not finite, or environments that were not reset.
        """
        actions = self._checked(actions)
        outcome = self.advance(actions)
        ended, every = outcome.terminated | outcome.truncated, np.ones(self.num_envs, dtype=bool)
        self.total += outcome.reward
        infos: dict[str, Any] = {}
        for name, told in {**outcome.info, "return": self.total.copy()}.items():
            infos |= {name: told, f"_{name}": every}
        self.seen = self.look(np.arange(self.num_envs))
        if ended.any():
            masks = {f"_{name}": ended for name in self.seen}
            infos |= {"final_obs": {**self.seen, **masks}, "_final_obs": ended}
            rows = np.flatnonzero(ended)
            self._begin(rows)
            begun = self.look(rows)
            self.seen = {name: _replaced(values, rows, begun[name]) for name, values in self.seen.items()}
        return self.seen, outcome.reward, outcome.terminated, outcome.truncated, infos

    @abstractmethod
    def begin(self, row: int, seed: int, episode: int) -> None:
        """Begin an episode of an environment; all that is random in it follows from the two numbers."""

    @abstractmethod
    def advance(self, actions: np.ndarray) -> Outcome:
        """Carry out a chunk (n, E, A), float64, in every environment."""

    @abstractmethod
    def look(self, rows: np.ndarray) -> Seen:
        """What environments see now, a row for each of `rows`."""

    @abstractmethod
    def now(self) -> dict[str, Tensor]:
        """Where the episodes are that `begin` began."""

    @abstractmethod
    def go_to(self, now: Mapping[str, Tensor]) -> None:
        """Inverse of `now`, after `begin`."""

    def state(self) -> dict[str, Tensor]:
        """What `restore` needs to go on from here, to the bit."""
        own = {"episode": torch.from_numpy(self.episode), "total": torch.from_numpy(self.total)}
        seen = {f"seen/{name}": torch.from_numpy(values) for name, values in self.seen.items()}
        return {name: value.clone() for name, value in {**own, **seen, **self.now()}.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from where `state` was told, after `seed_rows` with the same seeds."""
        self.episode, self.total = state["episode"].numpy().copy(), state["total"].numpy().copy()
        for row, episode in enumerate(self.episode.tolist()):
            self.begin(row, self.seed_of(row), episode)
        self.go_to(state)
        self.seen = {k.removeprefix("seen/"): v.numpy() for k, v in state.items() if k.startswith("seen/")}

    def seed_of(self, row: int) -> int:
        """Of an environment."""
        if self._seeds is None:
            raise ForeactError("the environments were not reset: call reset before step")
        return self._seeds[row]

    def _begin(self, rows: np.ndarray) -> None:
        self.episode[rows] += 1
        self.total[rows] = 0
        for row in rows.tolist():
            self.begin(row, self.seed_of(row), int(self.episode[row]))

    def _checked(self, actions: np.ndarray) -> np.ndarray:
        self.seed_of(0)
        actions, wanted = np.asarray(actions, dtype=np.float64), self.action_space.shape
        if actions.shape != wanted:
            raise ForeactError(f"actions must be {wanted} here, not {actions.shape}")
        if not np.isfinite(actions).all():
            raise ForeactError("the actions hold NaN or infinite values")
        return actions


def _replaced(values: np.ndarray, rows: np.ndarray, begun: np.ndarray) -> np.ndarray:
    changed = values.copy()
    changed[rows] = begun
    return changed


def box_of(shape: tuple[int, ...], *, pictures: bool) -> spaces.Box:
    """The space of pictures uint8, or of numbers in the precision of token caches."""
    return spaces.Box(0, 255, shape, np.uint8) if pictures else spaces.Box(-np.inf, np.inf, shape, np.float16)
