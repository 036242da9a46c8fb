"""RAE: diffusion of s_{t+h} from noise in token space, with a wide head (Zheng et al., arXiv:2510.11690), conditioned on
s_t and the actions (RLA-WM, section 4.1).

    z = (s_{t+h} - mean) / std per position and channel,    z_tau = tau z + (1 - tau) eps,    v* = z - eps
    trunk:  [z_tau | s_t] with tau and the actions -> features
    head:   z_tau through two wide blocks, modulated token by token by SiLU(tau + features) -> v^

A network narrower than its tokens cannot fit even one sample; the wide, shallow head mends that. Flow times are shifted towards
the noise by alpha = sqrt(N C / 4096), in training and in the sampler. tau = 1 is data, the mirror of that paper's t.

Shape legend: B batch, N patch tokens, C channels, H horizon in actions, A action dimension, D width, W width of the head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foreact.core.batch import Batch
from foreact.core.cards import DataSpec, ModelCard
from foreact.core.presets import Preset
from foreact.core.trainable import TrainingData
from foreact.nn.attention import ModulatedBlock, initialise, zero
from foreact.nn.floats import widen
from foreact.nn.flow import Solver, TimeLaw, integrate, interpolate, sample_times, shift_times
from foreact.nn.positions import PatchEmbedding, TimeEmbedding
from foreact.world_models.token_model import TokenModelConfig, TokenModelTraining, TokenWorldModel, token_flow_cost


@dataclass(frozen=True, kw_only=True)
class RAEConfig(TokenModelConfig):
    """Sizes and sampler of RAE.

    Attributes:
        head_dim: W, width of the head's two blocks; 0 leaves the head out.
        head_depth: blocks of the head.
        shifted: whether flow times are shifted.
        time_law: law of tau before the shift.
        solver: ODE solver.
        steps: its steps (50 in that paper).
    """

    kind: ClassVar[str] = "rae"

    head_dim: int = 2048
    head_depth: int = 2
    shifted: bool = True
    time_law: TimeLaw = "logit_normal"
    solver: Solver = "euler"
    steps: int = 50

    @property
    def shift(self) -> float:
        """alpha: how far flow times are moved towards the noise; 1 is not at all."""
        return (self.tokens.count * self.tokens.channels / 4096) ** 0.5 if self.shifted else 1.0

    def build(self) -> RAE:
        """A world model with fresh weights."""
        return RAE(self)


class RAE(TokenWorldModel):
    """Stochastic world model that generates all future tokens from noise."""

    config: RAEConfig
    stochastic = True
    latent_mean: Tensor
    latent_std: Tensor

    def __init__(self, config: RAEConfig) -> None:
        super().__init__(config)
        channels = config.tokens.channels
        self.time = TimeEmbedding(config.dim)
        self.trunk = config.network(channels=2 * channels, modulated=True)
        self.out = WideHead(config) if config.head_dim else NarrowHead(config)
        self.register_buffer("latent_mean", torch.zeros(config.tokens.count, channels))
        self.register_buffer("latent_std", torch.ones(config.tokens.count, channels))

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """That of the tokens, (N, C)."""
        return self.config.tokens.count, self.config.tokens.channels

    def fit(self, data: TrainingData) -> None:
        """Set the statistics of actions, tokens, and of the futures per position and channel."""
        super().fit(data)
        _, tokens_th = data.pairs()
        self.latent_mean.copy_(widen(tokens_th).mean(dim=0))
        self.latent_std.copy_(widen(tokens_th).std(dim=0).clamp_min(1e-3))

    def velocity(self, z_BNC: Tensor, time_B: Tensor, tokens_t: Tensor, actions: tuple[Tensor, Tensor]) -> Tensor:
        """v^ (B, N, C) at z_tau."""
        time_BD = self.time(time_B)
        seen = torch.cat([z_BNC, self.scale.normalise(tokens_t)], dim=-1)
        features_BND = self.trunk(seen, *actions, time_BD)
        return widen(self.out(z_BNC, features_BND, time_BD))

    def predict(self, tokens: Tensor, actions: Tensor, lengths: Tensor, noise: Tensor) -> Tensor:
        """See `contracts.WorldModel.predict`."""
        chunk = self.chunk(actions, lengths)
        z = integrate(
            lambda z, time: self.velocity(z, time, tokens, chunk),
            noise,
            steps=self.config.steps,
            solver=self.config.solver,
            shift=self.config.shift,
        )
        return z * self.latent_std + self.latent_mean

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """MSE of the velocity."""
        z = (widen(batch.tokens_th) - self.latent_mean) / self.latent_std
        noise = batch.noise(*z.shape[1:], generator=generator)
        times = batch.draw(lambda n: sample_times(self.config.time_law, n, generator))
        times = shift_times(times, self.config.shift)
        point, velocity = interpolate(noise, z, times)
        chunk = self.chunk(batch.require_actions(), batch.lengths)
        return {"loss": F.mse_loss(self.velocity(point, times, batch.tokens_t, chunk), velocity)}


class WideHead(nn.Module):
    """z_tau through a few wide blocks, modulated token by token by the trunk's features and the flow time."""

    def __init__(self, config: RAEConfig) -> None:
        super().__init__()
        tokens, wide = config.tokens, config.head_dim
        self.project = PatchEmbedding(tokens.grid, tokens.channels, wide, config.position_scale)
        self.condition = nn.Linear(config.dim, wide)
        self.blocks = nn.ModuleList([ModulatedBlock(wide, max(1, wide // 64)) for _ in range(config.head_depth)])
        self.norm = nn.LayerNorm(wide)
        self.out = nn.Linear(wide, tokens.channels)
        initialise(self)
        zero(self.out)

    def forward(self, z_BNC: Tensor, features_BND: Tensor, time_BD: Tensor) -> Tensor:
        """-> (B, N, C)."""
        condition_BNW = self.condition(F.silu(features_BND + time_BD[:, None]))
        x_BNW = self.project(z_BNC)
        for block in self.blocks:
            x_BNW = block(x_BNW, condition_BNW)
        return self.out(self.norm(x_BNW))


class NarrowHead(nn.Module):
    """One linear layer on the trunk's features: the diffusion transformer without the wide head, for comparison."""

    def __init__(self, config: RAEConfig) -> None:
        super().__init__()
        self.out = nn.Linear(config.dim, config.tokens.channels)
        zero(self.out)

    def forward(self, z_BNC: Tensor, features_BND: Tensor, time_BD: Tensor) -> Tensor:
        """-> (B, N, C)."""
        return self.out(features_BND)


_HEAD = {"tiny": 512, "small": 512}


@dataclass(frozen=True, kw_only=True)
class RAETraining(TokenModelTraining):
    """RAE has no options of its own."""

    def configure(self, preset: Preset, data: DataSpec) -> RAEConfig:
        """See `ModelTraining.configure`."""
        return RAEConfig(**self.sizes(preset, data), head_dim=preset.of(_HEAD, 2048))


CARD = ModelCard(
    kind="rae",
    role="world_model",
    label="RAE",
    config=RAEConfig,
    training=RAETraining,
    cost=lambda model: token_flow_cost(model, model.velocity),
    published_flops=14.3e12,
    colour="#4d7c0f",
)
