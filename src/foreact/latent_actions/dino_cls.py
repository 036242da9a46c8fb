"""DINO-CLS (RLA-WM, Table 2; in the manner of FLARE, arXiv 2505.15659): the class token of the frame that follows is z.

    z = (CLS(s_{t+h}) - mean) / std          nothing is learned; with `difference`, (CLS(s_{t+h}) - CLS(s_t)) / std
    s^_{t+h} = D(s_t, z)                     |s^ - s|_1 + |s^ - s|_2^2

In the paper z is a policy's target and has no decoder. Here one like RLA's is trained beside it: it does not change z and
tells how much of the future z holds. z shows the whole future frame, appearance included, and does not know s_t.

Its tokens are [class token | patches] in a row, as an encoder named `cls:...` gives them.

Shape legend: B batch, N patch tokens, C channels, D width; |z| = C.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from foreact.core.batch import Batch
from foreact.core.cards import DataSpec, ModelCard
from foreact.core.config import ModelConfig
from foreact.core.presets import Preset
from foreact.core.token_spec import TokenSpec
from foreact.core.trainable import TrainableModel, TrainingData
from foreact.latent_actions.training import LatentActionTraining
from foreact.nn.latent_decoder import LatentDecoder
from foreact.nn.tokens import TokenScale


@dataclass(frozen=True, kw_only=True)
class DinoCLSConfig(ModelConfig):
    """Sizes of the decoder that reads z; z itself has none.

    Attributes:
        tokens: a class token and the patches of a square grid, in a row.
        dim: width D.
        depth: blocks.
        heads: attention heads.
        difference: z is the change of the class token.
        position_scale: amplitude of the position codes on patch tokens.
        residual_output: predict s_{t+h} - s_t instead of s_{t+h}.
        standardise: put patches and changes in units of their spread; z always is.
    """

    kind: ClassVar[str] = "dino_cls"

    tokens: TokenSpec
    dim: int = 1024
    depth: int = 12
    heads: int = 16
    difference: bool = False
    position_scale: float = 1.0
    residual_output: bool = False
    standardise: bool = False

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the patches."""
        rows = math.isqrt(self.tokens.count - 1)
        return rows, rows

    def build(self) -> DinoCLS:
        """A DINO-CLS with a fresh decoder.

        Raises:
            ValueError: the tokens are no class token and square grid.
        """
        if self.grid[0] * self.grid[1] != self.tokens.count - 1:
            raise ValueError(f"{self.tokens.count} tokens are no class token and square grid of patches")
        return DinoCLS(self)


class DinoCLS(TrainableModel):
    """`infer` gives the standardised class token (B, 1, C); `decode` gives [class token | patches]."""

    config: DinoCLSConfig

    def __init__(self, config: DinoCLSConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.tokens.channels
        self.summary, self.scale = TokenScale(channels), TokenScale(channels)
        self.decoder = LatentDecoder(
            config.grid,
            channels,
            (1, channels),
            dim=config.dim,
            heads=config.heads,
            depth=config.depth,
            position_scale=config.position_scale,
        )

    def fit(self, data: TrainingData) -> None:
        """Set the statistics of z and, where the config says so, of the patches."""
        tokens_t, tokens_th = data.pairs()  # (P, 1 + N, C)
        first, then = tokens_t[:, :1].float(), tokens_th[:, :1].float()
        self.summary.fit(then - first if self.config.difference else then, then)
        if self.config.standardise:
            self.scale.fit(tokens_t[:, 1:], tokens_th[:, 1:])

    def infer(self, tokens_t: Tensor, tokens_th: Tensor) -> Tensor:
        """z (B, 1, C) of two (B, 1 + N, C)."""
        then = tokens_th[:, :1].float()
        return self.summary.normalise(then - tokens_t[:, :1].float() if self.config.difference else then)

    def decode(self, tokens_t: Tensor, z: Tensor) -> Tensor:
        """(B, 1 + N, C) and z (B, 1, C) -> [the class token that z says | predicted patches] (B, 1 + N, C)."""
        then = self.summary.mean + self.summary.std * z
        summary = tokens_t[:, :1].float() + then if self.config.difference else then
        patches = tokens_t[:, 1:]
        out_BNC = self.decoder(self.scale.normalise(patches), z)
        restored = self.scale.restore(out_BNC, patches, residual=self.config.residual_output)
        return torch.cat([summary, restored.float()], dim=1)

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Reconstruction loss of the patches, L1 + MSE; it trains the decoder alone."""
        predicted = self.decode(batch.tokens_t, self.infer(batch.tokens_t, batch.tokens_th))
        return self.scale.loss(predicted[:, 1:], batch.tokens_th[:, 1:], batch.tokens_t[:, 1:])


@dataclass(frozen=True, kw_only=True)
class DinoCLSTraining(LatentActionTraining):
    """DINO-CLS has no options of its own."""

    def frames(self, preset: Preset) -> tuple[str, int]:
        """The encoder's, with its class token."""
        encoder, image_size = super().frames(preset)
        return f"cls:{encoder.removeprefix('cls:')}", image_size

    def configure(self, preset: Preset, data: DataSpec) -> DinoCLSConfig:
        """See `ModelTraining.configure`."""
        return DinoCLSConfig(
            **self.sizes(preset, data),
            **self.output(preset),
            depth=preset.latent_depth,
            position_scale=preset.position_scale,
        )


CARD = ModelCard(
    kind="dino_cls", role="latent_action", label="DINO-CLS", config=DinoCLSConfig, training=DinoCLSTraining
)
