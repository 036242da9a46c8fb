"""A model of a study, trained as the study asks, or gone on with where that was stopped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from foreact.core.errors import ForeactError
from foreact.core.presets import preset
from foreact.core.progress import ProgressFactory
from foreact.core.recipe import PairSampling
from foreact.core.registry import card, trainable
from foreact.studies.settings import TrainingStudy
from foreact.training.run import TrainRequest, run_training


def chosen_kinds(
    names: Sequence[str] | None, role: str, *, more: Sequence[str] = (), what: str = "model"
) -> tuple[str, ...]:
    """Kinds of a role by their names on the command line; all that can be trained, and `more`, where none are named.

    Raises:
        ForeactError: an unknown one.
    """
    known = (*trainable(role), *more)
    return chosen_names(None if names is None else [n.replace("-", "_") for n in names], known, what=what)


def chosen_names(names: Sequence[str] | None, known: Iterable[str], *, what: str) -> tuple[str, ...]:
    """Those of the known names that were asked for; all where none were.

    Raises:
        ForeactError: an unknown one.
    """
    able = tuple(known)
    if unknown := [name for name in names or () if name not in able]:
        listed = ", ".join(name.replace("_", "-") for name in able)
        raise ForeactError(f"unknown {what} {unknown[0].replace('_', '-')!r}: choose among {listed}")
    return able if names is None else tuple(names)


def parts_of(kind: str) -> tuple[str, ...]:
    """Kinds of trained models that one of this kind stands on."""
    training = card(kind).training
    return tuple(part.kind for part in training().parts().values()) if training else ()


def train_run(
    study: TrainingStudy,
    kind: str,
    run: Path,
    progress: ProgressFactory,
    *,
    seed: int,
    steps: int | None = None,
    law: PairSampling | None = None,
    data: Path | None = None,
    **options: Any,
) -> None:
    """Train a model into `run` with the study's data, preset, steps and batch.

    Args:
        study: whose settings all models share.
        kind: of model; the image decoder, which nobody is compared by, keeps the preset's steps.
        run: its folder.
        progress: shows the progress.
        seed: of initial weights, batches and noise.
        steps: of the optimiser; the study's if None.
        law: of pairs; the model's own if None.
        data: what it learns from; the study's if None.
        options: of this kind of model; models of pixels keep to pixels.

    Raises:
        DivergedError: the loss is no number any more.
        ForeactError: bad input, or a run of other settings in `run`.
    """
    known = card(kind)
    if known.training is None:
        raise ForeactError(f"{known.name} cannot be trained, only loaded")
    asked = ({} if known.role == "image_decoder" else study.overrides) | ({} if steps is None else {"steps": steps})
    frames = {"image_size": study.image_size, "encoder": study.encoder} | options
    if known.training(**{**frames, "encoder": None}).frames(preset(study.preset))[0] == "pixels":
        frames["encoder"] = None
    request = TrainRequest(
        kind=known.kind,
        options=known.training(**frames),
        data=data or study.data,
        out=run,
        preset=study.preset,
        cache=study.cache,
        law=law,
        overrides={**asked, "seed": seed},
    )
    run_training(request, progress)
