"""`foreact train`: from a request to recordings, a model, a task and the loop."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import PartialState

from foreact.data.lerobot import LeRobotDataset
from foreact.data.pairs import PairSampling
from foreact.data.splits import split_episodes
from foreact.encoders.class_token import PREFIX
from foreact.errors import ForeactError
from foreact.latent_actions.rla import RLA
from foreact.precision import use_bf16
from foreact.presets import Preset, preset
from foreact.pretrained import ModelConfig, TokenSpec, find_beside
from foreact.progress import Bar
from foreact.training.loop import Task, TrainConfig, train
from foreact.training.opening import open_recordings
from foreact.training.recipes import (
    LatentActions,
    distillation_task,
    encoder_task,
    image_decoder_task,
    latent_action_task,
    world_model_task,
)
from foreact.training.recordings import Recordings
from foreact.training.self_distillation import SelfDistillation, SelfDistillationConfig
from foreact.training.views import ViewRanges
from foreact.world_models.base import PretrainedWorldModel
from foreact.world_models.distillation import make_student
from foreact.world_models.rla_wm import RLAWorldModel
from foreact.world_models.video_diffusion import VideoModelConfig

WORLD_MODELS = ("rla-wm", "dino-wm", "fm-wm", "rae", "video-diffusion")
LATENT_ACTIONS = ("rla", "univla", "adaworld", "lawm", "dino-cls")


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """What `foreact train` was asked for; see its help for the fields."""

    model: str
    data: Path
    out: Path
    preset: str
    rla: Path | None = None
    camera: str | None = None
    encoder: str | None = None
    image_size: int | None = None
    variant: Literal["paper", "released"] = "paper"
    latent: str | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    cache: Path | None = None
    no_cache: bool = False
    merge: int = 1
    teacher: Path | None = None
    flow_steps: int | None = None
    flow_depth: int | None = None
    pretrained: str | None = None
    sampling: PairSampling | None = None
    augment: bool = True

    @classmethod
    def of(cls, arguments: dict[str, Any]) -> TrainRequest:
        """From the arguments of the command line: those that `TrainConfig` knows override the preset's where they are given."""
        asked = dict(arguments)
        free = {known.name for known in fields(TrainConfig)} & asked.keys()
        given = {name: asked.pop(name) for name in sorted(free)}
        overrides = {name: value for name, value in given.items() if value is not None and value is not False}
        seconds = asked.pop("seconds")
        return cls(**asked, overrides=overrides, sampling=None if seconds is None else PairSampling(seconds=seconds))


def run_training(request: TrainRequest, bar: Bar) -> None:
    """Prepare and train the requested model.

    Args:
        request: what to train.
        bar: (title, unit) -> a context that gives a progress callback.

    Raises:
        ForeactError: bad input; see the parts.
    """
    recipe = preset(request.preset)
    encoder, image_size = _frames(recipe, request)
    recipe = replace(recipe, encoder=encoder, image_size=image_size)
    recipe = _with_choices(recipe, request)
    config = _train_config(recipe, request)
    torch.manual_seed(config.seed)
    if request.model == "encoder":
        return _train_encoder(request, config, bar)
    teacher = _load_teacher(request) if request.teacher else None
    rla = teacher.rla if teacher else _load_rla(request) if request.model == "rla-wm" else None
    recordings = open_recordings(
        request.data,
        camera=request.camera,
        encoder=rla.config.tokens.encoder if rla and not request.encoder else recipe.encoder,
        image_size=rla.config.tokens.image_size if rla and not request.image_size else recipe.image_size,
        cache=request.cache,
        live=request.no_cache,
        frames=request.model == "image-decoder" or _views(request) is not None,
        bar=bar,
    )
    if teacher:
        student = _make_student(teacher, recipe, request)
        teacher.to(PartialState().device)
        task = distillation_task(student, teacher, recordings, recipe.pairs, config, request.out)
    else:
        task = _task(request, recipe, config, recordings, rla)
    fast = use_bf16(config.precision, PartialState().device.type)
    with bar(f"train {request.model}{'' if fast else ' in float32'}", "steps") as on_progress:
        train(task, config, request.out, on_step=on_progress)


def _frames(recipe: Preset, request: TrainRequest) -> tuple[str, int]:
    """Encoder and image size: what was asked for, else the preset's. DINO-CLS gets the class token of either."""
    encoder, image_size = recipe.frames_of(request.model)
    if request.encoder:
        encoder = request.encoder
        if request.model == "dino-cls" and not encoder.startswith(PREFIX):
            encoder = PREFIX + encoder
    return encoder, request.image_size or image_size


def _views(request: TrainRequest) -> ViewRanges | None:
    return ViewRanges() if request.model == "lawm" and request.augment else None


def _train_encoder(request: TrainRequest, config: TrainConfig, bar: Bar) -> None:
    dataset = LeRobotDataset(request.data, camera=request.camera)
    task = encoder_task(
        SelfDistillation(SelfDistillationConfig()), dataset, split_episodes(dataset), config, request.out
    )
    with bar("train encoder", "steps") as on_progress:
        train(task, config, request.out, on_step=on_progress)


