"""What the world models that predict tokens directly share: DINO-WM, FM-WM and RAE differ in their loss and sampler alone.

Shape legend: B batch, N patch tokens, C channels, H horizon in actions, A action dimension, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from foreact.nn.token_network import TokenNetwork
from foreact.nn.tokens import TokenScale
from foreact.pretrained import ModelConfig, TokenSpec
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

    def fit(self, tokens_t: Tensor, tokens_th: Tensor) -> None:
        """Set the statistics that the config asks for, from pairs of the training split, both (P, N, C)."""
        if self.config.standardise:
            self.scale.fit(tokens_t, tokens_th)
