"""The contracts between the rooms; shape letters as in `core.batch`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from foreact.core.batch import Batch
from foreact.core.config import ModelConfig
from foreact.core.token_spec import TokenSpec


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
    """f_dyn: (s_t, actions, noise) -> s_{t+h} (RLA-WM, E1). All that is random comes in as noise: the same noise, the same future."""

    stochastic: bool

    @property
    def config(self) -> ModelConfig:
        """What built the model."""
        ...

    def draw_noise(self, batch: int, generator: torch.Generator) -> Tensor:
        """Noise (B, ...) of one prediction on the generator's device; (B, 0) for a deterministic model."""
        ...

    def predict(self, tokens: Tensor, actions: Tensor, lengths: Tensor, noise: Tensor) -> Tensor:
        """The future tokens (B, N, C), differentiable in the actions, on the model's device.

        Args:
            tokens: s_t, (B, N, C).
            actions: (B, H, A) in the data's units, of which the first `lengths` count.
            lengths: h, (B,) int64.
            noise: from `draw_noise`; row i of the result depends on row i of the arguments alone.
        """
        ...

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Scalars to log; `loss` is minimised."""
        ...


class ImageDecoder(Protocol):
    """Tokens -> pixels."""

    def decode(self, tokens: Tensor) -> Tensor:
        """(B, N, C) -> float images (B, height, width, 3) in [0, 1]."""
        ...


Observation = Mapping[str, Any]
"""What a policy sees, by LeRobot's feature names: `observation.images.<camera>` uint8 (B, height, width, 3), `observation.state`
(B, P), `task` (B words). Arrays without B, and one word, are one observation."""


class Policy(Protocol):
    """Observation -> action chunk. Nothing but arrays and words crosses this line."""

    def reset(self, seeds: Sequence[int] | None = None) -> None:
        """Begin episodes, as many as there are seeds; each row's randomness follows from its seed. Without seeds, one episode."""
        ...

    def act(self, observation: Observation) -> np.ndarray:
        """The next H actions in the units of the recordings: (B, H, A), or (H, A) for one observation."""
        ...
