"""LaWAM's config: sizes, switches, and the robots that it acts as."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from foreact.core.config import ModelConfig
from foreact.core.errors import ForeactError
from foreact.core.recipe import PairSampling
from foreact.core.token_spec import TokenSpec
from foreact.latent_actions.lawm import LaWMConfig
from foreact.policies.bc import Camera
from foreact.policies.lawam_backbone import BackboneConfig
from foreact.policies.lawam_expert import ExpertConfig

if TYPE_CHECKING:
    from foreact.policies.lawam import LaWAM

Insulation = Literal["none", "subgoal", "backbone"]
Subgoal = Literal["predicted", "regressed", "present", "none"]


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
        teacher: hash of stage 1's weights, whose z it learns.
        executed: actions of a chunk that are executed before it looks again; 0 for all.
        steps: Euler steps of the flow (10 in the paper).
        draws: K, noises and flow times per row and training step.
        distill_weight, subgoal_weight: of Eq. 5.
        insulation: where the actions' gradient stops: nowhere, before the subgoal (released), or also before the backbone.
        subgoal: what the expert sees beside u_t: u^_T; the same without stage 1, by a decoder with fresh weights and a z that is
            not distilled; u_t once more (Fig. 6, without LaWM); or neither u_t nor a subgoal.
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
    teacher: str = ""
    executed: int = 0
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
        from foreact.policies.lawam import LaWAM

        return LaWAM(self)

    @property
    def imagines(self) -> bool:
        """Whether a subgoal is made at all."""
        return self.subgoal in ("predicted", "regressed")

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
    def robot(self) -> str:
        """Name of the robot that it acts as."""
        return self.bodies[0].robot

    @property
    def chunk(self) -> int:
        """Actions that it gives at a time."""
        return self.actions_of(self.bodies[0])

    @property
    def execute(self) -> int:
        """How many of them are executed before it looks again."""
        return min(self.executed or self.chunk, self.chunk)

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
