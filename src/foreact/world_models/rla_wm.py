"""RLA-WM: generate the residual latent action z by flow matching, then decode the future tokens (RLA-WM, section 3).

    condition = f_cond(s_t, a_{t:t+h})                                      once per chunk
    v^ = f_flow(z_tau, tau, condition),  z <- z + dtau * v^                 30 Euler steps from z_0 = eps
    s^_{t+h} = f_dec(s_t, z_1)                                              once per chunk

z is standardised per dimension with statistics fitted on the training split (the released code divides by 10). Two
variants share this file's model; their condition and flow networks are in `rla_wm_networks`:
the paper's (default): [Q queries | s_t | action] -> self-attention -> Q condition tokens; flow over [condition | z_tau];
the released code's: s_t through blocks modulated by a GRU of the actions; flow cross-attends to all N tokens.
The paper does not say how tau enters; here it modulates the flow's blocks (adaLN-zero).
Two regressions can teach the condition network beside the flow: of z from its condition tokens, of s_{t+h} from its patches.

Shape legend: B batch, N patch tokens, C channels, Q latent tokens, Z latent channels, H horizon, A action dimension.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foreact.contracts import Batch
from foreact.latent_actions.rla import RLAConfig
from foreact.nn.attention import zero
from foreact.nn.flow import Solver, TimeLaw, integrate, interpolate, sample_times
from foreact.nn.positions import split_patches
from foreact.pretrained import ModelConfig, TokenSpec
from foreact.world_models.base import PretrainedWorldModel
from foreact.world_models.rla_wm_networks import AdaptiveCondition, CrossFlow, JointFlow, QueryCondition, Sizes

_FIT_BATCH = 64
_UNROLLED = 2
"""Evaluations of the flow that one compiled graph holds: each is compiled again."""


@dataclass(frozen=True, kw_only=True)
class RLAWorldModelConfig(ModelConfig):
    """Sizes and variant of RLA-WM; the defaults are the paper's.

    Attributes:
        rla: the frozen autoencoder inside; its tokens are the model's.
        action_dim: A.
        horizon: H, the longest chunk (15 in the paper).
        dim: width D of condition and flow networks.
        condition_depth: blocks of the condition network (8; 12 in the released IWS configs).
        condition_merge: side of the squares of patches that become one token of the condition network: 2 quarters its
            cost. Not in the paper, the paper's variant only.
        flow_depth: blocks of the flow network.
        heads: attention heads.
        spread_actions: the paper's variant also adds the action embedding to all other tokens, as DINO-WM's own code joins
            it to every patch: what depends on place and action is then learned from the first block on. Not in the paper.
        variant: the paper's networks or the released code's.
        slots: learned slot tokens on z in the flow network (off in the released code).
        time_law: law of tau in training (the released code: logit_normal).
        draws: noises and times per training pair; the condition network runs once for all of them (1 in the paper).
        l1_weight: weight of an L1 term beside the MSE on velocities (the released code: 1).
        mean_weight: weight of a linear regression of z from the condition tokens, which teaches the condition network
            faster than the flow's noisy gradients do; not in the papers, the paper's variant only.
        token_weight: weight of a regression of s_{t+h} from the condition network's patch tokens, DINO-WM's loss: what each
            patch will be is then known in its place, where the condition tokens find it. In training alone; not in the papers,
            the paper's variant only.
        solver: ODE solver.
        steps: its steps.
    """

    kind: ClassVar[str] = "rla_wm"
    added: ClassVar[tuple[str, ...]] = ("condition_merge", "token_weight")

    rla: RLAConfig
    action_dim: int
    horizon: int = 15
    dim: int = 1024
    condition_depth: int = 8
    condition_merge: int = 1
    flow_depth: int = 8
    heads: int = 16
    spread_actions: bool = False
    variant: Literal["paper", "released"] = "paper"
    slots: bool = True
    time_law: TimeLaw = "uniform"
    draws: int = 1
    l1_weight: float = 0.0
    mean_weight: float = 0.0
    token_weight: float = 0.0
    solver: Solver = "euler"
    steps: int = 30

    @property
    def tokens(self) -> TokenSpec:
        """The tokens the model works on."""
        return self.rla.tokens

    def sizes(self, depth: int) -> Sizes:
        """What one of the two networks, `depth` blocks deep, is built from."""
        return Sizes(
            grid=self.tokens.grid,
            channels=self.tokens.channels,
            latent=(self.rla.latent_tokens, self.rla.latent_channels),
            actions=(self.horizon, self.action_dim),
            dim=self.dim,
            heads=self.heads,
            depth=depth,
            position_scale=self.rla.position_scale,
            merge=self.condition_merge,
            spread_actions=self.spread_actions,
            slots=self.slots,
        )

    def build(self) -> RLAWorldModel:
        """A world model with fresh weights, its autoencoder's included."""
        return RLAWorldModel(self)


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
        condition, flow = (QueryCondition, JointFlow) if config.variant == "paper" else (AdaptiveCondition, CrossFlow)
        self.condition = condition(config.sizes(config.condition_depth))
        self.flow = flow(config.sizes(config.flow_depth))
        if config.variant != "paper" and (config.mean_weight or config.token_weight or config.condition_merge > 1):
            raise ValueError(
                "only the paper's variant has Q condition tokens, to regress z from or to read merged patches"
            )
        self.mean = nn.Linear(config.dim, config.rla.latent_channels) if config.mean_weight else None
        squares = config.condition_merge**2 * config.tokens.channels
        self.future = nn.Linear(config.dim, squares) if config.token_weight else None
        if self.future is not None:
            zero(self.future)
        shape = (config.rla.latent_tokens, config.rla.latent_channels)
        self.register_buffer("latent_mean", torch.zeros(shape))
        self.register_buffer("latent_std", torch.ones(shape))

    @property
    def networks(self) -> list[nn.Module]:
        """The whole prediction where its flow is short; else condition, flow and decoder, so that no graph repeats the flow."""
        calls = self.config.steps * (1 if self.config.solver == "euler" else 2)
        return [self] if calls <= _UNROLLED else [self.condition, self.flow, self.rla.decoder]

    @torch.no_grad()
    def fit(self, tokens_t: Tensor, tokens_th: Tensor) -> None:
        """Set the statistics that standardise z per dimension, from pairs of the training split, both (P, N, C)."""
        parts = zip(tokens_t.split(_FIT_BATCH), tokens_th.split(_FIT_BATCH), strict=True)
        z_PQZ = torch.cat([self.rla.infer(s_t, s_th).float() for s_t, s_th in parts])
        self.latent_mean.copy_(z_PQZ.mean(dim=0))
        self.latent_std.copy_(z_PQZ.std(dim=0).clamp_min(1e-4))

    def infer_latent(self, tokens_t: Tensor, tokens_th: Tensor) -> Tensor:
        """The standardised z of a true pair, (B, Q, Z); no gradient reaches the autoencoder."""
        with torch.no_grad():
            return (self.rla.infer(tokens_t, tokens_th).float() - self.latent_mean) / self.latent_std

    def decode_latent(self, tokens_t: Tensor, z: Tensor) -> Tensor:
        """Future tokens (B, N, C) of a standardised z (B, Q, Z)."""
        return self.rla.decode(tokens_t, z.float() * self.latent_std + self.latent_mean).float()

    def sample_latent(
        self,
        tokens: Tensor,
        actions: Tensor,
        lengths: Tensor,
        generator: torch.Generator,
        *,
        steps: int | None = None,
        solver: Solver | None = None,
    ) -> Tensor:
        """A standardised z (B, Q, Z) for the chunk, by integrating the flow from noise.

        Args:
            tokens: s_t, (B, N, C).
            actions: (B, H, A) in the data's units.
            lengths: valid actions of each chunk, (B,).
            generator: source of the noise.
            steps: ODE steps; the config's if None.
            solver: ODE solver; the config's if None.

        Raises:
            ValueError: fewer than one step, an unknown solver or a chunk longer than the config's horizon.
        """
        noise = self.draw_noise(len(tokens), generator)
        return self.transport(tokens, actions, lengths, noise, steps=steps, solver=solver)

    def draw_noise(self, batch: int, generator: torch.Generator) -> Tensor:
        """z at tau = 0, (B, Q, Z), on the model's device."""
        shape = (batch, *self.latent_mean.shape)
        return torch.randn(shape, generator=generator, device=generator.device).to(self.latent_mean.device)

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
        """The standardised z (B, Q, Z) where the flow takes this noise (B, Q, Z); see `sample_latent`."""
        context = self.flow.prepare(self.condition_tokens(tokens, actions, lengths))
        return integrate(
            lambda z, time: self.flow(z, time, context).float(),
            noise,
            steps=self.config.steps if steps is None else steps,
            solver=solver or self.config.solver,
        )

    def forward(self, tokens: Tensor, actions: Tensor, lengths: Tensor, noise: Tensor) -> Tensor:
        """The prediction s^_{t+h} (B, N, C) that follows from this noise (B, Q, Z)."""
        return self.decode_latent(tokens, self.transport(tokens, actions, lengths, noise))

    @torch.no_grad()
    def predict(self, tokens: Tensor, actions: Tensor, lengths: Tensor, generator: torch.Generator) -> Tensor:
        """See `contracts.WorldModel.predict`."""
        return self(tokens, actions, lengths, self.draw_noise(len(tokens), generator))

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Flow-matching loss: MSE (and L1, where weighted) between predicted and true velocity z - eps."""
        draws = self.config.draws
        z = self.infer_latent(batch.tokens_t, batch.tokens_th)
        noise = batch.noise(draws, *z.shape[1:], generator=generator)
        times = batch.draw(lambda n: sample_times(self.config.time_law, n * draws, generator).view(n, draws))
        point, velocity = interpolate(noise.flatten(0, 1), z.repeat_interleave(draws, dim=0), times.flatten())
        condition, tokens = self._condition(batch)
        context = self.flow.prepare(condition.repeat_interleave(draws, dim=0))
        predicted = self.flow(point, times.flatten(), context).float()
        mse = F.mse_loss(predicted, velocity)
        l1 = F.l1_loss(predicted, velocity)
        loss, scalars = mse + self.config.l1_weight * l1, {"mse": mse.detach(), "l1": l1.detach()}
        if self.mean is not None:
            mean = F.mse_loss(self.mean(condition).float(), z)
            loss, scalars = loss + self.config.mean_weight * mean, scalars | {"mean": mean.detach()}
        if tokens is not None:
            loss, scalars = loss + self.config.token_weight * tokens, scalars | {"tokens": tokens.detach()}
        return {"loss": loss, **scalars}

    def _condition(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Condition tokens (B, Q or N, D), and the loss of the tokens that the network's patches regress, where they do."""
        tokens_t, actions = batch.tokens_t, batch.require_actions()
        if self.future is None:
            return self.condition_tokens(tokens_t, actions, batch.lengths), None
        assert isinstance(self.condition, QueryCondition)
        chunk = self.chunk(actions, batch.lengths)
        condition_BQD, patches_BMD = self.condition.features(self.rla.scale.normalise(tokens_t), *chunk)
        out_BNC = split_patches(self.future(patches_BMD).float(), self.config.tokens.grid, self.config.condition_merge)
        future = self.rla.scale.restore(out_BNC, batch.tokens_t, residual=self.config.rla.residual_output)
        return condition_BQD, self.rla.scale.loss(future, batch.tokens_th, batch.tokens_t)["loss"]

    def condition_tokens(self, tokens: Tensor, actions: Tensor, lengths: Tensor) -> Tensor:
        """Condition tokens (B, Q or N, D)."""
        return self.condition(self.rla.scale.normalise(tokens), *self.chunk(actions, lengths))
