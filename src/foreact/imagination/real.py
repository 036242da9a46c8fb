"""Simulators behind the interface of `ImaginedVectorEnv`: the truth that it imitates, and the proof that the plumbing is right.

The reward of a chunk is the sum of the simulator's own; success terminates, the task's own limit of steps truncates.

Shape legend: n environments, E actions of a chunk, A action dimension.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from foreact.envs.env import TASK, RobotEnv
from foreact.imagination.chunked import ChunkVectorEnv, Outcome, Seen


class RealVectorEnv(ChunkVectorEnv):
    """Environments side by side, drawn once per chunk.

    Args:
        envs: one for each row.
        chunk: actions of a step.
    """

    def __init__(self, envs: Sequence[RobotEnv], *, chunk: int) -> None:
        self.envs, spec = envs, envs[0].world.spec
        seen = envs[0].observation_space
        assert isinstance(seen, spaces.Dict)
        space = spaces.Dict({name: box for name, box in seen.items() if name != TASK})  # words are no arrays
        super().__init__(len(envs), space, spec.low, spec.high, chunk=chunk)
        self._taken: list[list[np.ndarray]] = [[] for _ in envs]
        self._begun: dict[int, Any] = {}  # what a reset has drawn, until someone looks

    def begin(self, row: int, seed: int, episode: int) -> None:
        """A scene that follows from seed and episode."""
        scene = int(np.random.SeedSequence((seed, episode)).generate_state(1)[0] >> 1)
        self._begun[row], _ = self.envs[row].reset(seed=scene)
        self._taken[row] = []

    def advance(self, actions: np.ndarray) -> Outcome:
        """Act until the chunk or the episode is over."""
        told = [self._carry_out(row, chunk) for row, chunk in enumerate(actions)]
        reward, terminated, truncated, success = (np.array(part) for part in zip(*told, strict=True))
        return Outcome(reward=reward, terminated=terminated, truncated=truncated, info={"success": success})

    def look(self, rows: np.ndarray) -> Seen:
        """Pictures and states."""
        seen = [self._begun.pop(row, None) or self.envs[row].observe() for row in rows.tolist()]
        return {name: np.stack([one[name] for one in seen]) for name in self.single_observation_space}  # type: ignore[attr-defined]

    def render(self) -> tuple[np.ndarray, ...]:
        """What the first camera of each sees."""
        return tuple(env.render() for env in self.envs)

    def now(self) -> dict[str, Tensor]:
        """The actions since the episodes began: a simulator tells nothing else of where it is."""
        return {f"taken/{row}": torch.from_numpy(np.array(chunks)) for row, chunks in enumerate(self._taken)}

    def go_to(self, now: Mapping[str, Tensor]) -> None:
        """Take the actions again."""
        self._begun.clear()
        for row in range(self.num_envs):
            for chunk in now[f"taken/{row}"].numpy():
                self._carry_out(row, chunk)

    def close_extras(self, **kwargs: object) -> None:
        """Free what the simulators hold."""
        for env in self.envs:
            env.close()

    def _carry_out(self, row: int, actions: np.ndarray) -> tuple[float, bool, bool, bool]:
        self._taken[row].append(actions.copy())
        total = 0.0
        for action in actions:
            reward, terminated, truncated, info = self.envs[row].advance(action)
            total += reward
            if terminated or truncated:
                break
        return total, terminated, truncated, bool(info["success"])
