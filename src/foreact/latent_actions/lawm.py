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
from torch import Tensor
from torch.nn import functional as F

from foreact.core.batch import Batch, Columns
from foreact.core.cards import DataSpec, ModelCard
from foreact.core.config import ModelConfig
from foreact.core.presets import Preset
from foreact.core.recipe import PairSampling
from foreact.core.token_spec import TokenSpec
from foreact.core.trainable import TrainableModel, TrainingData
from foreact.latent_actions.lawm_networks import ForwardDynamics, InverseDynamics, Posterior, StateHead, layer_normalise
from foreact.latent_actions.training import LatentActionTraining
from foreact.nn.gaussian import draw_and_price


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
        seconds: T, between the frames of all pairs that it learnt from; 0 where they were of many distances, or it is unknown.
        two_views: z is inferred from another view of the pair than the one that is predicted; in training alone.
    """

    kind: ClassVar[str] = "lawm"
    added: ClassVar[tuple[str, ...]] = ("two_views", "seconds")

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
    seconds: float = 0.0
    two_views: bool = False

    def build(self) -> LaWM:
        """A LaWM with fresh weights."""
        return LaWM(self)

    @classmethod
    def upgrade_run(cls, about: dict[str, Any]) -> dict[str, Any]:
        """Before 0.2 the config said neither whether there were two views nor how far apart they are; the run did."""
        known = {"two_views": "views" in about, "seconds": about.get("sampling", {}).get("seconds", 0.0)}
        return about | {"model": known | about["model"]}


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
        """Tokens (B, N, C) in the space that LaWM predicts in, see `lawm_networks.layer_normalise`."""
        return layer_normalise(tokens)

    def infer(self, tokens_t: Tensor, tokens_th: Tensor) -> Tensor:
        """The mean (B, 1, Z) of the posterior q(z | u_t, u_T) (Eq. 2) of two (B, N, C)."""
        return self._posterior(tokens_t, tokens_th)[0]

    def decode(self, tokens_t: Tensor, z: Tensor) -> Tensor:
        """Layer-normalised u^_T (B, N, C) (Eq. 2) from tokens (B, N, C) and z (B, 1, Z)."""
        return self.decoder(self.layer_normalise(tokens_t), z)

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
            seconds=data.law.seconds or 0.0,
            two_views=self.augment,
        )


CARD = ModelCard(kind="lawm", role="latent_action", label="LaWM", config=LaWMConfig, training=LaWMTraining)
