"""From a request to a trained run: the model's plan, its parts, the recordings, the task and the loop."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from foreact.core.cards import ModelCard, ModelTraining, Part, TrainingPlan
from foreact.core.errors import ForeactError
from foreact.core.lock import locked
from foreact.core.precision import use_bf16
from foreact.core.presets import preset
from foreact.core.pretrained import PretrainedModel, find_beside, load_model
from foreact.core.progress import ProgressFactory
from foreact.core.recipe import PairSampling, TrainConfig
from foreact.core.registry import card
from foreact.recordings.latents import Latents, infer_latents
from foreact.recordings.opening import cache_root, open_recordings
from foreact.recordings.recordings import Recordings
from foreact.recordings.sources import EpisodeChoice, Source, as_sources
from foreact.recordings.splits import Split
from foreact.training.loop import train
from foreact.training.make_task import make_task


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """What `foreact train` was asked for.

    Attributes:
        kind: of model.
        options: those that only this kind has; the defaults if None.
        data: LeRobot datasets: folders, or what `recordings.sources.parse_source` takes.
        out: folder of the run.
        preset: name of the sizes.
        overrides: fields of `TrainConfig` instead of the preset's.
        law: of pairs, instead of the model's.
        seconds: from the first frame to the second of every pair, instead of any law.
        camera: which one of datasets that are named without; the first if None.
        episodes: which are used, as `recordings.sources.EpisodeChoice` reads it; all if None.
        skip_defective: leave out episodes in which inspection finds something broken.
        skip_missing: leave out episodes whose files are missing.
        cache: folder of token caches.
        no_cache: encode frames while training instead of once beforehand.
        start: folder, shipped name or Hub id of a trained model of the same kind, whose weights the training begins with.
    """

    kind: str
    data: Path | str | Source | tuple[Path | str | Source, ...]
    out: Path
    options: ModelTraining | None = None
    preset: str = "tiny"
    overrides: Mapping[str, Any] = field(default_factory=dict)
    law: PairSampling | None = None
    seconds: float | None = None
    camera: str | None = None
    episodes: str | None = None
    skip_defective: bool = False
    skip_missing: bool = False
    cache: Path | None = None
    no_cache: bool = False
    start: str | None = None


def run_training(request: TrainRequest, progress: ProgressFactory) -> dict[str, float]:
    """Prepare and train the requested model.

    Args:
        request: what to train.
        progress: (title, unit) -> a context that gives a progress callback.

    Returns:
        The last logged values.

    Raises:
        ForeactError: bad input; see the parts.
    """
    with locked(request.out) if PartialState().is_main_process else contextlib.nullcontext():
        return _train(request, progress)


def _train(request: TrainRequest, progress: ProgressFactory) -> dict[str, float]:
    plan = plan_training(request)
    torch.manual_seed(plan.recipe.seed)
    kind = card(request.kind)
    live = request.no_cache or kind.role == "encoder"
    recordings = _open(request, plan, plan.encoder, plan.image_size, live=live, progress=progress)
    latents = _latents(request, plan, recordings, live=live, progress=progress)
    task = make_task(plan, recordings, plan.recipe, latents=latents, start=request.start)
    fast = use_bf16(plan.recipe.precision, PartialState().device.type)
    with progress(f"train {kind.name}{'' if fast else ' in float32'}", "steps") as on_progress:
        return train(task, plan.recipe, request.out, on_step=on_progress)


def _open(
    request: TrainRequest,
    plan: TrainingPlan,
    encoder: str,
    image_size: int,
    *,
    live: bool,
    splits: Sequence[Split] | None = None,
    progress: ProgressFactory,
) -> Recordings:
    """What a plan learns from, seen by an encoder."""
    own = splits is None  # else it is the learner of z that looks, at tokens alone
    data = list(as_sources(request.data, camera=request.camera))
    if plan.demonstrations and plan.demonstrations.actions_from:
        data += as_sources(plan.demonstrations.actions_from, camera=request.camera)
    return open_recordings(
        data,
        encoder=encoder,
        image_size=image_size,
        cache=request.cache,
        live=live,
        tokens=plan.tokens or not own,
        frames=plan.frames and own,
        episodes=None if request.episodes is None else EpisodeChoice.parse(request.episodes),
        skip_defective=request.skip_defective and own,
        skip_missing=request.skip_missing or not own,
        splits=splits,
        progress=progress,
    )


def _latents(
    request: TrainRequest, plan: TrainingPlan, recordings: Recordings, *, live: bool, progress: ProgressFactory
) -> Latents | None:
    """z of all episodes, where a policy learns from it: by the learner's own encoder."""
    asked = plan.demonstrations
    if asked is None or asked.latent is None:
        return None
    tokens = asked.latent.config.tokens  # type: ignore[attr-defined]
    seen = _open(
        request, plan, tokens.encoder, tokens.image_size, live=live, splits=recordings.splits.parts, progress=progress
    )
    kept = None if live else cache_root(request.cache)
    with PartialState().main_process_first():
        asked.latent.to(PartialState().device)
        found = infer_latents(asked.latent, seen, horizon=asked.horizon, cache=kept, progress=progress)
    return found.shuffled() if asked.shuffled else found


def plan_training(request: TrainRequest) -> TrainingPlan:
    """The plan of the requested model, with what was asked for in the place of the preset's; loads its parts.

    Raises:
        ForeactError: an unknown kind or preset, options that do not fit, a part that is not there.
    """
    kind, sizes = card(request.kind), preset(request.preset)
    options = request.options or default_options(kind)
    plan = options.plan(sizes, {name: load_part(part, name, request.out) for name, part in options.parts().items()})
    if request.start is not None:
        plan = dataclasses.replace(plan, recipe=plan.begun or plan.recipe, rates={})
    law = (request.law or plan.law) if request.seconds is None else PairSampling(seconds=request.seconds)
    return dataclasses.replace(plan, law=law, recipe=_checked(dataclasses.replace(plan.recipe, **request.overrides)))


def default_options(kind: ModelCard) -> ModelTraining:
    """The options of a kind as they are when nothing is asked for.

    Raises:
        ForeactError: models of this kind are loaded and not trained.
    """
    if kind.training is None:
        raise ForeactError(f"{kind.name} is not trained: it is only loaded")
    return kind.training()


def load_part(part: Part, option: str, out: Path) -> PretrainedModel:
    """Another trained model, as named or the only one of its kind beside the new run.

    Raises:
        ForeactError: it is not there, there are several, or it is of another kind.
    """
    source = part.source or the_one_beside(out, part.kind, flag=f"--{option}")
    model = load_model(source)
    found = model.config.kind
    if found not in (part.kind, *part.variants) and (part.role is None or card(found).role != part.role):
        raise ForeactError(f"{source} holds a {model.config.kind}, not a {part.kind}")
    return model


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


def _checked(config: TrainConfig) -> TrainConfig:
    if config.steps < 1 or config.batch_size < 1 or not 0 < config.learning_rate < math.inf:
        raise ForeactError("--steps and --batch-size must be at least 1, and --learning-rate positive")
    return config
