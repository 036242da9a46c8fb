"""LaWM, stage 1 of LaWAM (arXiv 2606.15768): an inverse-dynamics encoder, a Gaussian z of one token, an AdaLN decoder.

    h = IDM([u_t | u_T | query]),    q(z) = N(mu(h), sigma(h)^2),    u^_T = LaWM(u_t, z)    (Eq. 2)
    loss = smooth-L1(u^_T, u_T) + beta KL(q || N(0, 1)) + state head                       (Eq. 4)

u are layer-normalised tokens. Patches attend to patches of both frames, the query to everything; z moves every block of the decoder
through shift, scale and gate, so that its norm cannot shift all tokens at once. z is inferred from one view of the clip and decoded
in another (`Batch.seen_t`), so that it cannot copy the picture's layout. The auxiliary head predicts how the robot's state
changes, with weights per embodiment, and is not needed afterwards. The released code sums the codes of time, rows and columns
in the same channels, so that (row, column) and (column, row) look alike; here each axis has its own channels.

Shape legend: B batch, N patch tokens, C channels, Z latent channels, D width, E embodiments, P state dimension.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foreact.core.batch import Batch, Columns
from foreact.core.cards import DataSpec, ModelCard
from foreact.core.config import ModelConfig
from foreact.core.presets import Preset
from foreact.core.recipe import PairSampling
from foreact.core.token_spec import TokenSpec
from foreact.core.trainable import TrainableModel, TrainingData
from foreact.latent_actions.training import LatentActionTraining
from foreact.nn.attention import ModulatedBlock, initialise, learned_tokens, zero
from foreact.nn.gaussian import draw_and_price
from foreact.nn.positions import sincos_2d


@dataclass(frozen=True, kw_only=True)
class LaWMConfig(ModelConfig):
    """Sizes of LaWM; the defaults are the released model's.

    Attributes:
        tokens: the tokens it works on.
        dim: width D of encoder and decoder.
        encoder_depth: layers of the inverse-dynamics encoder.
        decoder_depth: AdaLN-zero blocks of the decoder (12 released; the paper's text says 24).
        heads: attention heads.
        latent_channels: Z, of the one latent token.
        log_variance: where the posterior's begins (0 released); below, the decoder hears z through less noise from the first step on.
        kl_weight: beta, of the KL divergence summed over Z (1e-5 in the paper, 5e-5 in its code).
        smooth: error at which smooth L1 turns from square to straight.
        state_dim: P, the largest state of an embodiment; 0 leaves the state head out.
        embodiments: E; the first is for humans, whose state is unknown.
        state_weight: of the state head's loss.
        residual_output: predict the change of the tokens instead of the tokens (not in the paper).
        two_views: z is inferred from another view of the pair than the one that is predicted; in training alone.
    """

    kind: ClassVar[str] = "lawm"
    added: ClassVar[tuple[str, ...]] = ("two_views",)

    tokens: TokenSpec
    dim: int = 1024
    encoder_depth: int = 24
    decoder_depth: int = 12
    heads: int = 16
    latent_channels: int = 32
    log_variance: float = 0.0
    kl_weight: float = 1e-5
    smooth: float = 0.1
    state_dim: int = 0
    embodiments: int = 32
    state_weight: float = 1.0
    residual_output: bool = False
    two_views: bool = False

    def build(self) -> LaWM:
        """A LaWM with fresh weights."""
        return LaWM(self)

    @classmethod
    def upgrade_run(cls, about: dict[str, Any]) -> dict[str, Any]:
        """Before 0.2 the config did not say whether there were two views; the run did."""
        return about | {"model": {"two_views": "views" in about} | about["model"]}


class LaWM(TrainableModel):
    """`infer` gives the posterior mean (B, 1, Z); tokens in and out are layer-normalised, see `layer_normalise`.

    Attributes:
        state_low, state_range: smallest state and width of the range in the training split, (E, P); with a state head only.
    """

    config: LaWMConfig
    state_low: Tensor
    state_range: Tensor

    def __init__(self, config: LaWMConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = InverseDynamics(config)
        self.posterior = Posterior(config.latent_channels, config.log_variance)
        self.decoder = ForwardDynamics(config)
        self.state_head = StateHead(config) if config.state_dim else None
        if config.state_dim:
            self.register_buffer("state_low", torch.zeros(config.embodiments, config.state_dim))
            self.register_buffer("state_range", torch.ones(config.embodiments, config.state_dim))

    def layer_normalise(self, tokens: Tensor) -> Tensor:
        """Tokens (B, N, C) with mean 0 and variance 1 over C, without parameters: the space that LaWM predicts in."""
        return F.layer_norm(tokens.float(), tokens.shape[-1:])

    def infer(self, tokens_t: Tensor, tokens_th: Tensor) -> Tensor:
        """The mean (B, 1, Z) of the posterior q(z | u_t, u_T) (Eq. 2) of two (B, N, C)."""
        return self._posterior(tokens_t, tokens_th)[0]

    def decode(self, tokens_t: Tensor, z: Tensor) -> Tensor:
        """Layer-normalised u^_T (B, N, C) (Eq. 2) from tokens (B, N, C) and z (B, 1, Z)."""
        u_t = self.layer_normalise(tokens_t)
        out = self.decoder(u_t, z)
        return u_t + out if self.config.residual_output else out

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Smooth L1 + beta KL + state loss (Eq. 4), with z drawn from the posterior; the last where the batch has states."""
        seen_t = batch.tokens_t if batch.seen_t is None else batch.seen_t
        seen_th = batch.tokens_th if batch.seen_th is None else batch.seen_th
        mean, log_variance = (part.float() for part in self._posterior(seen_t, seen_th))
        z, kl = draw_and_price(mean, log_variance, batch.noise(*mean.shape[1:], generator=generator))
        target = self.layer_normalise(batch.tokens_th)
        predicted = self.decode(batch.tokens_t, z).float()
        error = F.smooth_l1_loss(predicted, target, beta=self.config.smooth)  # the future; the paper: squared error
        still = F.smooth_l1_loss(self.layer_normalise(batch.tokens_t), target, beta=self.config.smooth)
        skill = (1 - error / still.clamp_min(1e-8)).detach()
        scalars = {
            "loss": error + self.config.kl_weight * kl,  # KL: z stays where a policy can predict it
            "error": error.detach(),
            "kl": kl.detach(),
            "skill": skill,
        }
        if self.state_head is not None and batch.state_t is not None:
            state_loss = self.state_loss(z, *self._states(batch))  # z says how the body moves, not what it looks like
            scalars |= {"loss": scalars["loss"] + state_loss, "state": state_loss.detach()}
        return scalars

    @property
    def columns(self) -> Columns:
        """Two views, where the config says so, and states for the state head."""
        return Columns(states=self.state_head is not None, two_views=self.config.two_views)

    def fit(self, data: TrainingData) -> None:
        """Set the range of each embodiment's states, for the state head."""
        if self.state_head is not None:
            for embodiment, states in data.states().items():
                self.fit_states(states, embodiment)

    def fit_states(self, states: Tensor, embodiment: int) -> None:
        """Set the range of an embodiment's states from rows (n, up to P) of the training split; NaN are unknown."""
        known = torch.where(torch.isfinite(states), states, torch.nan).double().numpy()
        low, high = (torch.from_numpy(f(known, axis=0)).float() for f in (np.nanmin, np.nanmax))
        self.state_low[embodiment, : len(low)] = low
        self.state_range[embodiment, : len(low)] = (high - low).clamp_min(1e-6)

    def _states(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What `state_loss` takes beside z: states in [0, 1] and their changes in [-1, 1], padded to (B, P)."""
        assert batch.state_t is not None
        assert batch.state_th is not None
        assert batch.embodiment is not None
        missing = (0, self.config.state_dim - batch.state_t.shape[1])
        padded = (F.pad(s.float(), missing, value=torch.nan) for s in (batch.state_t, batch.state_th))
        low, width = self.state_low[batch.embodiment], self.state_range[batch.embodiment]
        state_t, state_th = ((s - low) / width for s in padded)
        known = torch.isfinite(state_t) & torch.isfinite(state_th)
        change = (state_th - state_t).nan_to_num(0.0, 0.0, 0.0)
        return state_t.nan_to_num(0.0, 0.0, 0.0), change, known, batch.embodiment

    def state_loss(self, z: Tensor, state: Tensor, change: Tensor, known: Tensor, embodiment: Tensor) -> Tensor:
        """Squared error of the predicted change of state, over the known dimensions of robots.

        Args:
            z: (B, 1, Z).
            state: normalised state at t, padded to (B, P).
            change: its change until T, (B, P) in [-1, 1].
            known: which dimensions an embodiment has, (B, P).
            embodiment: (B,) numbers below E; 0, humans, does not count.
        """
        if self.state_head is None:
            raise ValueError("this LaWM was built without a state head: give it a state_dim")
        counted = known & (embodiment > 0)[:, None]
        error = (self.state_head(z, state, embodiment) - change).square() * counted
        return self.config.state_weight * error.sum() / counted.sum().clamp_min(1)

    def _posterior(self, tokens_t: Tensor, tokens_th: Tensor) -> tuple[Tensor, Tensor]:
        return self.posterior(self.encoder(self.layer_normalise(tokens_t), self.layer_normalise(tokens_th)))


class InverseDynamics(nn.Module):
    """IDM: both frames' tokens and one query, which first reads them by cross-attention, then joins 24 layers."""

    codes: Tensor
    hidden: Tensor

    def __init__(self, config: LaWMConfig) -> None:
        super().__init__()
        dim, tokens = config.dim, config.tokens
        self.project = nn.Linear(tokens.channels, dim)
        self.query = learned_tokens(1, dim, scale=1.0)
        self.norm_context = nn.LayerNorm(dim)
        self.read = nn.MultiheadAttention(dim, config.heads, batch_first=True)
        self.norm_query = nn.LayerNorm(dim)
        self.think = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim))
        layer = nn.TransformerEncoderLayer(dim, config.heads, 4 * dim, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, config.encoder_depth, enable_nested_tensor=False)
        self.out = nn.Linear(dim, config.latent_channels)
        initialise(self)
        places = 2 * tokens.count
        hidden = torch.zeros(places + 1, places + 1, dtype=torch.bool)
        hidden[:places, places] = True  # patches do not see the query
        self.register_buffer("hidden", hidden, persistent=False)
        self.register_buffer("codes", space_time_codes(tokens.grid, dim), persistent=False)

    def forward(self, u_t: Tensor, u_T: Tensor) -> Tensor:
        """Two (B, N, C) -> (B, 1, Z)."""
        x_BSD = self.project(torch.cat([u_t, u_T], dim=1)) + self.codes
        query = self.query.expand(len(x_BSD), -1, -1)
        context = self.norm_context(x_BSD)
        query = self.norm_query(query + self.read(query, context, context, need_weights=False)[0])
        query = query + self.think(query)
        x_BSD = self.blocks(torch.cat([x_BSD, query.to(x_BSD.dtype)], dim=1), mask=self.hidden)
        return self.out(x_BSD[:, -1:])


