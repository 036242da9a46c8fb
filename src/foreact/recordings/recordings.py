"""A dataset made ready for training: split, frozen encoder, tokens; and the batches drawn from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from foreact.core.errors import ForeactError
from foreact.core.token_spec import TokenSpec
from foreact.data.lerobot import STATE, LeRobotDataset
from foreact.data.movement import moving_starts, object_positions
from foreact.recordings.pairs import action_statistics
from foreact.recordings.splits import Split
from foreact.recordings.token_cache import TokenCache

_FRAMES_PER_READ = 512
ROBOT = 1  # the embodiment of a dataset's states; 0 is for humans


@dataclass(frozen=True, kw_only=True)
class Recordings:
    """What all training tasks read from."""

    dataset: LeRobotDataset
    split: Split
    cache: TokenCache

    @property
    def tokens(self) -> TokenSpec:
        """The tokens of the frozen encoder."""
        return self.cache.spec

    @cached_property
    def actions(self) -> dict[int, np.ndarray]:
        """Actions (T, A) of the training episodes that have them.

        Raises:
            ForeactError: an action is not finite, also where it is held out.
        """
        both = (*self.split.train, *self.split.validation)
        found = {e: self.dataset.actions(e) for e in both if self.dataset.has_actions(e)}
        return {e: found[e] for e in self.split.train if e in found}

    @cached_property
    def states(self) -> dict[int, np.ndarray]:
        """The robot's states (T, P) of the training episodes; empty where the dataset has none."""
        episodes = self.split.train if self.state_dim else ()
        return {e: self.dataset.column(STATE, e).astype(np.float32) for e in episodes}

    @property
    def state_dim(self) -> int:
        """P, numbers in the robot's state; 0 where the dataset has none."""
        return int(np.prod(self.dataset.features[STATE]["shape"])) if STATE in self.dataset.features else 0

    @cached_property
    def moving(self) -> dict[int, np.ndarray]:
        """Masks (T,) of start frames near movement: of objects where poses are recorded, else of tokens."""
        return dict(zip(self.split.train, moving_starts([self._change(e) for e in self.split.train]), strict=True))

    @cached_property
    def held_out(self) -> Recordings:
        """The same recordings with the held-out episodes in the place of the training ones."""
        split = replace(self.split, train=self.split.validation, validation=self.split.train)
        return replace(self, split=split)

    def require_actions(self) -> dict[int, np.ndarray]:
        """The actions.

        Raises:
            ForeactError: no training episode has any.
        """
        if not self.actions:
            raise ForeactError(
                f"{self.dataset.root} has no episode with actions; a world model needs them (rla does not)"
            )
        return self.actions

    def action_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (A,) of the training actions."""
        mean, std = action_statistics(list(self.require_actions().values()))
        return torch.from_numpy(mean), torch.from_numpy(std)

    def _change(self, episode: int) -> np.ndarray:
        positions = object_positions(self.dataset, episode)
        if positions is not None:
            return np.linalg.norm(np.diff(positions, axis=0), axis=1)
        tokens = self.cache.tokens(episode)
        parts = [tokens[i : i + _FRAMES_PER_READ + 1] for i in range(0, len(tokens) - 1, _FRAMES_PER_READ)]
        changes = [np.abs(np.diff(p.astype(np.float32), axis=0)).mean(axis=(1, 2)) for p in parts]
        return np.concatenate(changes)