def the_one_beside(folder: Path, kind: str, *, flag: str) -> Path:
    """The one folder beside `folder` that holds a trained model of `kind`.

    Raises:
        ForeactError: there is none, or several; `flag` is the option that would name it.
    """
    found = find_beside(folder, kind)
    if len(found) != 1:
        what = f"{len(found)} runs with a" if found else "no"
        raise ForeactError(
            f"{what} trained {kind.replace('_', '-')} beside {folder}: train one there, or name it with {flag}"
        )
    return found[0]


def _start_from(source: str, config: ModelConfig) -> PretrainedWorldModel:
    from foreact.world_models.pretrained_video import PretrainedVideo

    assert isinstance(config, VideoModelConfig)
    return PretrainedVideo.start_from(source, config)


def _load_rla(request: TrainRequest) -> RLA:
    return RLA.from_pretrained(request.rla or the_one_beside(request.out, "rla", flag="--rla"))


def _load_teacher(request: TrainRequest) -> RLAWorldModel:
    if request.model != "rla-wm" or request.rla or request.merge != 1:
        raise ForeactError(
            "--teacher is a choice of rla-wm, whose student takes networks and rla from it: leave out --rla and --merge"
        )
    teacher = RLAWorldModel.from_pretrained(request.teacher or "")
    return teacher.requires_grad_(False)


def _make_student(teacher: RLAWorldModel, recipe: Preset, request: TrainRequest) -> RLAWorldModel:
    try:
        return make_student(teacher, recipe.flow_steps, request.flow_depth)
    except ValueError as error:
        raise ForeactError(f"--flow-depth: {error}") from error


def _with_choices(recipe: Preset, request: TrainRequest) -> Preset:
    """The preset with what was asked of one model alone; refuses what means nothing to the requested one."""
    if request.latent is not None:
        recipe = _with_latent(recipe, request)
    if request.merge != 1 and (
        request.model not in ("rla", "rla-wm") or request.variant != "paper" or request.merge < 1
    ):
        raise ForeactError(
            "--merge is a choice of rla and rla-wm in the paper's variant: the side of the squares, at least 1"
        )
    if request.flow_steps is not None and (request.model != "rla-wm" or request.flow_steps < 1):
        raise ForeactError("--flow-steps is a choice of rla-wm, at least 1")
    if request.flow_depth is not None and not request.teacher:
        raise ForeactError("--flow-depth is a choice of an rla-wm with a --teacher")
    if request.pretrained is not None and request.model != "video-diffusion":
        raise ForeactError(f"--pretrained is a choice of video-diffusion; {request.model} is trained from scratch")
    if request.model == "rla":
        return replace(recipe, decoder_merge=request.merge)
    return replace(recipe, condition_merge=request.merge, flow_steps=request.flow_steps or recipe.flow_steps)


def _with_latent(recipe: Preset, request: TrainRequest) -> Preset:
    if request.model != "rla":
        raise ForeactError(f"--latent is a choice of rla; {request.model} takes the latent of the rla that it is given")
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", request.latent or "")
    if found is None:
        raise ForeactError(f"--latent takes tokens x channels, such as 8x16, not {request.latent!r}")
    return replace(recipe, latent_tokens=int(found[1]), latent_channels=int(found[2]))


def _train_config(recipe: Preset, request: TrainRequest) -> TrainConfig:
    shared = dict.fromkeys(WORLD_MODELS, "world_model") | dict.fromkeys(LATENT_ACTIONS, "rla")
    own = request.model.replace("-", "_")
    name = own if hasattr(recipe, f"train_{own}") else shared[request.model]
    config: TrainConfig = getattr(recipe, f"train_{name}")
    changed = replace(config, **request.overrides)
    if changed.steps < 1 or changed.batch_size < 1 or not 0 < changed.learning_rate < math.inf:
        raise ForeactError("--steps and --batch-size must be at least 1, and --learning-rate positive")
    return changed


def _task(request: TrainRequest, recipe: Preset, config: TrainConfig, recordings: Recordings, rla: RLA | None) -> Task:
    tokens = recordings.cache.spec
    if request.model in LATENT_ACTIONS:
        named = request.model
        if named == "rla":
            _require_squares(tokens, request.merge)
            model: LatentActions = recipe.rla(tokens, variant=request.variant).build()
        else:
            model = recipe.latent_action(named, tokens, state_dim=recordings.state_dim).build()
        law = request.sampling or (recipe.lawm_pairs if named == "lawm" else recipe.rla_pairs)
        return latent_action_task(model, recordings, law, config, request.out, views=_views(request))
    if request.model == "image-decoder":
        return image_decoder_task(recipe.image_decoder(tokens).build(), recordings, config, request.out)
    recordings.require_actions()
    law = request.sampling or recipe.pairs
    action_dim = recordings.dataset.action_dim or 0
    if rla is None:
        rival = recipe.baseline(request.model.replace("-", "_"), tokens, action_dim)
        baseline = rival.build() if request.pretrained is None else _start_from(request.pretrained, rival)
        return world_model_task(baseline, recordings, law, config, request.out)
    _require_squares(tokens, request.merge)
    world_model = recipe.rla_wm(rla.config, action_dim, variant=request.variant).build()
    world_model.rla.load_state_dict(rla.state_dict())
    return world_model_task(world_model, recordings, law, config, request.out)


def _require_squares(tokens: TokenSpec, merge: int) -> None:
    if any(side % merge for side in tokens.grid):
        raise ForeactError(
            f"--merge {merge} does not fit {tokens.grid[0]} x {tokens.grid[1]} patches: take a divisor, or another --image-size"
        )
