"""A model card: all that the command line, training, cost, evaluation and figures ask of a kind of model.

A card stands at the end of the model's own file and is found through one line of `core.registry`, or, for other packages,
through the entry point `foreact.models`:

    CARD = ModelCard(kind="dino_wm", role="world_model", label="DINO-WM", config=DinoWMConfig, training=DinoWMTraining, ...)

Nothing outside of that file asks what class a model has.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from inspect import isabstract
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from foreact.core.config import ModelConfig
from foreact.core.contracts import Policy
from foreact.core.cost import Stage
from foreact.core.errors import ForeactError
from foreact.core.presets import Preset
from foreact.core.pretrained import PretrainedModel
from foreact.core.recipe import PairSampling, TrainConfig
from foreact.core.token_spec import TokenSpec
from foreact.core.trainable import TrainableModel

Role = Literal["world_model", "latent_action", "image_decoder", "encoder", "policy"]
ModelPath = Path
"""Type of an option that names the folder of another trained model."""

Loss = Callable[[Any, Any, torch.Generator], dict[str, Tensor]]
"""(model, batch, generator) -> scalars, of which `loss` is minimised."""


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """What a config takes from the recordings.

    Attributes:
        tokens: of the frozen encoder.
        action_dim: A; 0 without actions.
        state_dim: P; 0 without states.
        embodiments: largest number of an embodiment, and one more.
        robots: what each dataset says of its robot and cameras.
        instructions: the words of all training episodes, each once.
        law: how pairs of frames are drawn.
    """

    tokens: TokenSpec
    action_dim: int = 0
    state_dim: int = 0
    embodiments: int = 2
    robots: tuple[RobotSpec, ...] = ()
    instructions: tuple[str, ...] = ()
    law: PairSampling = field(default_factory=PairSampling)

    @property
    def robot(self) -> RobotSpec:
        """Of the first dataset; raises `ForeactError` where nothing is known of it."""
        if not self.robots:
            raise ForeactError("a policy needs to know the robot, its cameras, actions and rate")
        return self.robots[0]


@dataclass(frozen=True, kw_only=True)
class RobotSpec:
    """A robot as its recordings describe it.

    Attributes:
        name: of its type; empty where unknown.
        embodiment: its number.
        camera: full name of the chosen one.
        cameras: full name -> height and width as recorded.
        action: names of an action's numbers, A of them.
        state: names of a state's numbers, P of them.
        fps: actions, and frames, per second.
    """

    name: str = ""
    embodiment: int = 1
    camera: str
    cameras: Mapping[str, tuple[int, int]]
    action: tuple[str, ...]
    state: tuple[str, ...]
    fps: float


@dataclass(frozen=True, kw_only=True)
class Demonstrations:
    """From which episodes a policy learns, and what of them.

    Attributes:
        labelled: share of the training episodes whose actions are looked at.
        actions_from: the one dataset whose actions are looked at, beside those that are learnt from without; all if None.
        horizon: between the pairs that z is inferred from, in frames (int) or seconds (float).
        latent: gives z of all episodes, those without actions as well; without it these are left out.
        shuffled: take z of another episode, which says nothing about this one: a control.
    """

    labelled: float = 1.0
    actions_from: str | None = None
    horizon: float = 0
    latent: PretrainedModel | None = None
    shuffled: bool = False


@dataclass(frozen=True, kw_only=True)
class Part:
    """Another trained model that this one stands on.

    Attributes:
        kind: of that model.
        variants: kinds that will do as well, where their folder is named.
        role: any kind of which will do as well, where its folder is named.
        source: its folder; the one beside the new run if None.
    """

    kind: str
    variants: tuple[str, ...] = ()
    role: Role | None = None
    source: ModelPath | None = None


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """What is trained, once preset, options and parts are known.

    Attributes:
        build: the model of a data set, with fresh weights, and with its parts in it.
        encoder: name, Hub id or folder of the frozen encoder.
        image_size: side of the square frames that it sees, in pixels.
        recipe: how the model is trained.
        begun: the same, all at one rate, where it begins with the weights of another one; as otherwise if None.
        law: how its pairs are drawn.
        loss: instead of the model's own.
        fitted: the model has its statistics already.
        frames: resized frames are read beside tokens.
        tokens: tokens are read at all.
        demonstrations: which episodes a policy learns from; None for what is no policy.
        frozen: submodule that training does not change -> the option that names where it comes from; kept by reference in
            checkpoints.
        rates: beginning of a parameter's name -> its share of the learning rate; 1 for all others.
        about: what a resume must find unchanged, beside config, recipe, law and split.
    """

    build: Callable[[DataSpec], TrainableModel]
    encoder: str
    image_size: int
    recipe: TrainConfig
    begun: TrainConfig | None = None
    law: PairSampling
    loss: Loss | None = None
    fitted: bool = False
    frames: bool = False
    tokens: bool = True
    demonstrations: Demonstrations | None = None
    frozen: Mapping[str, str] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ModelTraining(ABC):
    """How a kind of model is trained; fields are options of `foreact train KIND`, with help from the docstring.

    Attributes:
        encoder: tiny, pixels, a Hugging Face id, or a folder; the preset's by default. dino-cls adds its class token.
        image_size: side of the square frames that the encoder sees, in pixels; the preset's by default.
    """

    encoder: str | None = None
    image_size: int | None = None

    def parts(self) -> Mapping[str, Part]:
        """Trained models that this one stands on, by the option that names them."""
        return {}

    def frames(self, preset: Preset) -> tuple[str, int]:
        """Encoder and image size: what was asked for, else the preset's."""
        return self.encoder or preset.encoder, self.image_size or preset.image_size

    def pixels(self, preset: Preset) -> tuple[str, int]:
        """`frames` of models that see pixels.

        Raises:
            ForeactError: another encoder was asked for.
        """
        if self.encoder not in (None, "pixels"):
            raise ForeactError(f"this model sees pixels, not tokens of {self.encoder}: leave out --encoder")
        return "pixels", self.image_size or preset.image_size

    def recipe(self, preset: Preset) -> TrainConfig:
        """How the model is trained."""
        return preset.train

    def law(self, preset: Preset) -> PairSampling:
        """How its pairs are drawn."""
        return preset.pairs

    def reads_frames(self) -> bool:
        """Whether resized frames are read beside tokens: by what draws pictures, or encodes them again in other views."""
        return False

    @abstractmethod
    def configure(self, preset: Preset, data: DataSpec) -> ModelConfig:
        """The config of the model that fits preset and data.

        Raises:
            ForeactError: options that do not fit.
        """

    def plan(self, preset: Preset, parts: Mapping[str, PretrainedModel]) -> TrainingPlan:
        """All of it; models with parts override this.

        Raises:
            ForeactError: options that do not go together.
        """

        def build(data: DataSpec) -> TrainableModel:
            model: Any = self.configure(preset, data).build()
            return model

        encoder, image_size = self.frames(preset)
        return TrainingPlan(
            build=build,
            encoder=encoder,
            image_size=image_size,
            recipe=self.recipe(preset),
            law=self.law(preset),
            frames=self.reads_frames(),
        )


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """A kind of model.

    Attributes:
        kind: name in `config.json`; on the command line with dashes.
        role: what it is for.
        label: name for readers.
        config: what builds it.
        training: how it is trained; None for what is only loaded.
        cost: the stages of one imagined chunk of a model on the meta device; world models only.
        policy: makes a `contracts.Policy` of a loaded model; policies only.
        published_flops: of one chunk, as its paper reports them.
        colour: in figures.
    """

    kind: str
    role: Role
    label: str
    config: type[ModelConfig]
    training: type[ModelTraining] | None = None
    cost: Callable[[Any], dict[str, Stage]] | None = None
    policy: Callable[[Any], Policy] | None = None
    published_flops: float | None = None
    colour: str | None = None

    @property
    def name(self) -> str:
        """On the command line."""
        return self.kind.replace("_", "-")

    def check(self, where: str) -> ModelCard:
        """The card itself.

        Raises:
            ForeactError: it is incomplete; `where` names it.
        """
        wrong = [f"its role is {self.role!r}, not one of {list(get_args(Role))}"] * (self.role not in get_args(Role))
        if not _buildable(self.config, ModelConfig):
            wrong.append("its config is no ModelConfig that can build its model")
        elif getattr(self.config, "kind", None) != self.kind:
            wrong.append(f"its config's kind is {getattr(self.config, 'kind', None)!r}, not {self.kind!r}")
        if self.role == "world_model" and self.cost is None:
            wrong.append("a world model needs a cost")
        if self.role == "policy" and self.policy is None:
            wrong.append("a policy needs what makes one of its model")
        if self.training is not None and not _buildable(self.training, ModelTraining):
            wrong.append("its training is no ModelTraining that can configure its model")
        if wrong:
            raise ForeactError(f"{where}: the model card is incomplete: {'; '.join(wrong)}")
        return self


def _buildable(found: Any, base: type) -> bool:
    return isinstance(found, type) and issubclass(found, base) and is_dataclass(found) and not isabstract(found)


def option_names(training: type[ModelTraining]) -> tuple[str, ...]:
    """The options that only this kind of model has."""
    return tuple(f.name for f in fields(training) if f.name not in ("encoder", "image_size"))
