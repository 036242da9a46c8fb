"""UniVLA's latent-action model (arXiv 2505.06111): a few tokens from a small codebook say how s_t becomes s_{t+h}.

    c = E([actions | s_t], [actions | s_{t+h}])        space-time transformer, causal in time; the second frame's action tokens
    z = nearest of 16 codes, per token                 straight through: dz/dc = 1
    s^_{t+h} = D([z | s_t])
    loss = |s^ - s|^2 + |code - sg(c)|^2 + 0.25 |sg(code) - c|^2

Without language this is one stage; the paper's second stage takes out what the instruction explains. Codes that no sample used are
moved onto used ones now and then.

Shape legend: B batch, N patch tokens, C channels, Q latent tokens, Z channels of a code, D width.
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
from foreact.core.trainable import TrainableModel, TrainingData
from foreact.latent_actions.training import LatentActionTraining
from foreact.nn.attention import initialise
from foreact.nn.latent_decoder import LatentDecoder
from foreact.nn.space_time import ActionTokenEncoder
from foreact.nn.tokens import TokenScale


@dataclass(frozen=True, kw_only=True)
class UniVLAConfig(ModelConfig):
    """Sizes of UniVLA's latent-action model; the defaults are the released code's.

    Attributes:
        tokens: the tokens it works on.
        dim: width D.
        depth: blocks in each of encoder and decoder.
        heads: attention heads.
        latent_tokens: Q.
        latent_channels: Z of a code.
        codes: size of the codebook.
        commitment: weight of the encoder's pull towards its code.
        restart_every: steps between restarts of unused codes; 0 never.
        position_scale: amplitude of the decoder's position codes.
        residual_output: predict s_{t+h} - s_t instead of s_{t+h}.
        standardise: fit statistics of tokens and changes before training.
    """

    kind: ClassVar[str] = "univla"

    tokens: TokenSpec
    dim: int = 768
    depth: int = 12
    heads: int = 12
    latent_tokens: int = 4
    latent_channels: int = 128
    codes: int = 16
    commitment: float = 0.25
    restart_every: int = 500
    position_scale: float = 1.0
    residual_output: bool = False
    standardise: bool = False

    def build(self) -> UniVLA:
        """A latent-action model with fresh weights."""
        return UniVLA(self)


class UniVLA(TrainableModel):
    """`infer` gives the chosen codes, (B, Q, Z)."""

    config: UniVLAConfig

    def __init__(self, config: UniVLAConfig) -> None:
        super().__init__()
        self.config = config
        tokens = config.tokens
        self.scale = TokenScale(tokens.channels)
        self.encoder = ActionTokenEncoder(
            tokens.grid, tokens.channels, actions=config.latent_tokens, dim=config.dim, heads=config.heads,
            depth=config.depth, causal=True,
        )  # fmt: skip
        self.to_code = nn.Linear(config.dim, config.latent_channels)
        initialise(self.to_code)
        self.codebook = Codebook(config.codes, config.latent_channels)
        self.decoder = LatentDecoder(
            tokens.grid,
            tokens.channels,
            (config.latent_tokens, config.latent_channels),
            dim=config.dim,
            heads=config.heads,
            depth=config.depth,
            position_scale=config.position_scale,
        )

    def infer(self, tokens_t: Tensor, tokens_th: Tensor) -> Tensor:
        """The chosen codes (B, Q, Z) of two (B, N, C)."""
        return self.codebook.vectors[self.codebook.nearest(self._continuous(tokens_t, tokens_th))]

    def decode(self, tokens_t: Tensor, z: Tensor) -> Tensor:
        """s^_{t+h} (B, N, C) from s_t (B, N, C) and codes (B, Q, Z)."""
        out_BNC = self.decoder(self.scale.normalise(tokens_t), z)
        return self.scale.restore(out_BNC, tokens_t, residual=self.config.residual_output)

    def fit(self, data: TrainingData) -> None:
        """Set the statistics of tokens and changes, where the config says so."""
        if self.config.standardise:
            self.scale.fit(*data.pairs())

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Reconstruction, codebook and commitment; logs how many codes are used and their perplexity."""
        continuous = self._continuous(batch.tokens_t, batch.tokens_th).float()
        chosen = self.codebook.nearest(continuous)
        if self.training:
            self.codebook.count(chosen, continuous)
        code = self.codebook.vectors[chosen]
        through = continuous + (code - continuous).detach()
        predicted = self.decode(batch.tokens_t, through).float()
        scalars = self.scale.loss(predicted, batch.tokens_th, batch.tokens_t)
        error = ((predicted - batch.tokens_th.float()) / self.scale.change).square().mean()  # reconstruction
        pull = (
            F.mse_loss(code, continuous.detach())  # codebook: codes move to what the encoder says
            + self.config.commitment * F.mse_loss(continuous, code.detach())  # commitment: and the encoder to its code
        )
        share = torch.bincount(chosen.flatten(), minlength=self.config.codes).float() / chosen.numel()
        perplexity = torch.exp(-(share * share.clamp_min(1e-9).log()).sum())
        logged = {"perplexity": perplexity, "codes_used": (share > 0).sum().float()}
        return {"loss": error + pull, "l1": scalars["l1"], "skill": scalars["skill"], **logged}

    def after_step(self, step: int, steps: int) -> None:
        """Restart unused codes; for the training loop."""
        every = self.config.restart_every
        if every and step % every == 0 and step < steps:
            self.codebook.restart(torch.Generator().manual_seed(step))

    def _continuous(self, tokens_t: Tensor, tokens_th: Tensor) -> Tensor:
        return self.to_code(self.encoder(self.scale.normalise(tokens_t), self.scale.normalise(tokens_th)))


