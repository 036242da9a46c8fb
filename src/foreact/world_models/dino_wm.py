"""DINO-WM as the paper re-implements it: regress s_{t+h} from s_t and the action chunk (RLA-WM, section 4.1, E9).

One transformer over [N patch tokens | action token], one frame of history, L1 + MSE. Same blocks, positions, action
embedding and output convention as RLA-WM, so that only the generative latent separates the two.

Shape legend: B batch, N patch tokens, C channels, H horizon in actions, A action dimension, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from foreact.core.batch import Batch
from foreact.core.cards import DataSpec, ModelCard
from foreact.core.cost import Stage, count_stage, meta
from foreact.core.presets import Preset
from foreact.nn.attention import zero
from foreact.nn.floats import widen
from foreact.world_models.token_model import TokenModelConfig, TokenModelTraining, TokenWorldModel


@dataclass(frozen=True, kw_only=True)
class DinoWMConfig(TokenModelConfig):
    """Sizes of the regression world model.

    Attributes:
        residual_output: predict s_{t+h} - s_t instead of s_{t+h}.
    """

    kind: ClassVar[str] = "dino_wm"

    residual_output: bool = False

    def build(self) -> DinoWM:
        """A regression world model with fresh weights."""
        return DinoWM(self)


class DinoWM(TokenWorldModel):
    """Deterministic world model in token space."""

    config: DinoWMConfig
    stochastic = False

    def __init__(self, config: DinoWMConfig) -> None:
        super().__init__(config)
        self.network = config.network()
        self.out = nn.Linear(config.dim, config.tokens.channels)
        zero(self.out)

    @property
    def networks(self) -> list[nn.Module]:
        """All of it: one pass."""
        return [self]

    def forward(self, tokens_BNC: Tensor, actions_BHA: Tensor, lengths_B: Tensor) -> Tensor:
        """s^_{t+h} (B, N, C) in one pass (E9)."""
        features_BND = self.network(self.scale.normalise(tokens_BNC), *self.chunk(actions_BHA, lengths_B))
        return self.scale.restore(self.out(features_BND), tokens_BNC, residual=self.config.residual_output)

    def predict(self, tokens: Tensor, actions: Tensor, lengths: Tensor, noise: Tensor) -> Tensor:
        """See `contracts.WorldModel.predict`; the noise is empty."""
        return widen(self(tokens, actions, lengths))

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """L1 + MSE of the predicted tokens."""
        predicted = self(batch.tokens_t, batch.require_actions(), batch.lengths)
        return self.scale.loss(predicted, batch.tokens_th, batch.tokens_t)


@dataclass(frozen=True, kw_only=True)
class DinoWMTraining(TokenModelTraining):
    """DINO-WM has no options of its own."""

    def configure(self, preset: Preset, data: DataSpec) -> DinoWMConfig:
        """See `ModelTraining.configure`."""
        return DinoWMConfig(**self.sizes(preset, data), residual_output=preset.residual_output)


def cost(model: DinoWM) -> dict[str, Stage]:
    """The one pass, on the meta device."""
    config, tokens = model.config, model.config.tokens
    s_t, actions = meta(1, tokens.count, tokens.channels), meta(1, config.horizon, config.action_dim)
    return {"decode": count_stage(model, lambda: model(s_t, actions, torch.ones(1, dtype=torch.long, device="meta")))}


CARD = ModelCard(
    kind="dino_wm",
    role="world_model",
    label="DINO-WM",
    config=DinoWMConfig,
    training=DinoWMTraining,
    cost=cost,
    published_flops=2.1e12,
    colour="#b45309",
)
