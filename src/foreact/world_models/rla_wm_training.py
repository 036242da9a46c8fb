"""How RLA-WM and its few-step students are trained: options, plan and card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from foreact.core.cards import DataSpec, ModelCard, ModelPath, ModelTraining, Part, TrainingPlan
from foreact.core.errors import ForeactError
from foreact.core.presets import Preset
from foreact.core.pretrained import PretrainedModel
from foreact.core.token_spec import TokenSpec
from foreact.core.trainable import TrainableModel
from foreact.latent_actions.rla import RLA, RLAConfig, RLATraining, require_squares
from foreact.world_models.distillation import distillation_plan
from foreact.world_models.rla_wm import RLAWorldModelConfig, cost
from foreact.world_models.rla_wm_extras import RLAWorldModelExtras
from foreact.world_models.rla_wm_released import released

_EXTRAS = {name: {"draws": 4, "mean_weight": 1.0, "token_weight": 1.0} for name in ("tiny", "small")}
_FLOW_DEPTH, _STEPS = {"tiny": 2, "small": 3}, {"tiny": 2, "small": 4}


@dataclass(frozen=True, kw_only=True)
class RLAWMTraining(ModelTraining):
    """Options of RLA-WM alone.

    Attributes:
        rla: folder of the trained RLA; by default the one beside --out.
        variant: networks as the paper or as its released code has them.
        merge: side of the squares of patches that the condition network reads as one; 2 makes it four times cheaper.
        flow_steps: steps of the sampler; the preset's by default.
        teacher: a trained rla-wm, of which a student with fewer --flow-steps is made; only its flow is trained.
        flow_depth: blocks of the flow of a --teacher's student; the teacher's by default.
    """

    rla: ModelPath | None = None
    variant: Literal["paper", "released"] = "paper"
    merge: int = 1
    flow_steps: int | None = None
    teacher: ModelPath | None = None
    flow_depth: int | None = None

    def parts(self) -> Mapping[str, Part]:
        """A teacher, or a trained RLA."""
        self._check()
        if self.teacher is None:
            return {"rla": Part(kind="rla", source=self.rla)}
        return {"teacher": Part(kind="rla_wm", variants=("rla_wm_released",), source=self.teacher)}

    def plan(self, preset: Preset, parts: Mapping[str, PretrainedModel]) -> TrainingPlan:
        """See `ModelTraining.plan`; tokens are those of the part."""
        rla: Any = parts["rla"] if self.teacher is None else parts["teacher"].get_submodule("rla")
        tokens: TokenSpec = rla.config.tokens
        plan = TrainingPlan(
            build=lambda data: self._over(rla, self.configure(preset, replace(data, tokens=tokens), rla.config)),
            encoder=self.encoder or tokens.encoder,
            image_size=self.image_size or tokens.image_size,
            recipe=self.recipe(preset),
            law=self.law(preset),
            frozen={"rla": "rla"},
        )
        if self.teacher is None:
            require_squares(tokens, self.merge)
            return plan
        steps = self.flow_steps or preset.of(_STEPS, 30)
        return distillation_plan(plan, parts["teacher"], steps=steps, depth=self.flow_depth)

    def configure(self, preset: Preset, data: DataSpec, rla: RLAConfig | None = None) -> RLAWorldModelConfig:
        """See `ModelTraining.configure`; over the preset's RLA if none is given."""
        paper = RLAWorldModelConfig(
            rla=rla or RLATraining(variant=self.variant).configure(preset, data),
            action_dim=data.action_dim,
            horizon=preset.horizon,
            dim=preset.dim,
            condition_depth=preset.condition_depth,
            flow_depth=preset.of(_FLOW_DEPTH, 8),
            heads=preset.heads,
            steps=self.flow_steps or preset.of(_STEPS, 30),
            extras=RLAWorldModelExtras(
                spread_actions=preset.spread_actions,
                condition_merge=self.merge,
                **preset.of(_EXTRAS, {}),  # type: ignore[arg-type]
            ),
        )
        return paper if self.variant == "paper" else released(paper)

    def _over(self, rla: RLA, config: RLAWorldModelConfig) -> TrainableModel:
        model = config.build()
        model.rla.load_state_dict(rla.state_dict())
        return model

    def _check(self) -> None:
        if self.teacher is not None and (self.rla is not None or self.merge != 1 or self.variant != "paper"):
            raise ForeactError(
                "a student takes networks and rla from its --teacher: leave out --rla, --merge and --variant"
            )
        if self.flow_depth is not None and self.teacher is None:
            raise ForeactError("--flow-depth is a choice of an rla-wm with a --teacher")
        if self.flow_steps is not None and self.flow_steps < 1:
            raise ForeactError("--flow-steps must be at least 1")
        if self.merge < 1 or (self.merge > 1 and self.variant != "paper"):
            raise ForeactError("--merge is a choice of the paper's variant: the side of the squares, at least 1")


CARD = ModelCard(
    kind="rla_wm",
    role="world_model",
    label="RLA-WM",
    config=RLAWorldModelConfig,
    training=RLAWMTraining,
    cost=cost,
    published_flops=3.5e12,
    colour="#0f766e",
)
