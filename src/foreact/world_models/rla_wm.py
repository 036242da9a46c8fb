"""RLA-WM: generate the residual latent action z by flow matching, then decode the future tokens (RLA-WM, section 3, Fig. 2).

    condition = f_cond(queries, s_t, a_{t:t+h})                        once per chunk
    z_tau = tau z + (1 - tau) eps,    v* = z - eps                     training (E5, E6)
    z <- z + dtau v^(z, tau, condition)   from z_0 = eps, 30 steps     inference (E7)
    s^_{t+h} = f_dec(s_t, z_1)                                         once per chunk (E3)

Equations are numbered in docs/papers.md. z is standardised per dimension with statistics of the training split (E8). The
paper does not say how tau enters; here it modulates the flow's blocks (adaLN-zero). What the paper does not have is in
`RLAWorldModelExtras`; the released code's other networks are in `rla_wm_released`.

Shape legend: B batch, N patch tokens, C channels, Q latent tokens, Z latent channels, H horizon, A action dimension.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foreact.core.batch import Batch
from foreact.core.config import ModelConfig
from foreact.core.cost import Stage, all_steps, count_stage, meta
from foreact.core.token_spec import TokenSpec
from foreact.core.trainable import TrainingData
from foreact.latent_actions.rla import RLA, RLAConfig
from foreact.nn.attention import exact_gelu
from foreact.nn.floats import widen
from foreact.nn.flow import Solver, TimeLaw, integrate, interpolate, sample_times
from foreact.world_models.base import PretrainedWorldModel
from foreact.world_models.rla_wm_extras import Regressions, RLAWorldModelExtras
from foreact.world_models.rla_wm_networks import JointFlow, QueryCondition, Sizes

_FIT_BATCH = 64
_UNROLLED = 2
"""Evaluations of the flow that one compiled graph holds: each is compiled again."""


@dataclass(frozen=True, kw_only=True)
class RLAWorldModelConfig(ModelConfig):
    """Sizes of RLA-WM; the defaults are the paper's (section A.2).

    Attributes:
        rla: the frozen autoencoder inside; its tokens are the model's.
        action_dim: A.
        horizon: H, the longest chunk.
        dim: width D of condition and flow networks.
        condition_depth: blocks of the condition network (12 in the released IWS configs).
        flow_depth: blocks of the flow network.
        heads: attention heads.
        time_law: law of tau in training (the paper does not say; the released code: logit_normal).
        solver: ODE solver.
        steps: its steps.
        extras: what the paper does not have.
    """

    kind: ClassVar[str] = "rla_wm"

    rla: RLAConfig
    action_dim: int
    horizon: int = 15
    dim: int = 1024
    condition_depth: int = 8
    flow_depth: int = 8
    heads: int = 16
    time_law: TimeLaw = "uniform"
    solver: Solver = "euler"
    steps: int = 30
    extras: RLAWorldModelExtras = field(default_factory=RLAWorldModelExtras)

    @property
    def tokens(self) -> TokenSpec:
        """The tokens the model works on."""
        return self.rla.tokens

    @property
    def latent(self) -> tuple[int, int]:
        """Q and Z."""
        return self.rla.latent_tokens, self.rla.latent_channels

    def sizes(self, depth: int) -> Sizes:
        """What one of the two networks, `depth` blocks deep, is built from."""
        return Sizes(
            grid=self.tokens.grid,
            channels=self.tokens.channels,
            latent=self.latent,
            actions=(self.horizon, self.action_dim),
            dim=self.dim,
            heads=self.heads,
            depth=depth,
            position_scale=self.rla.position_scale,
            merge=self.extras.condition_merge,
            spread_actions=self.extras.spread_actions,
            slots=self.extras.slots,
        )

    def build(self) -> RLAWorldModel:
        """A world model with fresh weights, its autoencoder's included."""
        return RLAWorldModel(self)

    @classmethod
    def upgrade(cls, data: dict[str, Any]) -> tuple[type[ModelConfig], dict[str, Any]]:
        """Configs of before 0.2, which had all fields in a row and both variants in one class."""
        if "variant" not in data:
            return cls, data
        defaults = asdict(RLAWorldModelExtras())
        extras = {k: data.get(k, default) for k, default in defaults.items()}
        rest = {k: v for k, v in data.items() if k not in defaults and k != "variant"}
        if data["variant"] == "paper":
            return cls, {**rest, "extras": extras}
        from foreact.world_models.rla_wm_released import ReleasedRLAWorldModelConfig

        return ReleasedRLAWorldModelConfig, {**rest, "extras": extras}


