"""Residual Latent Action autoencoder (RLA-WM, section 3 and A.2).

    z = f_enc(s_{t+h} - s_t)                    (E2)
    s^_{t+h} = f_dec(s_t, z)                    (E3)
    loss = |s^ - s|_1 + |s^ - s|_2^2            (E4), means over elements

Equations are numbered in docs/papers.md.

Both networks are plain pre-norm transformers over [Q learned tokens | N patch tokens]. Choices the paper leaves open:
2-D position codes on the patch tokens, and learned slot tokens added to z in the decoder, so that slots and places are
told apart (`position_scale=0` gives the released code's position-free networks). The output is s_{t+h} itself by
default; `residual_output` makes it a correction of s_t, which starts training at persistence. `standardise` puts tokens
and changes in units of their spread in the training split, which a small training budget needs.

Shape legend: B batch, N patch tokens, C channels, Q latent tokens, Z latent channels, D width.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from foreact.core.batch import Batch
from foreact.core.cards import DataSpec, ModelCard
from foreact.core.config import ModelConfig
from foreact.core.errors import ForeactError
from foreact.core.presets import Preset
from foreact.core.token_spec import TokenSpec
from foreact.core.trainable import TrainableModel, TrainingData
from foreact.latent_actions.training import LatentActionTraining
from foreact.nn.attention import Block, exact_gelu, initialise, learned_tokens
from foreact.nn.latent_decoder import LatentDecoder
from foreact.nn.positions import PatchEmbedding
from foreact.nn.tokens import TokenScale


@dataclass(frozen=True, kw_only=True)
class RLAConfig(ModelConfig):
    """Sizes of the RLA autoencoder; the defaults are the paper's.

    Attributes:
        tokens: the tokens it works on.
        dim: width D of both transformers.
        depth: blocks in each of encoder and decoder.
        heads: attention heads.
        latent_tokens: Q.
        latent_channels: Z; |z| = Q * Z.
        position_scale: amplitude of the 2-D position codes on patch tokens (0 in the released code).
        residual_output: predict s_{t+h} - s_t instead of s_{t+h}.
        standardise: fit statistics of tokens and changes before training.
        decoder_merge: side of the squares of patches that are one token inside the decoder: 2 quarters the cost of a decoded
            future. Not in the paper.
        exact_gelu: GELU instead of its approximation by tanh, as the released weights were trained with; also in the
            world model on top.
    """

    kind: ClassVar[str] = "rla"
    added: ClassVar[tuple[str, ...]] = ("decoder_merge", "exact_gelu")

    tokens: TokenSpec
    dim: int = 1024
    depth: int = 12
    heads: int = 16
    latent_tokens: int = 32
    latent_channels: int = 64
    position_scale: float = 1.0
    residual_output: bool = False
    standardise: bool = False
    decoder_merge: int = 1
    exact_gelu: bool = False

    def build(self) -> RLA:
        """An RLA autoencoder with fresh weights."""
        return RLA(self)


class RLA(TrainableModel):
    """The autoencoder: `infer` is f_enc, `decode` is f_dec."""

    config: RLAConfig

    def __init__(self, config: RLAConfig) -> None:
        super().__init__()
        self.config = config
        self.scale = TokenScale(config.tokens.channels)
        self.encoder = ResidualEncoder(config)
        self.decoder = LatentDecoder(
            config.tokens.grid,
            config.tokens.channels,
            (config.latent_tokens, config.latent_channels),
            dim=config.dim,
            heads=config.heads,
            depth=config.depth,
            position_scale=config.position_scale,
            merge=config.decoder_merge,
        )
        if config.exact_gelu:
            exact_gelu(self)

    def infer(self, tokens_t: Tensor, tokens_th: Tensor) -> Tensor:
        """z = f_enc(s_{t+h} - s_t) (E2): two (B, N, C) -> (B, Q, Z)."""
        return self.encoder(self.scale.difference(tokens_t, tokens_th))

    def decode(self, tokens_t: Tensor, z: Tensor) -> Tensor:
        """s^_{t+h} = f_dec(s_t, z) (E3): (B, N, C) and (B, Q, Z) -> (B, N, C)."""
        out_BNC = self.decoder(self.scale.normalise(tokens_t), z)
        return self.scale.restore(out_BNC, tokens_t, residual=self.config.residual_output)

    def fit(self, data: TrainingData) -> None:
        """Set the statistics of tokens and changes, where the config says so."""
        if self.config.standardise:
            self.scale.fit(*data.pairs())

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Reconstruction loss L1 + MSE (E4); the skill against persistence is logged beside it."""
        z = self.infer(batch.tokens_t, batch.tokens_th)
        return self.scale.loss(self.decode(batch.tokens_t, z).float(), batch.tokens_th, batch.tokens_t)


