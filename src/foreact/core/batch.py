"""The batches that training hands to models, and what a model asks to find in them.

Letters used everywhere: B batch, T frames, N patch tokens, C feature channels, Q latent tokens, Z latent channels,
H horizon in actions, A action dimension, P state dimension. h actions lead from s_t to s_{t+h}.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What a model learns from, beside the tokens s_t and s_{t+h} of frame pairs.

    Attributes:
        actions: H, to which the action chunks between both frames are padded; None leaves actions out.
        clip_stride: actions between the frames of clips; None where pairs are enough.
        states: the robot's states, where the recordings have them.
        two_views: pairs are drawn in two random views each, one to infer z from and one to predict; frames are then
            encoded while training.
    """

    actions: int | None = None
    clip_stride: int | None = None
    states: bool = False
    two_views: bool = False


class Shard(ABC):
    """This process's part of a step's batch; what is random is drawn for all of it.

    Attributes:
        shard: which part of the step's batch this is, and of how many.
    """

    shard: tuple[int, int]

    @property
    @abstractmethod
    def _rows(self) -> Tensor:
        """Any column, (rows, ...)."""

    def draw(self, sampler: Callable[[int], Tensor]) -> Tensor:
        """This shard's rows of `sampler(rows)`, drawn for the whole batch so that shards agree with one process."""
        index, shards = self.shard
        rows = len(self._rows)
        return sampler(rows * shards)[index * rows : (index + 1) * rows].to(self._rows.device)

    def noise(self, *shape: int, generator: torch.Generator) -> Tensor:
        """Normal noise (rows, *shape), drawn as `draw` does."""
        return self.draw(lambda n: torch.randn(n, *shape, generator=generator, device=generator.device))


@dataclass(frozen=True, kw_only=True)
class Batch(Shard):
    """Pairs of frames as tokens, with the actions between them.

    Attributes:
        tokens_t: s_t, (B, N, C).
        tokens_th: s_{t+h}, (B, N, C).
        lengths: h of each pair, (B,) int64.
        actions: a_{t:t+h} in the data's units, padded to (B, H, A); None for actionless videos.
        clip: frames after every `stride` actions up to s_{t+h}, which is repeated from there on, as tokens (B, K, N, C) for
            models that learn from clips; K may be what the longest chunk of the batch needs.
        seen_t, seen_th: the same pairs in another view (see `recordings.views.ClipViews`), for learners that infer z from it,
            so that z cannot copy the picture's layout; None where pairs are not augmented.
        state_t, state_th: the robot's state at t and t + h in the data's units, (B, P), NaN where unknown; None where the
            data has none.
        embodiment: whose states they are, (B,) int64, 0 for humans; None as the states.
        shard: which part of the step's batch this is, and of how many.
    """

    tokens_t: Tensor
    tokens_th: Tensor
    lengths: Tensor
    actions: Tensor | None = None
    clip: Tensor | None = None
    seen_t: Tensor | None = None
    seen_th: Tensor | None = None
    state_t: Tensor | None = None
    state_th: Tensor | None = None
    embodiment: Tensor | None = None
    shard: tuple[int, int] = (0, 1)

    def require_actions(self) -> Tensor:
        """The actions.

        Raises:
            ValueError: the pairs come from videos without actions.
        """
        if self.actions is None:
            raise ValueError("this model needs actions, the batch has none")
        return self.actions

    @property
    def _rows(self) -> Tensor:
        return self.tokens_t

    def to(self, device: torch.device) -> Batch:
        """The batch on another device."""
        return replace(self, **_moved(self, device))


@dataclass(frozen=True, kw_only=True)
class FrameBatch:
    """Single frames, for what draws tokens or learns tokens from pictures.

    Attributes:
        frames: uint8 (B, height, width, 3).
        tokens: of these frames, (B, N, C); None where no encoder was asked for.
    """

    frames: Tensor
    tokens: Tensor | None = None

    def to(self, device: torch.device) -> FrameBatch:
        """The batch on another device."""
        return replace(self, **_moved(self, device))


def _moved(batch: Batch | FrameBatch, device: torch.device) -> dict[str, Any]:
    return {k: v.to(device, non_blocking=True) for k, v in vars(batch).items() if isinstance(v, Tensor)}
