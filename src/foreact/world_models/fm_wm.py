"""FM-WM: a flow whose source is the present itself (RLA-WM, section 4.1, E10).

    x_tau = (1 - tau) s_t + tau s_{t+h},    v* = s_{t+h} - s_t,    from x_0 = s_t in 30 Euler steps

The network sees x_tau, tau and the actions. It must not see s_t as well: with s_t known, x_tau gives s_{t+h} away for every
tau > 0, so the loss falls while only tau = 0 is left to learn from, where the best answer is the conditional mean: a
regression, badly trained. `condition=True` builds that trap, and a test measures it; with `source_noise` x_tau no longer gives all away.

Shape legend: B batch, N patch tokens, C channels, H horizon in actions, A action dimension.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from foreact.core.batch import Batch
from foreact.core.cards import DataSpec, ModelCard
from foreact.core.presets import Preset
from foreact.nn.attention import zero
from foreact.nn.floats import widen
from foreact.nn.flow import Solver, TimeLaw, integrate, interpolate, sample_times
from foreact.nn.positions import TimeEmbedding
from foreact.world_models.token_model import TokenModelConfig, TokenModelTraining, TokenWorldModel, token_flow_cost


@dataclass(frozen=True, kw_only=True)
class FMWMConfig(TokenModelConfig):
    """Sizes and sampler of FM-WM.

    Attributes:
        condition: whether the network sees s_t beside x_tau; False in the paper, see above.
        source_noise: standard deviation of noise on the source, in units of the tokens' spread.
        time_law: law of tau in training; the paper does not say.
        solver: ODE solver.
        steps: its steps.
    """

    kind: ClassVar[str] = "fm_wm"

    condition: bool = False
    source_noise: float = 0.0
    time_law: TimeLaw = "uniform"
    solver: Solver = "euler"
    steps: int = 30

    def build(self) -> FMWM:
        """A world model with fresh weights."""
        return FMWM(self)


class FMWM(TokenWorldModel):
    """Flow from s_t to s_{t+h} in token space; deterministic unless its source has noise."""

    config: FMWMConfig

    def __init__(self, config: FMWMConfig) -> None:
        super().__init__(config)
        self.stochastic = config.source_noise > 0
        channels = config.tokens.channels
        self.time = TimeEmbedding(config.dim)
        self.network = config.network(channels=2 * channels if config.condition else channels, modulated=True)
        self.out = nn.Linear(config.dim, channels)
        zero(self.out)

    def velocity(self, x_BNC: Tensor, time_B: Tensor, tokens_t: Tensor, actions: tuple[Tensor, Tensor]) -> Tensor:
        """v^ (B, N, C) at x_tau, in units of the typical change; s_t is looked at only where the config says so."""
        seen = self.scale.normalise(x_BNC)
        if self.config.condition:
            seen = torch.cat([seen, self.scale.normalise(tokens_t)], dim=-1)
        return widen(self.out(self.network(seen, *actions, self.time(time_B))))

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """That of the tokens (N, C), where the source has noise."""
        return (self.config.tokens.count, self.config.tokens.channels) if self.stochastic else (0,)

    def predict(self, tokens: Tensor, actions: Tensor, lengths: Tensor, noise: Tensor) -> Tensor:
        """See `contracts.WorldModel.predict`."""
        source = widen(tokens)
        if self.stochastic:
            source = source + self.config.source_noise * self.scale.std * noise
        chunk = self.chunk(actions, lengths)
        return integrate(
            lambda x, time: self.scale.change * self.velocity(x, time, tokens, chunk),
            source,
            steps=self.config.steps,
            solver=self.config.solver,
        )

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """MSE of the velocity, in units of the typical change; for the log also over the flow's first and last third."""
        source, target = widen(batch.tokens_t), widen(batch.tokens_th)
        if self.stochastic:
            noise = batch.noise(*source.shape[1:], generator=generator)
            source = source + self.config.source_noise * self.scale.std * noise
        times = batch.draw(lambda n: sample_times(self.config.time_law, n, generator))
        point, velocity = interpolate(source, target, times)  # E10: from s_t, not from noise
        chunk = self.chunk(batch.require_actions(), batch.lengths)
        predicted = self.velocity(point, times, batch.tokens_t, chunk)
        error_B = (predicted - velocity / self.scale.change).square().mean(dim=(1, 2))
        logged = {"first_third": _mean_where(error_B, times < 1 / 3), "last_third": _mean_where(error_B, times > 2 / 3)}
        return {"loss": error_B.mean(), **logged}


def _mean_where(values_B: Tensor, chosen_B: Tensor) -> Tensor:
    """Mean of the chosen values; 0 where none is."""
    return ((values_B * chosen_B).sum() / chosen_B.sum().clamp_min(1)).detach()


@dataclass(frozen=True, kw_only=True)
class FMWMTraining(TokenModelTraining):
    """FM-WM has no options of its own."""

    def configure(self, preset: Preset, data: DataSpec) -> FMWMConfig:
        """See `ModelTraining.configure`."""
        return FMWMConfig(**self.sizes(preset, data))


CARD = ModelCard(
    kind="fm_wm",
    role="world_model",
    label="FM-WM",
    config=FMWMConfig,
    training=FMWMTraining,
    cost=lambda model: token_flow_cost(model, model.velocity),
    published_flops=14.3e12,
    colour="#0369a1",
)
