"""How LaWAM is trained: options, sizes by preset, and the plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

from foreact.core.cards import DataSpec, Demonstrations, ModelCard, ModelPath, ModelTraining, Part, TrainingPlan
from foreact.core.errors import ForeactError
from foreact.core.presets import Preset
from foreact.core.pretrained import PretrainedModel, state_hash
from foreact.core.recipe import PairSampling, TrainConfig
from foreact.latent_actions.lawm import LaWM, LaWMConfig, LaWMTraining
from foreact.policies import qwen
from foreact.policies.bc_training import chosen_cameras
from foreact.policies.lawam_acting import LaWAMPolicy
from foreact.policies.lawam_backbone import ASK_ACTIONS, ASK_MOTION, BackboneConfig
from foreact.policies.lawam_config import Body, Insulation, LaWAMConfig, LaWAMExtras, Subgoal
from foreact.policies.lawam_expert import ExpertConfig

if TYPE_CHECKING:
    from foreact.core.trainable import TrainableModel

_SECONDS = 1.2
_LAYERS = 16  # of Qwen3-VL's 28
_QWENS: dict[str, dict[str, int]] = {
    "tiny": {"hidden": 128, "layers": 3, "heads": 4, "vision_depth": 2, "patch": 8},
    "small": {"hidden": 256, "layers": 6, "heads": 8, "vision_depth": 6, "patch": 8},
}
_EXPERTS: dict[str, dict[str, Any]] = {
    "tiny": {
        "dim": 128,
        "depth": 8,
        "heads": 4,
        "language_dim": 128,
        "dropout": 0.0,
        "action_dim": 8,
        "embodiments": 4,
    },
    "small": {
        "dim": 256,
        "depth": 12,
        "heads": 8,
        "language_dim": 256,
        "dropout": 0.1,
        "action_dim": 16,
        "embodiments": 8,
    },
}
_TINY = TrainConfig(
    steps=1500, batch_size=32, learning_rate=1e-3, warmup=50, schedule="cosine", ema=0.99, save_every=500, snapshots=5
)
_PAPER = TrainConfig(steps=200_000, batch_size=1024, learning_rate=1e-4, warmup=2000, ema=0.9999, save_every=2500)
_RECIPES = {
    "tiny": _TINY,
    "small": replace(_TINY, steps=10_000, learning_rate=5e-4, warmup=200, ema=0.999, save_every=1000),
}
_LIBERO = replace(_PAPER, steps=25_000, batch_size=256, warmup=1500, schedule="cosine")
_OTHER_RATES = {"paper": 0.3}
"""Of all but the expert in pretraining, beside the expert's: 3e-5 and 1e-4."""
_TOKENIZER = 1 << 23


