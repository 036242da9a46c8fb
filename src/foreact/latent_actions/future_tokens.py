"""Not in the papers: the future itself in the place of a latent action, as a control for policies that learn to predict z.

    z = W (s_{t+h} - mean),  W the principal axes of the tokens of the training frames

A policy's second head then predicts as many numbers about the future as with a learned z, but not about what changed.

Shape legend: B batch, N patch tokens, C channels, Q latent tokens, Z latent channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from foreact.core.cards import ModelCard
from foreact.core.config import ModelConfig
from foreact.core.pretrained import PretrainedModel
from foreact.core.token_spec import TokenSpec
from foreact.nn.floats import widen

_ITERATIONS = 4


@dataclass(frozen=True, kw_only=True)
class FutureTokensConfig(ModelConfig):
    """How many numbers.

    Attributes:
        tokens: which it keeps the principal axes of.
        latent_tokens: Q.
        latent_channels: Z.
    """

    kind: ClassVar[str] = "future_tokens"

    tokens: TokenSpec
    latent_tokens: int
    latent_channels: int

    def build(self) -> FutureTokens:
        """Axes that are not fitted yet."""
        return FutureTokens(self)


class FutureTokens(PretrainedModel):
    """`infer` gives the principal components of the second picture's tokens.

    Attributes:
        mean: of the tokens, (N * C,).
        axes: (N * C, Q * Z).
    """

    config: FutureTokensConfig
    mean: Tensor
    axes: Tensor

    def __init__(self, config: FutureTokensConfig) -> None:
        super().__init__()
        self.config = config
        size = config.tokens.count * config.tokens.channels
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("axes", torch.zeros(size, config.latent_tokens * config.latent_channels))

    def fit(self, tokens: Tensor) -> None:
        """Find the axes of tokens (B, N, C) by a randomised singular value decomposition, the same each time."""
        rows = widen(tokens).flatten(1)
        self.mean.copy_(rows.mean(dim=0))
        wanted = self.axes.shape[1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            _, _, axes = torch.svd_lowrank(rows - self.mean, q=min(wanted, *rows.shape), niter=_ITERATIONS)
        self.axes[:, : axes.shape[1]].copy_(axes)

    def infer(self, tokens_t: Tensor, tokens_th: Tensor) -> Tensor:
        """The components (B, Q, Z) of the second of two (B, N, C)."""
        z = (widen(tokens_th).flatten(1) - self.mean) @ self.axes
        return z.unflatten(1, (self.config.latent_tokens, self.config.latent_channels))


CARD = ModelCard(kind="future_tokens", role="latent_action", label="future tokens", config=FutureTokensConfig)
