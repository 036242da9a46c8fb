"""DINO-WM as the paper re-implements it: regress s_{t+h} from s_t and the action chunk (RLA-WM, section 4.1).

One transformer over [action token | N patch tokens], one frame of history, L1 + MSE. Same blocks, positions, action
embedding and output convention as RLA-WM, so that only the generative latent separates the two.

Shape legend: B batch, N patch tokens, C channels, H horizon in actions, A action dimension, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from foreact.contracts import Batch
from foreact.nn.actions import ActionNormaliser, PaddedMLP
from foreact.nn.attention import Block, initialise, zero
from foreact.nn.positions import PatchEmbedding
from foreact.nn.tokens import TokenScale
from foreact.pretrained import ModelConfig, PretrainedModel, TokenSpec
from foreact.world_models.rollout import autoregress


@dataclass(frozen=True, kw_only=True)
class DinoWMConfig(ModelConfig):
    """Sizes of the regression world model.

    Attributes:
        tokens: the tokens it works on.
        action_dim: A.
        horizon: H, the longest chunk.
        dim: width D.
        depth: blocks; presets take RLA-WM's condition and decoder depth together.
        heads: attention heads.
        spread_actions: the action embedding is also added to every patch token.
        position_scale: amplitude of the 2-D position codes on patch tokens.
        residual_output: predict s_{t+h} - s_t instead of s_{t+h}.
        standardise: fit statistics of tokens and changes before training.
    """

    kind: ClassVar[str] = "dino_wm"

    tokens: TokenSpec
    action_dim: int
    horizon: int = 15
    dim: int = 1024
    depth: int = 20
    heads: int = 16
    spread_actions: bool = False
    position_scale: float = 1.0
    residual_output: bool = False
    standardise: bool = False

    def build(self) -> DinoWM:
        """A regression world model with fresh weights."""
        return DinoWM(self)


class DinoWM(PretrainedModel):
    """Deterministic world model in token space."""

    config: DinoWMConfig
    stochastic = False

    def __init__(self, config: DinoWMConfig) -> None:
        super().__init__()
        self.config = config
        self.scale = TokenScale(config.tokens.channels)
        self.normalise = ActionNormaliser(config.action_dim)
        self.project = PatchEmbedding(config.tokens.grid, config.tokens.channels, config.dim, config.position_scale)
        self.embed_actions = PaddedMLP(config.action_dim, config.horizon, config.dim)
        self.blocks = nn.ModuleList([Block(config.dim, config.heads) for _ in range(config.depth)])
        self.norm = nn.LayerNorm(config.dim)
        self.out = nn.Linear(config.dim, config.tokens.channels)
        initialise(self)
        zero(self.out)

    def forward(self, tokens_BNC: Tensor, actions_BHA: Tensor, lengths_B: Tensor) -> Tensor:
        """s^_{t+h} (B, N, C) in one pass."""
        action_BD = self.embed_actions(*self.normalise(actions_BHA, lengths_B))
        x_BSD = torch.cat([action_BD[:, None], self.project(self.scale.normalise(tokens_BNC))], dim=1)
        if self.config.spread_actions:
            x_BSD = x_BSD + action_BD[:, None]
        for block in self.blocks:
            x_BSD = block(x_BSD)
        out_BNC = self.out(self.norm(x_BSD[:, 1:]))
        return self.scale.restore(out_BNC, tokens_BNC, residual=self.config.residual_output)

    def predict(self, tokens: Tensor, actions: Tensor, lengths: Tensor, generator: torch.Generator) -> Tensor:
        """See `contracts.WorldModel.predict`; the generator is not used."""
        return self(tokens, actions, lengths).float()

    def rollout(
        self, tokens: Tensor, chunks: Sequence[tuple[Tensor, Tensor]], generator: torch.Generator
    ) -> list[Tensor]:
        """See `contracts.WorldModel.rollout`."""
        return autoregress(self.predict, tokens, chunks, generator)

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """L1 + MSE of the predicted tokens."""
        predicted = self(batch.tokens_t, batch.require_actions(), batch.lengths).float()
        return self.scale.loss(predicted, batch.tokens_th, batch.tokens_t)