class Posterior(nn.Module):
    """h (B, 1, Z) -> mean and log variance of z, each (B, 1, Z)."""

    def __init__(self, channels: int, log_variance: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.mean, self.log_variance = nn.Linear(channels, channels), nn.Linear(channels, channels)
        with torch.no_grad():
            self.log_variance.bias.add_(log_variance)

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """See the class; the log variance stays within +-10."""
        hidden = self.norm(hidden)
        return self.mean(hidden), self.log_variance(hidden).clamp(-10, 10)


class ForwardDynamics(nn.Module):
    """The latent world model itself: u_t through AdaLN-zero blocks that z modulates; one pass gives u^_T."""

    codes: Tensor

    def __init__(self, config: LaWMConfig) -> None:
        super().__init__()
        channels = config.tokens.channels
        self.project = nn.Linear(channels, config.dim)
        self.project_z = nn.Linear(config.latent_channels, config.dim)
        self.blocks = nn.ModuleList([ModulatedBlock(config.dim, config.heads) for _ in range(config.decoder_depth)])
        self.out = nn.Linear(config.dim, channels)
        # tokens have one norm, changes have not: behind a norm, small and large ones are learnt slowly or not at all
        self.norm = nn.Identity() if config.residual_output else nn.LayerNorm(channels)
        initialise(self)
        if config.residual_output:
            zero(self.out)
        self.register_buffer("codes", sincos_2d(config.tokens.grid, config.dim), persistent=False)

    def forward(self, u_t: Tensor, z: Tensor) -> Tensor:
        """(B, N, C) and (B, 1, Z) -> (B, N, C)."""
        x_BND = self.project(u_t) + self.codes
        condition_BD = self.project_z(z[:, 0])
        for block in self.blocks:
            x_BND = block(x_BND, condition_BD)
        return self.norm(self.out(x_BND))


class StateHead(nn.Module):
    """z and the state at t -> how the state changes, tanh (B, P); two-layer networks with weights per embodiment."""

    def __init__(self, config: LaWMConfig) -> None:
        super().__init__()
        dim, size, count = config.dim, config.state_dim, config.embodiments
        self.project_z = nn.Linear(config.latent_channels, dim)
        self.read = PerEmbodiment(count, size, dim)
        self.read_more = PerEmbodiment(count, dim, dim)
        self.join = PerEmbodiment(count, 2 * dim, dim)
        self.out = PerEmbodiment(count, dim, size)

    def forward(self, z: Tensor, state: Tensor, embodiment: Tensor) -> Tensor:
        """z (B, 1, Z), state (B, P), embodiment (B,) -> (B, P)."""
        seen = self.read_more(F.relu(self.read(state, embodiment)), embodiment)
        joint = torch.cat([self.project_z(z[:, 0]), seen], dim=-1)
        return torch.tanh(self.out(F.relu(self.join(joint, embodiment)), embodiment))


class PerEmbodiment(nn.Module):
    """A linear layer whose weights are chosen by the embodiment."""

    def __init__(self, count: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(count, inputs, outputs) * inputs**-0.5)
        self.bias = nn.Parameter(torch.zeros(count, outputs))

    def forward(self, x_BI: Tensor, embodiment_B: Tensor) -> Tensor:
        """(B, inputs) and (B,) -> (B, outputs)."""
        return torch.einsum("bi,bio->bo", x_BI, self.weight[embodiment_B]) + self.bias[embodiment_B]


def space_time_codes(grid: tuple[int, int], dim: int) -> Tensor:
    """Codes (2 N, D) of two frames' patches: a quarter of the channels tells the frame, the others row and column."""
    places = sincos_2d(grid, dim - dim // 4)
    frames = torch.stack([torch.zeros(dim // 4), torch.ones(dim // 4)])
    frames = torch.where(torch.arange(dim // 4) % 2 == 0, frames, 1 - frames)
    return torch.cat([frames.repeat_interleave(len(places), dim=0), places.repeat(2, 1)], dim=1)


_ENCODER_DEPTH, _EMBODIMENTS, _LOG_VARIANCE = {"tiny": 2, "small": 3}, {"paper": 32}, {"tiny": -4.0, "small": -4.0}
_FRAMES = {"paper": ("facebook/dinov3-vitb16-pretrain-lvd1689m", 256)}


@dataclass(frozen=True, kw_only=True)
class LaWMTraining(LatentActionTraining):
    """Options of LaWM alone.

    Attributes:
        augment: infer z from another view of the pair than the one that is predicted; frames are then encoded while training.
    """

    augment: bool = True

    def frames(self, preset: Preset) -> tuple[str, int]:
        """The published ones at the published size, else the preset's."""
        encoder, image_size = preset.of(_FRAMES, (preset.encoder, preset.image_size))
        return self.encoder or encoder, self.image_size or image_size

    def reads_frames(self) -> bool:
        """For the other views."""
        return self.augment

    def law(self, preset: Preset) -> PairSampling:
        """All pairs 1.2 s apart."""
        return PairSampling(seconds=1.2)

    def configure(self, preset: Preset, data: DataSpec) -> LaWMConfig:
        """See `ModelTraining.configure`; the state head takes as many numbers as the recordings have."""
        return LaWMConfig(
            **self.sizes(preset, data),
            encoder_depth=preset.of(_ENCODER_DEPTH, 24),
            decoder_depth=preset.latent_depth,
            log_variance=preset.of(_LOG_VARIANCE, 0.0),
            residual_output=preset.residual_output,
            state_dim=data.state_dim,
            embodiments=max(preset.of(_EMBODIMENTS, 2), data.embodiments),
            two_views=self.augment,
        )


CARD = ModelCard(kind="lawm", role="latent_action", label="LaWM", config=LaWMConfig, training=LaWMTraining)
