"""LaWAM (arXiv:2606.15768): a policy that imagines a subgoal before it acts.

    z^ = pi(o_t, words),    u^_T = LaWM(u_t, z^),    a ~ expert(h, u_t, u^_T)                          (Eq. 3)
    loss = flow matching of a + 0.1 |z^ - z_bar|^2 + 0.1 |u^_T - u_T|^2                                (Eq. 5)

h are the states of a vision-language backbone (`lawam_backbone`), u layer-normalised tokens of a frozen encoder, LaWM the decoder
of stage 1 (`latent_actions.lawm`), z_bar what stage 1 infers from u_t and u_T. A chunk is all actions within T seconds, as many as
the robot's rate gives (Eq. 6); T is stage 1's, so that z^, u_T and the chunk end at one moment. Instead of a factorisation
through future pictures (Eq. 1), the future is one prediction of tokens. No state of the robot is seen.

Shape legend: B batch, H actions of the longest chunk, A action dimension, N patch tokens, C channels, Z latent channels, K draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from foreact.core.errors import ForeactError
from foreact.core.pretrained import PretrainedModel
from foreact.core.trainable import DemonstrationData, TrainableModel
from foreact.data.lerobot import ACTION
from foreact.latent_actions.lawm_networks import ForwardDynamics, layer_normalise
from foreact.nn.flow import integrate, interpolate, sample_times
from foreact.policies.bc import mean_inside
from foreact.policies.lawam_backbone import Backbone, QueryAggregation, Seen
from foreact.policies.lawam_config import LaWAMConfig
from foreact.policies.lawam_expert import ActionExpert, Chunk, Context
from foreact.recordings.demonstrations import LATENT
from foreact.recordings.recording import IMAGES, TOKENS
from foreact.recordings.windows import TASK, WindowBatch

PER_ROBOT = tuple(f"expert.{part}" for part in ("encode", "decode"))
"""Beginnings of the names of weights that every robot has for itself."""


class LaWAM(TrainableModel):
    """The networks; `policies.lawam_acting.LaWAMPolicy` makes a policy of them.

    Attributes:
        low, high: smallest and largest actions of each embodiment in the labelled episodes, (E, A).
    """

    learns_from = "windows"
    mixes_robots = True
    config: LaWAMConfig
    low: Tensor
    high: Tensor
    widths: Tensor

    def __init__(self, config: LaWAMConfig) -> None:
        super().__init__()
        self.config, tokens, expert = config, config.tokens, config.expert
        self.backbone = Backbone(config.backbone, tokens.image_size)
        self.aggregate = QueryAggregation(self.backbone.width, config.lawm.latent_channels).requires_grad_(
            config.subgoal != "none"
        )
        self.lawm = ForwardDynamics(config.lawm).requires_grad_(config.lawm_learns and config.imagines)
        self.expert = ActionExpert(expert, tokens.grid, tokens.channels, self.backbone.width)
        self.register_buffer("low", -torch.ones(expert.embodiments, expert.action_dim))
        self.register_buffer("high", torch.ones(expert.embodiments, expert.action_dim))
        widths = torch.zeros(expert.embodiments, dtype=torch.long)
        for body in config.bodies:
            widths[body.embodiment] = len(body.action)
        self.register_buffer("widths", widths, persistent=False)

    @property
    def window(self) -> dict[str, tuple[int | float, ...]]:
        """The present views, the primary one's tokens now and T seconds ahead, the chunk's actions, and the words."""
        views: dict[str, tuple[int | float, ...]] = {camera.name: (0,) for camera in self.config.cameras[1:]}
        longest = max(map(self.config.actions_of, self.config.bodies))
        ahead = {IMAGES + TOKENS: (0, self.config.seconds), ACTION: tuple(range(longest)), TASK: ()}
        return {IMAGES: (0,), **views, **ahead}

    def fit(self, data: DemonstrationData) -> None:
        """Set the limits of each embodiment's actions, and the statistics of z."""
        for body in self.config.bodies:
            low, high = data.limits(ACTION, body.embodiment)
            still = high - low < 1e-6  # a number that never changes keeps its unit
            self.low[body.embodiment, : len(low)] = torch.where(still, low - 1, low)
            self.high[body.embodiment, : len(high)] = torch.where(still, high + 1, high)
        mean, std = data.latent_statistics()
        self.aggregate.mean.copy_(mean)
        self.aggregate.std.copy_(torch.where(std > 1e-6, std, torch.ones_like(std)))

    def adopt(self, trained: PretrainedModel) -> None:
        """Take all weights, those of single robots by the robots' names; who is new keeps fresh ones, and limits of its own."""
        theirs = cast(LaWAMConfig, trained.config)
        if theirs.teacher != self.config.teacher:
            raise ForeactError("the policy to begin with has learnt z of another LaWM: name that one with --lawm")
        known = {body.robot: body for body in theirs.bodies if body.robot}
        rows = [(body.embodiment, known[body.robot]) for body in self.config.bodies if body.robot in known]
        for body in self.config.bodies:
            if body.robot in known and known[body.robot].action != body.action:
                raise ForeactError(f"robot {body.robot} had other actions: ({', '.join(known[body.robot].action)})")
        state, mine = trained.state_dict(), self.state_dict()
        for name in mine:
            if name in ("low", "high") or name.startswith(PER_ROBOT):
                for here, there in rows:
                    mine[name][here] = state[name][there.embodiment]
                state[name] = mine[name]
        self.load_state_dict(state)

    def loss(self, batch: WindowBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Eq. 5. The subgoal and z^ are taught wherever frame t + T lies inside the episode, actions where they are known."""
        config, columns = self.config, batch.columns
        u_t, u_T = layer_normalise(columns[IMAGES + TOKENS]).unbind(1)
        there = batch.inside[IMAGES + TOKENS][:, 1]
        views = [columns[name][:, 0] for name in (IMAGES, *(camera.name for camera in config.cameras[1:]))]
        seen = self.backbone(views, batch.task)
        losses: dict[str, Tensor] = {}
        subgoal = u_t
        if config.subgoal != "none":
            z = self.aggregate(seen.latents)
        if config.subgoal in ("predicted", "present"):
            error = (z - columns[LATENT][:, 0]).square()
            losses["distill"] = mean_inside(error, batch.inside[LATENT][:, :1, None])  # z^ is what stage 1 would infer
        if config.imagines:
            subgoal = self.lawm(u_t, z).float()
            losses["subgoal"] = mean_inside((subgoal - u_T).square(), there[:, None, None])  # u^_T is the future
            copied = mean_inside((u_t - u_T).square(), there[:, None, None])
        flow = self._flow_loss(batch, seen, u_t, self._taught(batch, subgoal, u_T, there, generator), generator)
        weights = {"distill": config.distill_weight, "subgoal": config.subgoal_weight}
        loss = flow + sum(weights[name] * value for name, value in losses.items())
        if "subgoal" in losses:
            losses["skill"] = 1 - losses["subgoal"] / copied.clamp_min(1e-8)
        return {"loss": loss, "flow": flow.detach(), **{name: value.detach() for name, value in losses.items()}}

    def condition(self, seen: Seen, u_t: Tensor, subgoal: Tensor) -> Context:
        """What the expert acts on, with the actions' gradient stopped as the config says.

        Args:
            seen: of the backbone.
            u_t, subgoal: layer-normalised tokens (B, N, C).
        """
        insulation = self.config.insulation
        states = seen.states.detach() if insulation == "backbone" else seen.states
        return self.expert.context(states, seen.known, u_t, subgoal if insulation == "none" else subgoal.detach())

    def imagine(self, seen: Seen, u_t: Tensor) -> Tensor:
        """u^_T (B, N, C) (Eq. 3), or u_t where the config has no subgoal."""
        return self.lawm(u_t, self.aggregate(seen.latents)).float() if self.config.imagines else u_t

    def denoise(self, noise: Tensor, chunk: Chunk, context: Context) -> Tensor:
        """Normalised actions (B, H, A) from noise, by Euler steps."""
        known = self._known(chunk)
        noise = torch.where(known, noise, 0.0)
        return integrate(
            lambda x, time: torch.where(known, self.expert(x, time, chunk, context), 0.0),
            noise,
            steps=self.config.steps,
        )

    def forward(
        self,
        pictures: Sequence[Tensor],
        words: Sequence[str],
        tokens: Tensor,
        noise: Tensor,
        chunk: Chunk,
        subgoal: Tensor | None = None,
    ) -> Tensor:
        """The next actions (B, H, A) in the recordings' units.

        Args:
            pictures: of each view, uint8 (B, height, width, 3).
            words: instructions, B of them.
            tokens: s_t of the primary view, (B, N, C).
            noise: (B, H, A).
            chunk: whose actions, and when; see `chunk`.
            subgoal: layer-normalised tokens (B, N, C) in the place of the imagined ones.
        """
        u_t, seen = layer_normalise(tokens), self.backbone(pictures, words)
        context = self.condition(seen, u_t, self.imagine(seen, u_t) if subgoal is None else subgoal)
        actions = self.denoise(noise, chunk, context)
        low, high = (limit[chunk.embodiment][:, None] for limit in (self.low, self.high))
        return low + (actions + 1) / 2 * (high - low)

    def chunk(self, fps: Tensor, embodiment: Tensor, actions: int, inside: Tensor | None = None) -> Chunk:
        """Chunks of robots of these rates and embodiments, both (B,), filled up to a number of actions (Eq. 6).

        `inside` (B, H) masks the actions that are known, where not all are.
        """
        number = torch.arange(actions, device=fps.device)
        within = number < (self.config.seconds * fps).round()[:, None]
        rate = fps if self.config.clock == "seconds" else torch.full_like(fps, self.config.bodies[0].fps)
        within = within if inside is None else within & inside
        return Chunk(seconds=number / rate[:, None], inside=within, embodiment=embodiment)

    def _known(self, chunk: Chunk) -> Tensor:
        """Which numbers of which actions there are, (B, H, A)."""
        dims = torch.arange(self.config.expert.action_dim, device=self.widths.device)
        return chunk.inside[..., None] & (dims < self.widths[chunk.embodiment][:, None])[:, None]

    def _flow_loss(
        self, batch: WindowBatch, seen: Seen, u_t: Tensor, subgoal: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Flow matching over the known actions of a chunk, K times per row."""
        assert batch.fps is not None
        K, expert = self.config.draws, self.config.expert
        given = batch.columns[ACTION].float()
        chunk = self.chunk(batch.fps, batch.embodiment, given.shape[1], batch.inside[ACTION])
        known = self._known(chunk)
        low, high = (limit[batch.embodiment][:, None] for limit in (self.low, self.high))
        given = nn.functional.pad(given, (0, expert.action_dim - given.shape[2]))
        target = torch.where(known, 2 * (given - low) / (high - low) - 1, 0.0).repeat_interleave(K, 0)
        noise = batch.noise(K, *given.shape[1:], generator=generator).flatten(0, 1)
        time = batch.draw(lambda n: sample_times("noisy", n * K, generator).view(n, K)).flatten()
        known = known.repeat_interleave(K, 0)
        noisy, velocity = interpolate(torch.where(known, noise, 0.0), target, time)
        context = self.condition(seen, u_t, subgoal).repeated(K)
        error = (self.expert(noisy, time, chunk.repeated(K), context) - velocity).square()
        return mean_inside(error, known)

    def _taught(
        self, batch: WindowBatch, subgoal: Tensor, u_T: Tensor, there: Tensor, generator: torch.Generator
    ) -> Tensor:
        """The subgoals that the expert sees: some of them true, where the config says so."""
        share = self.config.extras.true_subgoals
        if not share:
            return subgoal
        lucky = batch.draw(lambda n: torch.rand(n, generator=generator, device=generator.device)) < share
        return torch.where((lucky & there)[:, None, None], u_T, subgoal)
