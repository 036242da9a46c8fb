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
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from foreact.core.config import ModelConfig
from foreact.core.errors import ForeactError
from foreact.core.recipe import PairSampling
from foreact.core.token_spec import TokenSpec
from foreact.core.trainable import DemonstrationData, TrainableModel
from foreact.data.lerobot import ACTION
from foreact.latent_actions.lawm import LaWMConfig
from foreact.latent_actions.lawm_networks import ForwardDynamics, layer_normalise
from foreact.nn.flow import integrate, interpolate, sample_times
from foreact.policies.bc import Camera, mean_inside
from foreact.policies.lawam_backbone import Backbone, BackboneConfig, QueryAggregation, Seen
from foreact.policies.lawam_expert import ActionExpert, Chunk, Context, ExpertConfig
from foreact.recordings.demonstrations import LATENT
from foreact.recordings.recording import IMAGES, TOKENS
from foreact.recordings.windows import TASK, WindowBatch

Insulation = Literal["none", "subgoal", "backbone"]
Subgoal = Literal["predicted", "present", "none"]


@dataclass(frozen=True, kw_only=True)
class Body:
    """A robot as it was recorded at one control rate.

    Attributes:
        robot: name of its type.
        embodiment: number of its weights and units.
        fps: actions per second.
        action: names of its action's numbers.
        cameras: primary view first.
    """

    robot: str
    embodiment: int
    fps: float
    action: tuple[str, ...]
    cameras: tuple[Camera, ...]


@dataclass(frozen=True, kw_only=True)
class LaWAMExtras:
    """What the paper does not have.

    Attributes:
        true_subgoals: share of the training rows whose expert sees the true u_T in the place of the predicted one.
    """

    true_subgoals: float = 0.0


@dataclass(frozen=True, kw_only=True)
class LaWAMConfig(ModelConfig):
    """Sizes, switches, and the robots that it acts as; the defaults are the paper's.

    Attributes:
        lawm: of stage 1, whose decoder imagines the subgoal.
        backbone, expert: sizes of both.
        bodies: robots and rates that it has learnt from; it acts as the first one.
        seconds: T.
        execute: actions of a chunk that are executed before it looks again; 0 for all.
        steps: Euler steps of the flow (10 in the paper).
        draws: K, noises and flow times per row and training step.
        distill_weight, subgoal_weight: of Eq. 5.
        insulation: where the actions' gradient stops: nowhere, before the subgoal (released), or also before the backbone.
        subgoal: what the expert sees beside u_t: u^_T, u_t once more (Fig. 6, without LaWM), or neither u_t nor a subgoal.
        lawm_learns: whether the subgoal's error trains LaWM's decoder on (released).
        clock: what tells actions apart: their time in seconds (Eq. 7), or their number, whatever the rate.
        extras: see `LaWAMExtras`.
    """

    kind: ClassVar[str] = "lawam"

    lawm: LaWMConfig
    backbone: BackboneConfig
    expert: ExpertConfig
    bodies: tuple[Body, ...]
    seconds: float
    execute: int = 0
    steps: int = 10
    draws: int = 2
    distill_weight: float = 0.1
    subgoal_weight: float = 0.1
    insulation: Insulation = "subgoal"
    subgoal: Subgoal = "predicted"
    lawm_learns: bool = True
    clock: Literal["seconds", "number"] = "seconds"
    extras: LaWAMExtras = field(default_factory=LaWAMExtras)

    def build(self) -> LaWAM:
        """A policy with fresh weights."""
        return LaWAM(self)

    @property
    def tokens(self) -> TokenSpec:
        """Of the frozen encoder."""
        return self.lawm.tokens

    encoded = tokens

    @property
    def cameras(self) -> tuple[Camera, ...]:
        """That it looks at when it acts."""
        return self.bodies[0].cameras

    @property
    def action(self) -> tuple[str, ...]:
        """Names of the numbers of an action that it gives."""
        return self.bodies[0].action

    @property
    def state(self) -> tuple[str, ...]:
        """Nothing: no state of the robot is seen."""
        return ()

    @property
    def fps(self) -> float:
        """Actions per second when it acts."""
        return self.bodies[0].fps

    @property
    def horizon(self) -> int:
        """Actions of the chunk that it gives."""
        return self.actions_of(self.bodies[0])

    def actions_of(self, body: Body) -> int:
        """H_b, the actions of a body within T seconds (Eq. 6).

        Raises:
            ForeactError: not even one.
        """
        if self.seconds * body.fps < 1:
            raise ForeactError(f"{self.seconds:g} s hold no action of a robot that takes {body.fps:g} a second")
        return PairSampling(seconds=self.seconds).gap(body.fps) or 1

    def acting_as(self, robot: str, fps: float) -> LaWAMConfig:
        """The same with the body of that name and rate first, or as it is where there is none."""
        fits = sorted(self.bodies, key=lambda body: ((body.robot, body.fps) != (robot, fps), body.fps != fps))
        return replace(self, bodies=tuple(fits)) if fits[0].fps == fps else self


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
        self.aggregate = QueryAggregation(self.backbone.width, config.lawm.latent_channels)
        self.lawm = ForwardDynamics(config.lawm).requires_grad_(config.lawm_learns)
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
            error = (z - columns[LATENT][:, 0]).square()
            losses["distill"] = mean_inside(error, batch.inside[LATENT][:, :1, None])  # z^ is what stage 1 would infer
        if config.subgoal == "predicted":
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
        return self.lawm(u_t, self.aggregate(seen.latents)).float() if self.config.subgoal == "predicted" else u_t

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
