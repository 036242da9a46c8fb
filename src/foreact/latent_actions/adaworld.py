"""AdaWorld's latent-action model (arXiv 2503.18938): a beta-VAE of the change between two pictures.

    q(z) = N(mu, sigma^2) from the second frame's action token of a space-time transformer over both frames' patches
    x^_{t+h} = sigmoid(D(x_t patches, W z added to every patch))
    loss = |x^ - x|^2 + beta KL(q || N(0, 1))          KL summed over z, mean over the batch

Its tokens are pixels: flattened patches in [0, 1], as the encoder `pixels` gives them.

Shape legend: B batch, N patches, C pixels of a patch, Z latent channels, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foreact.core.batch import Batch
from foreact.core.cards import DataSpec, ModelCard
from foreact.core.config import ModelConfig
from foreact.core.presets import Preset
from foreact.core.token_spec import TokenSpec
from foreact.core.trainable import TrainableModel
from foreact.latent_actions.training import LatentActionTraining
from foreact.nn.attention import Block, initialise
from foreact.nn.gaussian import draw_and_price
from foreact.nn.positions import PatchEmbedding
from foreact.nn.space_time import ActionTokenEncoder


@dataclass(frozen=True, kw_only=True)
class AdaWorldConfig(ModelConfig):
    """Sizes of AdaWorld's latent-action model; the defaults are the released code's.

    Attributes:
        tokens: the pixel patches it works on.
        dim: width D.
        depth: blocks in each of encoder and decoder.
        heads: attention heads.
        latent_channels: Z, of the one latent token.
        kl_weight: beta; at the same beta, a larger Z is priced higher, since the divergence is a sum.
    """

    kind: ClassVar[str] = "adaworld"

    tokens: TokenSpec
    dim: int = 1024
    depth: int = 16
    heads: int = 16
    latent_channels: int = 32
    kl_weight: float = 2e-4

    def build(self) -> AdaWorld:
        """A latent-action model with fresh weights."""
        return AdaWorld(self)


class AdaWorld(TrainableModel):
    """`infer` gives the posterior mean (B, 1, Z); `decode` gives pixels in [0, 1]."""

    config: AdaWorldConfig

    def __init__(self, config: AdaWorldConfig) -> None:
        super().__init__()
        self.config = config
        tokens = config.tokens
        self.encoder = ActionTokenEncoder(
            tokens.grid,
            tokens.channels,
            actions=1,
            dim=config.dim,
            heads=config.heads,
            depth=config.depth,
            causal=False,
        )
        self.to_posterior = nn.Linear(config.dim, 2 * config.latent_channels)
        initialise(self.to_posterior)
        self.decoder = AdditiveDecoder(config)

    def infer(self, tokens_t: Tensor, tokens_th: Tensor) -> Tensor:
        """The posterior mean (B, 1, Z) of two pictures as patches (B, N, C)."""
        return self._posterior(tokens_t, tokens_th)[0]

    def decode(self, tokens_t: Tensor, z: Tensor) -> Tensor:
        """Pixels x^_{t+h} (B, N, C) from x_t (B, N, C) and z (B, 1, Z)."""
        return torch.sigmoid(self.decoder(tokens_t.float(), z).float())

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Squared error of the pixels + beta KL, with z drawn from the posterior."""
        mean, log_variance = (part.float() for part in self._posterior(batch.tokens_t, batch.tokens_th))
        z, kl = draw_and_price(mean, log_variance, batch.noise(*mean.shape[1:], generator=generator))  # KL
        target = batch.tokens_th.float()
        error = F.mse_loss(self.decode(batch.tokens_t, z), target)  # pixels
        still = F.mse_loss(batch.tokens_t.float(), target).clamp_min(1e-8)
        skill = (1 - error / still).detach()
        return {"loss": error + self.config.kl_weight * kl, "mse": error.detach(), "kl": kl.detach(), "skill": skill}

    def _posterior(self, tokens_t: Tensor, tokens_th: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.to_posterior(self.encoder(tokens_t.float(), tokens_th.float())).chunk(2, dim=-1)
        return mean, log_variance


class AdditiveDecoder(nn.Module):
    """x_t's patches, each with z added, through self-attention, to the logits of the pixels of x_{t+h}."""

    def __init__(self, config: AdaWorldConfig) -> None:
        super().__init__()
        tokens = config.tokens
        self.project = PatchEmbedding(tokens.grid, tokens.channels, config.dim, 1.0)
        self.project_z = nn.Linear(config.latent_channels, config.dim)
        self.blocks = nn.ModuleList([Block(config.dim, config.heads) for _ in range(config.depth)])
        self.norm = nn.LayerNorm(config.dim)
        self.out = nn.Linear(config.dim, tokens.channels)
        initialise(self)

    def forward(self, tokens_BNC: Tensor, z_B1Z: Tensor) -> Tensor:
        """(B, N, C) and (B, 1, Z) -> (B, N, C)."""
        x_BND = self.project(tokens_BNC) + self.project_z(z_B1Z)
        for block in self.blocks:
            x_BND = block(x_BND)
        return self.out(self.norm(x_BND))


_KL = {"tiny": 2e-7, "small": 2e-7}
"""Published: 2e-4, which in few steps at small sizes leaves z empty."""


@dataclass(frozen=True, kw_only=True)
class AdaWorldTraining(LatentActionTraining):
    """AdaWorld has no options of its own."""

    def frames(self, preset: Preset) -> tuple[str, int]:
        """Pixels."""
        return self.pixels(preset)

    def configure(self, preset: Preset, data: DataSpec) -> AdaWorldConfig:
        """See `ModelTraining.configure`."""
        return AdaWorldConfig(**self.sizes(preset, data), depth=preset.latent_depth, kl_weight=preset.of(_KL, 2e-4))


CARD = ModelCard(
    kind="adaworld", role="latent_action", label="AdaWorld", config=AdaWorldConfig, training=AdaWorldTraining
)
