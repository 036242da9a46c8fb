"""A package of another author with a world model: its file, one entry point. Tests install it and use it like any kind."""

SOURCE = '''
"""The next tokens are these, shifted by a linear function of the mean action."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from foreact.core.cards import ModelCard, ModelTraining
from foreact.core.config import ModelConfig
from foreact.core.cost import count_stage, meta
from foreact.core.recipe import TrainConfig
from foreact.core.token_spec import TokenSpec
from foreact.world_models.base import PretrainedWorldModel


@dataclass(frozen=True, kw_only=True)
class ShiftConfig(ModelConfig):
    """Sizes."""

    kind: ClassVar[str] = "shift"
    tokens: TokenSpec
    action_dim: int
    horizon: int = 15
    gain: float = 1.0

    def build(self):
        return Shift(self)


class Shift(PretrainedWorldModel):
    """Deterministic."""

    stochastic = False

    def __init__(self, config):
        super().__init__(config.action_dim)
        self.config = config
        self.shift = nn.Linear(config.action_dim, config.tokens.channels)

    def predict(self, tokens, actions, lengths, noise):
        normal, mask = self.chunk(actions, lengths)
        mean = (normal * mask[..., None]).sum(dim=1) / lengths[:, None]
        return tokens.float() + self.config.gain * self.shift(mean)[:, None]

    def loss(self, batch, generator):
        future = self.predict(batch.tokens_t, batch.require_actions(), batch.lengths, None)
        return {"loss": (future - batch.tokens_th.float()).abs().mean()}


@dataclass(frozen=True, kw_only=True)
class ShiftTraining(ModelTraining):
    """Options of the shift alone.

    Attributes:
        gain: of the shift.
    """

    gain: float = 1.0

    def recipe(self, preset):
        return TrainConfig(steps=3, batch_size=4, precision="no", save_every=3, log_every=1)

    def configure(self, preset, data):
        return ShiftConfig(tokens=data.tokens, action_dim=data.action_dim, horizon=preset.horizon, gain=self.gain)


def cost(model: Any):
    return {"decode": count_stage(model, lambda: model.shift(meta(1, model.config.action_dim)))}


CARD = ModelCard(
    kind="shift", role="world_model", label="Shift by actions", config=ShiftConfig, training=ShiftTraining, cost=cost,
    colour="#123456",
)
'''
