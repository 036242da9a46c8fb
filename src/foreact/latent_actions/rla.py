"""Residual Latent Action autoencoder (RLA-WM, section 3 and A.2).

    z = f_enc(s_{t+h} - s_t),    s^_{t+h} = f_dec(s_t, z),    loss = |s^ - s|_1 + |s^ - s|_2^2    (mean over elements)

Both networks are plain pre-norm transformers over [Q learned tokens | N patch tokens]. Choices the paper leaves open:
2-D position codes on the patch tokens, and learned slot tokens added to z in the decoder, so that slots and places are
told apart (`position_scale=0` gives the released code's position-free networks). The output is s_{t+h} itself by
default; `residual_output` makes it a correction of s_t, which starts training at persistence. `standardise` puts tokens
and changes in units of their spread in the training split, which a small training budget needs.

Shape legend: B batch, N patch tokens, C channels, Q latent tokens, Z latent channels, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from foreact.contracts import Batch
from foreact.nn.attention import Block, initialise, learned_tokens
from foreact.nn.latent_decoder import LatentDecoder
from foreact.nn.positions import PatchEmbedding
from foreact.nn.tokens import TokenScale
from foreact.pretrained import ModelConfig, PretrainedModel, TokenSpec


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
    """

    kind: ClassVar[str] = "rla"
    added: ClassVar[tuple[str, ...]] = ("decoder_merge",)

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

    def build(self) -> RLA:
        """An RLA autoencoder with fresh weights."""
        return RLA(self)


class RLA(PretrainedModel):
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

    def infer(self, tokens_t: Tensor, tokens_th: Tensor) -> Tensor:
        """z = f_enc(s_{t+h} - s_t): two (B, N, C) -> (B, Q, Z)."""
        return self.encoder(self.scale.difference(tokens_t, tokens_th))

    def decode(self, tokens_t: Tensor, z: Tensor) -> Tensor:
        """s^_{t+h} = f_dec(s_t, z): (B, N, C) and (B, Q, Z) -> (B, N, C)."""
        out_BNC = self.decoder(self.scale.normalise(tokens_t), z)
        return self.scale.restore(out_BNC, tokens_t, residual=self.config.residual_output)

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Reconstruction loss L1 + MSE; the skill against persistence is logged beside it."""
        z = self.infer(batch.tokens_t, batch.tokens_th)
        return self.scale.loss(self.decode(batch.tokens_t, z).float(), batch.tokens_th, batch.tokens_t)


class ResidualEncoder(nn.Module):
    """f_enc: the residual's patch tokens and Q learned queries through self-attention; the queries become z."""

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
