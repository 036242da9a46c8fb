"""What the world models that predict tokens directly share: DINO-WM, FM-WM and RAE differ in their loss and sampler alone.

Shape legend: B batch, N patch tokens, C channels, H horizon in actions, A action dimension, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from foreact.core.cards import DataSpec, ModelTraining
from foreact.core.config import ModelConfig
from foreact.core.cost import Stage, all_steps, count_stage, meta
from foreact.core.presets import Preset
from foreact.core.token_spec import TokenSpec
from foreact.core.trainable import TrainingData
from foreact.nn.token_network import TokenNetwork
from foreact.nn.tokens import TokenScale
from foreact.world_models.base import PretrainedWorldModel


@dataclass(frozen=True, kw_only=True)
class TokenModelConfig(ModelConfig):
    """Sizes of a world model over tokens.

    Attributes:
        tokens: the tokens it works on.
        action_dim: A.
        horizon: H, the longest chunk.
        dim: width D.
        depth: blocks; presets take RLA-WM's condition and decoder depth together.
        heads: attention heads.
        spread_actions: the action embedding is also added to every patch token.
        position_scale: amplitude of the 2-D position codes on patch tokens.
        standardise: fit statistics of tokens and changes before training.
    """

    tokens: TokenSpec
    action_dim: int
    horizon: int = 15
    dim: int = 1024
    depth: int = 20
    heads: int = 16
    spread_actions: bool = False
    position_scale: float = 1.0
    standardise: bool = False

    def network(self, *, channels: int | None = None, modulated: bool = False) -> TokenNetwork:
        """The backbone over `channels` (C if None) per token."""
        return TokenNetwork(
            self.tokens.grid,
            channels or self.tokens.channels,
            (self.horizon, self.action_dim),
            dim=self.dim,
            heads=self.heads,
            depth=self.depth,
            position_scale=self.position_scale,
            spread_actions=self.spread_actions,
            modulated=modulated,
        )


class TokenWorldModel(PretrainedWorldModel):
    """The statistics of tokens; subclasses have `predict` and `loss`."""

    config: TokenModelConfig

    def __init__(self, config: TokenModelConfig) -> None:
        super().__init__(config.action_dim)
        self.config = config
        self.scale = TokenScale(config.tokens.channels)

    def fit(self, data: TrainingData) -> None:
        """Set the statistics of actions and, where the config says so, of tokens."""
        super().fit(data)
        if self.config.standardise:
            self.scale.fit(*data.pairs())


@dataclass(frozen=True, kw_only=True)
class TokenModelTraining(ModelTraining):
    """Trained as deep as RLA-WM's condition network and decoder together."""

    def sizes(self, preset: Preset, data: DataSpec) -> dict[str, Any]:
        """What all `TokenModelConfig` take from preset and data."""
        return {
            "tokens": data.tokens,
            "action_dim": data.action_dim,
            "horizon": preset.horizon,
            "dim": preset.dim,
            "depth": preset.condition_depth + preset.latent_depth,
            "heads": preset.heads,
            "position_scale": preset.position_scale,
            "spread_actions": preset.spread_actions,
            "standardise": preset.standardise,
        }


def token_flow_cost(model: TokenWorldModel, velocity: Callable[..., Tensor]) -> dict[str, Stage]:
    """One step and all steps of a flow over the tokens themselves, on the meta device."""
    config: Any = model.config
    s_t = meta(1, config.tokens.count, config.tokens.channels)
    chunk = meta(1, config.horizon, config.action_dim), meta(1, config.horizon).bool()
    step = count_stage(model, lambda: velocity(s_t, meta(1), s_t, chunk))
    return {"flow_step": step, "flow": all_steps(step, config.steps, config.solver)}
