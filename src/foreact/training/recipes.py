"""How each model of RLA-WM is trained from recordings: model, loss, batches. The loop is `training.loop`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foreact.contracts import Batch
from foreact.data.lerobot import LeRobotDataset
from foreact.data.pairs import PairSampling
from foreact.data.splits import Split
from foreact.decoders.unet import UNetDecoder
from foreact.encoders.base import state_hash
from foreact.errors import ForeactError
from foreact.latent_actions.adaworld import AdaWorld
from foreact.latent_actions.dino_cls import DinoCLS
from foreact.latent_actions.lawm import LaWM
from foreact.latent_actions.rla import RLA
from foreact.latent_actions.univla import UniVLA
from foreact.pretrained import PretrainedModel, write_atomically
from foreact.training.loop import Task, TrainConfig
from foreact.training.recordings import ROBOT, FrameBatches, PairBatches, Recordings, VideoFrames
from foreact.training.self_distillation import SelfDistillation
from foreact.training.views import ViewRanges
from foreact.world_models.base import PretrainedWorldModel
from foreact.world_models.distillation import distillation_loss
from foreact.world_models.rla_wm import RLAWorldModel

Batches = Callable[[int, int, int], Any]
LatentActions = RLA | UniVLA | AdaWorld | LaWM | DinoCLS

_STATISTICS_PAIRS = 1024  # pairs that the statistics of tokens, changes and z are fitted on


def latent_action_task(
    model: LatentActions,
    recordings: Recordings,
    sampling: PairSampling,
    config: TrainConfig,
    run: Path,
    *,
    views: ViewRanges | None = None,
) -> Task:
    """A latent-action learner on frame pairs; needs no actions. `views` are for LaWM, which infers z in another view."""
    tokens = model.config.tokens
    tokens.require(recordings.cache.spec, model=f"this {model.config.kind}", source=str(recordings.dataset.root))
    draw = partial(
        PairBatches,
        sampling=sampling,
        batch_size=config.batch_size,
        seed=config.seed,
        states=isinstance(model, LaWM) and model.state_head is not None,
        views=views,
    )
    batches = draw(recordings)
    if isinstance(model, DinoCLS):
        model.fit(*_some_pairs(batches))
    elif isinstance(model, RLA | UniVLA) and model.config.standardise:
        model.scale.fit(*_some_pairs(batches))
    elif isinstance(model, LaWM) and batches.states:
        model.fit_states(torch.from_numpy(np.concatenate(list(batches.states.values()))), ROBOT)
    about = {"sampling": _law(sampling)} | ({"views": dataclasses.asdict(views)} if views else {})
    task = _task(model, recordings, batches, run, held_out=_held_out(draw, recordings), **about)
    return dataclasses.replace(task, after_step=model.after_step) if isinstance(model, UniVLA) else task


def world_model_task(
    model: PretrainedWorldModel, recordings: Recordings, sampling: PairSampling, config: TrainConfig, run: Path
) -> Task:
    """A world model on frame pairs with action chunks; fits the statistics of actions and what else the model asks for.

    Raises:
        ForeactError: the dataset has no actions, actions of another dimension, or tokens of another encoder.
    """
    _require_fit(model, recordings)
    model.normalise.fit(*recordings.action_statistics())
    draw = _chunks(model, sampling, config)
    batches = draw(recordings)
    model.fit(*_some_pairs(batches))
    return _task(model, recordings, batches, run, held_out=_held_out(draw, recordings), sampling=_law(sampling))


def distillation_task(
    student: RLAWorldModel,
    teacher: RLAWorldModel,
    recordings: Recordings,
    sampling: PairSampling,
    config: TrainConfig,
    run: Path,
) -> Task:
    """A few-step student of a trained RLA-WM; see `world_models.distillation`.

    Raises:
        ForeactError: as `world_model_task`.
    """
    _require_fit(student, recordings)
    draw = _chunks(student, sampling, config)
    described = {"sampling": dataclasses.asdict(sampling), "teacher": state_hash(teacher)}
    task = _task(student, recordings, draw(recordings), run, held_out=_held_out(draw, recordings), **described)
    return dataclasses.replace(task, loss=lambda model, batch, noise: distillation_loss(model, teacher, batch, noise))


def image_decoder_task(model: UNetDecoder, recordings: Recordings, config: TrainConfig, run: Path) -> Task:
    """The image decoder on single frames and their tokens."""
    model.config.tokens.require(recordings.cache.spec, model="this image decoder", source=str(recordings.dataset.root))
    size = recordings.cache.image_size
    if model.config.image_size != (size, size):
        raise ForeactError(f"the image decoder draws {model.config.image_size} pixels, the frames have {(size, size)}")
    draw = partial(FrameBatches, batch_size=config.batch_size, seed=config.seed)
    batches = draw(recordings)
    if model.config.standardise:
        draws = range(2**31, 2**31 + _STATISTICS_PAIRS // config.batch_size + 1)
        tokens = torch.cat([batches(step, 0, 1)[0] for step in draws])
        model.scale.fit(tokens, tokens)
    task = _task(model, recordings, batches, run, held_out=draw(recordings.held_out))
    return dataclasses.replace(task, loss=lambda m, batch, generator: m.loss(*batch))


def encoder_task(
    model: SelfDistillation, dataset: LeRobotDataset, split: Split, config: TrainConfig, run: Path
) -> Task:
    """An encoder of the `tiny` kind, self-supervised on the frames of a dataset's training episodes."""
    batches = VideoFrames(dataset, split, batch_size=config.batch_size, seed=config.seed)
    return Task(
        model=model,
        loss=lambda module, batch, generator: module.loss(batch, generator),
        batches=batches,
        export=lambda: model.encoder.save_pretrained(run, half=True),
        about={"kind": "tiny_encoder", "model": dataclasses.asdict(model.config), "split": split.hash},
        after_step=model.after_step,
    )