class Codebook(nn.Module):
    """Codes (K, Z) and how often each was chosen since the last restart."""

    used: Tensor
    settled: Tensor

    def __init__(self, count: int, channels: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.empty(count, channels).uniform_(-1 / count, 1 / count))
        self.register_buffer("used", torch.zeros(count))
        self.register_buffer("settled", torch.zeros(count))

    def nearest(self, z_BQZ: Tensor) -> Tensor:
        """Index of the nearest code, (B, Q)."""
        return torch.cdist(z_BQZ.float(), self.vectors.float()).argmin(dim=-1)

    @torch.no_grad()
    def count(self, chosen_BQ: Tensor, z_BQZ: Tensor) -> None:
        """Count the use of codes. `settled` holds the counts before this step, which all processes share."""
        self.settled.copy_(self.used)
        self.used += torch.bincount(chosen_BQ.flatten(), minlength=len(self.used))

    @torch.no_grad()
    def restart(self, generator: torch.Generator) -> None:
        """Move unused codes next to used ones, drawn by their use, and count anew."""
        if self.settled.sum() > 0:
            unused = (self.settled == 0).nonzero().flatten()
            drawn = torch.multinomial(self.settled.cpu(), len(self.used), replacement=True, generator=generator)
            spread = torch.randn(self.vectors.shape, generator=generator).to(self.vectors.device)
            moved = self.vectors[drawn.to(unused.device)] + 0.01 * self.vectors.std() * spread
            self.vectors[unused] = moved[unused]
        self.used.zero_()
        self.settled.zero_()


@dataclass(frozen=True, kw_only=True)
class UniVLATraining(LatentActionTraining):
    """UniVLA has no options of its own."""

    def configure(self, preset: Preset, data: DataSpec) -> UniVLAConfig:
        """See `ModelTraining.configure`."""
        return UniVLAConfig(
            **self.sizes(preset, data),
            **self.output(preset),
            depth=preset.latent_depth,
            position_scale=preset.position_scale,
        )


CARD = ModelCard(kind="univla", role="latent_action", label="UniVLA", config=UniVLAConfig, training=UniVLATraining)
