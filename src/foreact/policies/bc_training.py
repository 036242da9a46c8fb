"""How BC and its relatives are trained: options, sizes by preset, and the plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from foreact.core.cards import (
    DataSpec,
    Demonstrations,
    ModelCard,
    ModelPath,
    ModelTraining,
    Part,
    RobotSpec,
    TrainingPlan,
)
from foreact.core.errors import ForeactError
from foreact.core.presets import Preset
from foreact.core.pretrained import PretrainedModel
from foreact.core.recipe import TrainConfig
from foreact.policies.acting import NetworkPolicy
from foreact.policies.bc import BCConfig, Camera
from foreact.policies.sight import Extras

if TYPE_CHECKING:
    from foreact.core.trainable import TrainableModel

_SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"channels": 12, "dim": 64, "depth": 2, "heads": 4, "queries": 8, "hidden": (256, 256)},
    "small": {"channels": 32, "dim": 128, "depth": 4, "heads": 8, "queries": 16, "hidden": (1024, 1024)},
}
_POOLED = {"tiny": (256, 128), "small": (512, 256), "paper": (1024, 512, 256)}
_IMAGE_SIZES = {"tiny": 96}
_TINY = TrainConfig(
    steps=1200,
    batch_size=64,
    learning_rate=1e-3,
    warmup=50,
    schedule="cosine",
    weight_decay=1e-4,
    ema=0.99,
    save_every=400,
    snapshots=10,
)
_RECIPES = {
    "tiny": _TINY,
    "small": replace(_TINY, steps=8000, warmup=200, learning_rate=5e-4, ema=0.999, save_every=1000),
}
_PAPER = replace(_TINY, steps=37_500, warmup=200, learning_rate=3e-4, ema=0.9999, save_every=2500, snapshots=40)


@dataclass(frozen=True, kw_only=True)
class PolicyTraining(ModelTraining):
    """What they can be asked for.

    Attributes:
        labelled: share of the training episodes whose actions are looked at.
        actions_from: a dataset whose actions are looked at; those of --data are silent then.
        cameras: which ones are looked at; the one of --camera by default.
        no_state: see pictures alone.
        tokens: look at tokens of the frozen encoder in the place of pictures.
        through_decoder: run of an image decoder: look at pictures that it draws from the tokens.
        head: queries through transformer blocks, or pooled features of the pictures.
        chunk: actions that are predicted.
        execute: how many of them are executed before the policy looks again.
    """

    config: ClassVar[type[BCConfig]] = BCConfig

    labelled: float = 1.0
    actions_from: Path | None = None
    cameras: tuple[str, ...] = ()
    no_state: bool = False
    tokens: bool = False
    through_decoder: ModelPath | None = None
    head: Literal["queries", "pooled"] = "queries"
    chunk: int = 12
    execute: int = 8

    def parts(self) -> Mapping[str, Part]:
        """The image decoder, where pictures are drawn from tokens."""
        if self.through_decoder is None:
            return {}
        return {"through_decoder": Part(kind="image_decoder", source=self.through_decoder)}

    def frames(self, preset: Preset) -> tuple[str, int]:
        """Pictures need no encoder."""
        if self._reads_tokens:
            return super().frames(preset)
        return self.pixels(preset)[0], self._image_size(preset)

    def recipe(self, preset: Preset) -> TrainConfig:
        """By AdamW with a cosine; the paper's 40 epochs of 1,000 episodes are 37,500 steps."""
        return preset.of(_RECIPES, _PAPER)

    def configure(self, preset: Preset, data: DataSpec) -> BCConfig:
        """See `ModelTraining.configure`."""
        return self._config(preset, data, {})

    def plan(self, preset: Preset, parts: Mapping[str, PretrainedModel]) -> TrainingPlan:
        """See `ModelTraining.plan`.

        Raises:
            ForeactError: options that do not go together.
        """
        self._check()

        def build(data: DataSpec) -> TrainableModel:
            model: Any = self._config(preset, data, parts).build()
            if decoder is not None:
                model.sight.decoder.load_state_dict(decoder.state_dict())
            return model

        decoder = parts.get("through_decoder")
        seen: Any = decoder.config.tokens if decoder is not None else None  # type: ignore[attr-defined]
        encoder, image_size = (seen.encoder, seen.image_size) if seen else self.frames(preset)
        return TrainingPlan(
            build=build,
            encoder=encoder,
            image_size=image_size,
            recipe=self.recipe(preset),
            law=preset.pairs,
            frames=not self._reads_tokens,
            tokens=self._reads_tokens,
            demonstrations=Demonstrations(
                labelled=self.labelled, actions_from=None if self.actions_from is None else str(self.actions_from)
            ),
            frozen={} if decoder is None else {"sight.decoder": "through-decoder"},
        )

    def sizes(self, preset: Preset, data: DataSpec, parts: Mapping[str, PretrainedModel]) -> dict[str, Any]:
        """The fields of the config that a preset decides."""
        sizes = {"dropout": 0.0, **_SIZES[preset.name]} if preset.name in _SIZES else {}
        return sizes | ({"hidden": preset.of(_POOLED, _POOLED["paper"])} if self.head == "pooled" else {})

    @property
    def _reads_tokens(self) -> bool:
        return self.tokens or self.through_decoder is not None

    def _image_size(self, preset: Preset) -> int:
        return self.image_size or preset.of(_IMAGE_SIZES, 128)

    def _check(self) -> None:
        if not 0 < self.labelled <= 1:
            raise ForeactError(f"--labelled {self.labelled:g}: a share of the episodes is above 0 and at most 1")
        if not 1 <= self.execute <= self.chunk:
            raise ForeactError(
                f"--execute {self.execute}: of {self.chunk} predicted actions 1 to {self.chunk} can be executed"
            )
        if self.tokens and self.through_decoder is not None:
            raise ForeactError(
                "--tokens and --through-decoder exclude each other: look at tokens, or at pictures drawn from them"
            )

    def _config(self, preset: Preset, data: DataSpec, parts: Mapping[str, PretrainedModel]) -> BCConfig:
        robot, decoder = data.robot, parts.get("through_decoder")
        extras = Extras(
            tokens=data.tokens if self._reads_tokens else None,
            decoder=None if decoder is None else decoder.config,  # type: ignore[arg-type]
            position_scale=1.0 if preset.name in _SIZES else 0.0,
        )
        return self.config(
            cameras=chosen_cameras(robot, self.cameras),
            image_size=self._image_size(preset),
            action=robot.action,
            state=() if self.no_state else robot.state,
            fps=robot.fps,
            robot=robot.name,
            chunk=self.chunk,
            execute=self.execute,
            head=self.head,
            extras=extras,
            **self.sizes(preset, data, parts),
        )


def chosen_cameras(robot: RobotSpec, names: Sequence[str]) -> tuple[Camera, ...]:
    """Cameras of a robot by full or short name; the one of --camera if none is named.

    Raises:
        ForeactError: it has no such camera.
    """
    chosen = [name if name.startswith("observation.") else f"observation.images.{name}" for name in names]
    unknown = [name for name in chosen if name not in robot.cameras]
    if unknown:
        raise ForeactError(f"no camera {unknown[0]}: the recordings have {', '.join(robot.cameras)}")
    return tuple(
        Camera(name=name, height=robot.cameras[name][0], width=robot.cameras[name][1])
        for name in chosen or [robot.camera]
    )


@dataclass(frozen=True, kw_only=True)
class BCTraining(PolicyTraining):
    """Behaviour cloning learns from labelled episodes alone."""


CARD = ModelCard(kind="bc", role="policy", label="BC", config=BCConfig, training=BCTraining, policy=NetworkPolicy)