def _task(
    model: PretrainedModel,
    recordings: Recordings,
    batches: Batches,
    run: Path,
    *,
    held_out: Batches | None,
    **about: Any,
) -> Task:
    def export() -> None:
        recordings.split.save(run / "split.json")
        origin = {"data": str(recordings.dataset.root), "split_hash": recordings.split.hash}
        write_atomically(run / "run.json", (json.dumps(origin, indent=2) + "\n").encode())
        model.save_pretrained(run)

    def loss(module: Any, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        return module.loss(batch, generator)

    described = {"kind": model.config.kind, "model": model.config.to_dict(), "split": recordings.split.hash, **about}
    return Task(model=model, loss=loss, batches=batches, export=export, about=described, held_out=held_out)


def _chunks(
    model: PretrainedWorldModel, sampling: PairSampling, config: TrainConfig
) -> Callable[[Recordings], PairBatches]:
    """Pairs with action chunks as a world model takes them."""
    return partial(
        PairBatches,
        sampling=sampling,
        batch_size=config.batch_size,
        seed=config.seed,
        horizon=model.config.horizon,
        clip_stride=model.clip_stride,
    )


def _held_out(draw: Callable[[Recordings], PairBatches], recordings: Recordings) -> PairBatches | None:
    """Pairs of the held-out episodes, drawn like those of training; None where these few give no pair, as without actions."""
    try:
        return draw(recordings.held_out)
    except ForeactError:
        return None


def _require_fit(model: PretrainedWorldModel, recordings: Recordings) -> None:
    config, root = model.config, recordings.dataset.root
    config.tokens.require(recordings.cache.spec, model=f"this {config.kind}", source=str(root))
    recordings.require_actions()
    if recordings.dataset.action_dim != config.action_dim:
        raise ForeactError(
            f"{root} has actions of {recordings.dataset.action_dim} dimensions, the model takes {config.action_dim}"
        )


def _law(sampling: PairSampling) -> dict[str, Any]:
    """The law of pairs that a resume must find unchanged; what is not set is left out, as in runs of before it could be."""
    return {k: v for k, v in dataclasses.asdict(sampling).items() if v is not None}


def _some_pairs(batches: PairBatches) -> tuple[Tensor, Tensor]:
    """Tokens of both frames (P, N, C) of pairs drawn as in training, under a step number that training never uses."""
    pairs, gather = batches.sampler.sample(2**31, _STATISTICS_PAIRS), batches.recordings.cache.gather
    s_t, s_th = gather(pairs.episode, pairs.start), gather(pairs.episode, pairs.start + pairs.horizon)
    return torch.from_numpy(s_t), torch.from_numpy(s_th)