class ResidualEncoder(nn.Module):
    """f_enc (E2): the residual's patch tokens and Q learned queries through self-attention; the queries become z."""

    def __init__(self, config: RLAConfig) -> None:
        super().__init__()
        self.project = PatchEmbedding(config.tokens.grid, config.tokens.channels, config.dim, config.position_scale)
        self.queries = learned_tokens(config.latent_tokens, config.dim)
        self.blocks = nn.ModuleList([Block(config.dim, config.heads) for _ in range(config.depth)])
        self.norm = nn.LayerNorm(config.dim)
        self.out = nn.Linear(config.dim, config.latent_channels)
        initialise(self)

    def forward(self, residual_BNC: Tensor) -> Tensor:
        """(B, N, C) -> z (B, Q, Z)."""
        queries_BQD = self.queries.expand(len(residual_BNC), -1, -1)
        x_BSD = torch.cat([queries_BQD, self.project(residual_BNC)], dim=1)
        for block in self.blocks:
            x_BSD = block(x_BSD)
        return self.out(self.norm(x_BSD[:, : len(self.queries)]))


@dataclass(frozen=True, kw_only=True)
class RLATraining(LatentActionTraining):
    """Options of RLA alone.

    Attributes:
        latent: tokens x channels of z, such as 8x16; the preset's by default.
        variant: with position codes, or without as in the released code.
        merge: side of the squares of patches that the decoder reads as one; 2 makes it four times cheaper.
    """

    latent: str | None = None
    variant: Literal["paper", "released"] = "paper"
    merge: int = 1

    def configure(self, preset: Preset, data: DataSpec) -> RLAConfig:
        """See `ModelTraining.configure`."""
        if self.merge < 1 or (self.merge > 1 and self.variant != "paper"):
            raise ForeactError("--merge is a choice of the paper's variant: the side of the squares, at least 1")
        require_squares(data.tokens, self.merge)
        tokens, channels = self._latent(preset)
        return RLAConfig(
            **self.sizes(preset, data),
            **self.output(preset),
            depth=preset.latent_depth,
            latent_tokens=tokens,
            latent_channels=channels,
            position_scale=preset.position_scale if self.variant == "paper" else 0.0,
            decoder_merge=self.merge,
        )

    def _latent(self, preset: Preset) -> tuple[int, int]:
        if self.latent is None:
            return preset.latent_tokens, preset.latent_channels
        found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", self.latent)
        if found is None:
            raise ForeactError(f"--latent takes tokens x channels, such as 8x16, not {self.latent!r}")
        return int(found[1]), int(found[2])


def require_squares(tokens: TokenSpec, merge: int) -> None:
    """Refuse to merge patches of a grid that does not divide.

    Raises:
        ForeactError: it does not.
    """
    if any(side % merge for side in tokens.grid):
        raise ForeactError(
            f"--merge {merge} does not fit {tokens.grid[0]} x {tokens.grid[1]} patches: take a divisor, or another --image-size"
        )


CARD = ModelCard(kind="rla", role="latent_action", label="RLA", config=RLAConfig, training=RLATraining)