@dataclass(frozen=True, kw_only=True)
class LaWAMTraining(ModelTraining):
    """What it can be asked for.

    Attributes:
        lawm: run of stage 1; the lawm beside the run by default.
        backbone: Hub id or folder of a Qwen3-VL whose first layers are taken; by default a small one with fresh weights, at the
            preset paper Qwen/Qwen3-VL-2B-Instruct.
        layers: how many of its language layers.
        views: further cameras that are looked at, such as one at the wrist; the latent action does not see them.
        execute: actions of a chunk that are executed before the policy looks again; 0 for all.
        insulation: where the actions' gradient stops: none, subgoal (before the imagined subgoal) or backbone (before the
            backbone, too).
        subgoal: what the action expert sees beside the present: predicted, regressed (without stage 1's weights and latent
            action), present (the present once more) or none.
        no_distill: do not teach the latent action that stage 1 infers.
        freeze_lawm: leave stage 1's decoder as it is.
        clock: tell actions apart by their time in seconds, or by their number.
        true_subgoals: share of the training rows that are shown the true subgoal.
        horizon: seconds that stage 1 looks ahead, where its run does not say it.
    """

    lawm: ModelPath | None = None
    backbone: str | None = None
    layers: int = _LAYERS
    views: tuple[str, ...] = ()
    execute: int = 0
    insulation: Insulation = "subgoal"
    subgoal: Subgoal = "predicted"
    no_distill: bool = False
    freeze_lawm: bool = False
    clock: Literal["seconds", "number"] = "seconds"
    true_subgoals: float = 0.0
    horizon: float = 0.0

    def parts(self) -> Mapping[str, Part]:
        """Stage 1."""
        return {"lawm": Part(kind="lawm", source=self.lawm)}

    def recipe(self, preset: Preset) -> TrainConfig:
        """Pretraining: 200k steps of 1024 rows in the paper."""
        return preset.of(_RECIPES, _PAPER)

    def configure(self, preset: Preset, data: DataSpec) -> LaWAMConfig:
        """The config with a LaWM of the preset, and sizes of a backbone that is not loaded."""
        lawm = replace(LaWMTraining().configure(preset, data), state_dim=0)
        return self._config(
            preset, data, lawm, self._described(preset, data.tokens.image_size), self.horizon or _SECONDS
        )

    def plan(self, preset: Preset, parts: Mapping[str, PretrainedModel]) -> TrainingPlan:
        """See `ModelTraining.plan`.

        Raises:
            ForeactError: options that do not go together, or a LaWM that does not say how far it looks ahead.
        """
        lawm = cast(LaWM, parts["lawm"])
        tokens, seconds = lawm.config.tokens, lawm.config.seconds or self.horizon
        self._check(lawm, seconds)
        teacher = state_hash(lawm)
        source = self.backbone or (None if preset.name in _QWENS else qwen.PUBLISHED)

        def build(data: DataSpec) -> TrainableModel:
            if data.law.seconds != seconds:
                raise ForeactError(f"its LaWM looks {seconds:g} s ahead, and so must the policy: leave out --seconds")
            backbone, loaded = self._described(preset, tokens.image_size), None
            if source is not None:
                loaded, words = qwen.load(source, self.layers)
                backbone = replace(backbone, qwen=qwen.describe(loaded), tokenizer_bytes=_TOKENIZER)
            else:
                words = qwen.make_tokenizer([*data.instructions, ASK_MOTION, ASK_ACTIONS])
            model = replace(self._config(preset, data, lawm.config, backbone, seconds), teacher=teacher).build()
            if self.subgoal != "regressed":
                model.lawm.load_state_dict(lawm.decoder.state_dict())
            if loaded is not None:
                model.backbone.qwen.load_state_dict(loaded.state_dict())
            model.backbone.set_words(words)
            model.backbone.checked([told for told in data.instructions if told.strip()])
            return model

        return TrainingPlan(
            build=build,
            encoder=tokens.encoder,
            image_size=tokens.image_size,
            recipe=self.recipe(preset),
            begun=preset.of(_RECIPES, _LIBERO),
            law=PairSampling(seconds=seconds),
            frames=True,
            demonstrations=Demonstrations(latent=lawm, horizon=seconds),
            frozen={"lawm": "lawm"} if self.freeze_lawm else {},
            rates={"expert.": 1.0, "": preset.of(_OTHER_RATES, 1.0)},
        )

    def _check(self, lawm: LaWM, seconds: float) -> None:
        tokens = lawm.config.tokens
        if self.encoder not in (None, tokens.encoder) or self.image_size not in (None, tokens.image_size):
            raise ForeactError("the policy sees what its LaWM was trained on: leave out --encoder and --image-size")
        if not seconds:
            raise ForeactError("its LaWM does not say how many seconds it looks ahead: say it with --horizon")
        if self.horizon not in (0, seconds):
            raise ForeactError(f"its LaWM looks {seconds:g} s ahead, and so must the policy: leave out --horizon")
        if not 0 <= self.true_subgoals <= 1 or self.execute < 0:
            raise ForeactError("--true-subgoals is a share from 0 to 1, and --execute not negative")
        if self.freeze_lawm and self.subgoal == "regressed":
            raise ForeactError(
                "--subgoal regressed begins with a fresh decoder, which --freeze-lawm would leave as it is"
            )

    def _described(self, preset: Preset, image_size: int) -> BackboneConfig:
        """The backbone with fresh weights."""
        if preset.name in _QWENS:
            return BackboneConfig(qwen=qwen.sizes(**_QWENS[preset.name], image_size=image_size))
        return BackboneConfig(qwen=qwen.published(self.layers), tokenizer_bytes=_TOKENIZER, frozen_words=True)

    def _config(
        self, preset: Preset, data: DataSpec, lawm: LaWMConfig, backbone: BackboneConfig, seconds: float
    ) -> LaWAMConfig:
        sizes = preset.of(_EXPERTS, {})
        expert = ExpertConfig(**sizes, dynamics=self.subgoal != "none")
        config = LaWAMConfig(
            lawm=lawm,
            backbone=backbone,
            expert=replace(
                expert,
                action_dim=max(expert.action_dim, data.action_dim),
                embodiments=max(expert.embodiments, data.embodiments),
            ),
            bodies=self._bodies(data),
            seconds=seconds,
            executed=self.execute,
            distill_weight=0.0 if self.no_distill else 0.1,
            insulation=self.insulation,
            subgoal=self.subgoal,
            lawm_learns=not self.freeze_lawm,
            clock=self.clock,
            extras=LaWAMExtras(true_subgoals=self.true_subgoals),
        )
        shortest = min(map(config.actions_of, config.bodies))
        if self.execute > shortest:
            raise ForeactError(
                f"--execute {self.execute}: a chunk of {seconds:g} s has {shortest} actions at the lowest rate"
            )
        return config

    def _bodies(self, data: DataSpec) -> tuple[Body, ...]:
        """Who acts in the recordings, each robot and rate once."""
        found: dict[tuple[int, float], Body] = {}
        for robot in (robot for robot in data.robots or (data.robot,) if robot.action):
            body = Body(
                robot=robot.name,
                embodiment=robot.embodiment,
                fps=robot.fps,
                action=robot.action,
                cameras=chosen_cameras(robot, (robot.camera, *self.views)),
            )
            others = [b for b in found.values() if b.embodiment == body.embodiment and b.action != body.action]
            if others:
                raise ForeactError(
                    f"robot {robot.name or 'without a name'} has the actions ({', '.join(others[0].action)}) and "
                    f"({', '.join(body.action)}): one robot's must be the same; train on them apart"
                )
            found.setdefault((body.embodiment, body.fps), body)
        return tuple(found.values())


CARD = ModelCard(
    kind="lawam", role="policy", label="LaWAM", config=LaWAMConfig, training=LaWAMTraining, policy=LaWAMPolicy
)
