"""The contracts between the rooms (design, section 3) and the batch that training hands to every token model.

Letters used everywhere: B batch, T frames, N patch tokens, C feature channels, Q latent tokens, Z latent channels,
H horizon in actions, A action dimension. h actions lead from s_t to s_{t+h}.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from foreact.pretrained import ModelConfig, TokenSpec


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Pairs of frames as tokens, with the actions between them.

    Attributes:
        tokens_t: s_t, (B, N, C).
        tokens_th: s_{t+h}, (B, N, C).
        lengths: h of each pair, (B,) int64.
        actions: a_{t:t+h} in the data's units, padded to (B, H, A); None for actionless videos.
        clip: frames after every `stride` actions up to s_{t+h}, which is repeated from there on, as tokens (B, K, N, C) for
            models that learn from clips; K may be what the longest chunk of the batch needs.
        seen_t, seen_th: the same pairs in another view (see `training.views.ClipViews`), for learners that infer z from it, so
            that z cannot copy the picture's layout; None where pairs are not augmented.
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

    def draw(self, sampler: Callable[[int], Tensor]) -> Tensor:
        """This shard's rows of `sampler(rows)`, drawn for the whole batch so that shards agree with one process."""
        index, shards = self.shard
        rows = len(self.lengths)
        return sampler(rows * shards)[index * rows : (index + 1) * rows].to(self.tokens_t.device)

    def noise(self, *shape: int, generator: torch.Generator) -> Tensor:
        """Normal noise (rows, *shape), drawn as `draw` does."""
        return self.draw(lambda n: torch.randn(n, *shape, generator=generator, device=generator.device))

    def to(self, device: torch.device) -> Batch:
        """The batch on another device."""
        moved = {k: v.to(device, non_blocking=True) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **moved)  # type: ignore[arg-type]


@runtime_checkable
class Encoder(Protocol):
    """Pixels -> tokens, frozen."""

    @property
    def spec(self) -> TokenSpec:
        """Grid, channels and identity of the tokens."""
        ...

    image_size: int

    def encode(self, frames: Tensor) -> Tensor:
        """uint8 (B, height, width, 3) -> float (B, N, C)."""
        ...


class LatentActionModel(Protocol):
    """(s_t, s_{t+h}) <-> z."""

    def infer(self, tokens_t: Tensor, tokens_th: Tensor) -> Tensor:
        """Two (B, N, C) -> z (B, Q, Z)."""
        ...

    def decode(self, tokens_t: Tensor, z: Tensor) -> Tensor:
        """(B, N, C) and z (B, Q, Z) -> the predicted s_{t+h} (B, N, C)."""
        ...

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Scalars to log; `loss` is minimised."""
        ...


class WorldModel(Protocol):
    """(s_t, actions) -> s_{t+h}. Sampling noise always comes from the generator that is handed in."""

    stochastic: bool

    @property
    def config(self) -> ModelConfig:
        """What built the model."""
        ...

    def predict(self, tokens: Tensor, actions: Tensor, lengths: Tensor, generator: torch.Generator) -> Tensor:
        """Tokens (B, N, C), actions (B, H, A) of which the first `lengths` (B,) count -> tokens (B, N, C)."""
        ...

    def rollout(
        self, tokens: Tensor, chunks: Sequence[tuple[Tensor, Tensor]], generator: torch.Generator
    ) -> list[Tensor]:
        """Predict chunk after chunk, each (actions, lengths), feeding predictions back; one (B, N, C) per chunk."""
        ...

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Scalars to log; `loss` is minimised."""
        ...


class ImageDecoder(Protocol):
    """Tokens -> pixels."""

    def decode(self, tokens: Tensor) -> Tensor:
        """(B, N, C) -> float images (B, height, width, 3) in [0, 1]."""
        ...