class RLAWorldModel(PretrainedWorldModel):
    """Stochastic world model: one noise, one future."""

    config: RLAWorldModelConfig
    stochastic = True
    latent_mean: Tensor
    latent_std: Tensor

    def __init__(self, config: RLAWorldModelConfig) -> None:
        super().__init__(config.action_dim)
        self.config = config
        self.rla = config.rla.build().requires_grad_(False)
        self.condition: Any
        self.flow: Any
        self.condition, self.flow = self.build_networks()
        if config.rla.exact_gelu:
            exact_gelu(self)
        regressions = Regressions(config.extras, config.dim, config.rla)
        self.mean, self.future = regressions.mean, regressions.future
        self.register_buffer("latent_mean", torch.zeros(config.latent))
        self.register_buffer("latent_std", torch.ones(config.latent))

    def build_networks(self) -> tuple[nn.Module, nn.Module]:
        """Condition and flow network."""
        config = self.config
        return QueryCondition(config.sizes(config.condition_depth)), JointFlow(config.sizes(config.flow_depth))

    @property
    def latent_action(self) -> RLA:
        """The autoencoder inside."""
        return self.rla

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """That of z, (Q, Z)."""
        return self.config.latent

    @property
    def networks(self) -> list[nn.Module]:
        """The whole prediction where its flow is short; else condition, flow and decoder, so that no graph repeats the flow."""
        calls = self.config.steps * (1 if self.config.solver == "euler" else 2)
        return [self] if calls <= _UNROLLED else [self.condition, self.flow, self.rla.decoder]

    @torch.no_grad()
    def fit(self, data: TrainingData) -> None:
        """Set the statistics of the actions, and mu and sigma of z (E8)."""
        super().fit(data)
        tokens_t, tokens_th = data.pairs()
        parts = zip(tokens_t.split(_FIT_BATCH), tokens_th.split(_FIT_BATCH), strict=True)
        z_PQZ = torch.cat([widen(self.rla.infer(s_t, s_th)) for s_t, s_th in parts])
        self.latent_mean.copy_(z_PQZ.mean(dim=0))
        self.latent_std.copy_(z_PQZ.std(dim=0).clamp_min(1e-4))

    def infer_latent(self, tokens_t: Tensor, tokens_th: Tensor) -> Tensor:
        """The standardised z = f_enc(s_{t+h} - s_t) of a true pair, (B, Q, Z) (E2, E8); no gradient reaches f_enc."""
        with torch.no_grad():
            return (widen(self.rla.infer(tokens_t, tokens_th)) - self.latent_mean) / self.latent_std

    def decode_latent(self, tokens_t: Tensor, z: Tensor) -> Tensor:
        """s^_{t+h} = f_dec(s_t, z) (B, N, C) of a standardised z (B, Q, Z) (E3)."""
        return widen(self.rla.decode(tokens_t, widen(z) * self.latent_std + self.latent_mean))

    def condition_tokens(self, tokens: Tensor, actions: Tensor, lengths: Tensor) -> Tensor:
        """Condition tokens (B, Q, D) of s_t (B, N, C) and the actions (B, H, A), of which `lengths` (B,) count."""
        return self.condition(self.rla.scale.normalise(tokens), *self.chunk(actions, lengths))

    def transport(
        self,
        tokens: Tensor,
        actions: Tensor,
        lengths: Tensor,
        noise: Tensor,
        *,
        steps: int | None = None,
        solver: Solver | None = None,
    ) -> Tensor:
        """z_1, standardised (B, Q, Z): where the flow takes z_0 = `noise` (B, Q, Z) (E7).

        Args:
            tokens: s_t, (B, N, C).
            actions: (B, H, A) in the data's units.
            lengths: valid actions of each chunk, (B,).
            noise: z_0.
            steps: ODE steps; the config's if None.
            solver: ODE solver; the config's if None.

        Raises:
            ValueError: fewer than one step, an unknown solver or a chunk longer than the config's horizon.
        """
        context = self.flow.prepare(self.condition_tokens(tokens, actions, lengths))
        return integrate(
            lambda z, time: widen(self.flow(z, time, context)),
            noise,
            steps=self.config.steps if steps is None else steps,
            solver=solver or self.config.solver,
        )

    def forward(self, tokens: Tensor, actions: Tensor, lengths: Tensor, noise: Tensor) -> Tensor:
        """The prediction s^_{t+h} (B, N, C) that follows from this noise (B, Q, Z) (E1)."""
        return self.decode_latent(tokens, self.transport(tokens, actions, lengths, noise))

    def predict(self, tokens: Tensor, actions: Tensor, lengths: Tensor, noise: Tensor) -> Tensor:
        """See `contracts.WorldModel.predict`."""
        return self(tokens, actions, lengths, noise)

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """|v^ - v*|^2 at a random tau (E6), and the regressions of the extras where they have a weight."""
        extras, draws = self.config.extras, self.config.extras.draws
        z = self.infer_latent(batch.tokens_t, batch.tokens_th)
        eps = batch.noise(draws, *z.shape[1:], generator=generator).flatten(0, 1)
        tau = batch.draw(lambda n: sample_times(self.config.time_law, n * draws, generator).view(n, draws)).flatten()
        z_tau, v_true = interpolate(eps, z.repeat_interleave(draws, dim=0), tau)  # E5

        chunk = self.chunk(batch.require_actions(), batch.lengths)
        condition, patches = self.condition.features(self.rla.scale.normalise(batch.tokens_t), *chunk)
        context = self.flow.prepare(condition.repeat_interleave(draws, dim=0))
        v = widen(self.flow(z_tau, tau, context))

        mse = F.mse_loss(v, v_true)  # E6, the paper's only term
        l1 = F.l1_loss(v, v_true)  # extra: the released code's second term
        total, logged = mse + extras.l1_weight * l1, {"mse": mse.detach(), "l1": l1.detach()}
        if self.mean is not None:  # extra: E[z] from the condition tokens
            mean = F.mse_loss(widen(self.mean(condition)), z)
            total, logged = total + extras.mean_weight * mean, logged | {"mean": mean.detach()}
        if self.future is not None:  # extra: s_{t+h} from the condition network's patches
            future = Regressions.future_tokens(self.future, patches, batch.tokens_t, self.rla, extras.condition_merge)
            tokens = self.rla.scale.loss(future, batch.tokens_th, batch.tokens_t)["loss"]
            total, logged = total + extras.token_weight * tokens, logged | {"tokens": tokens.detach()}
        return {"loss": total, **logged}


def cost(model: RLAWorldModel) -> dict[str, Stage]:
    """Condition, one flow step, all flow steps and decode, on the meta device."""
    config, tokens = model.config, model.config.tokens
    s_t, z, time = meta(1, tokens.count, tokens.channels), meta(1, *config.latent), meta(1)
    actions, mask = meta(1, config.horizon, config.action_dim), meta(1, config.horizon).bool()
    context = model.flow.prepare(model.condition(s_t, actions, mask))
    step = count_stage(model.flow, lambda: model.flow(z, time, context))
    return {
        "condition": count_stage(model.condition, lambda: model.flow.prepare(model.condition(s_t, actions, mask))),
        "flow_step": step,
        "flow": all_steps(step, config.steps, config.solver),
        "decode": count_stage(model.rla.decoder, lambda: model.rla.decoder(s_t, z)),
    }
