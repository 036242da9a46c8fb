"""A model of a study, trained as the study asks, or gone on with where that was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from foreact.core.presets import preset
from foreact.core.progress import Bar
from foreact.studies.settings import Comparison
from foreact.train_command import TrainRequest, run_training


def train_run(
    study: Comparison, model: str, run: Path, bar: Bar, *, seed: int, steps: int | None = None, **choices: Any
) -> None:
    """Train a model into `run` with the study's data, preset, steps and batch.

    Args:
        study: whose settings all models share.
        model: by its name in `foreact train`; the image decoder, which nobody is compared by, keeps the preset's steps.
        run: its folder.
        bar: shows the progress.
        seed: of initial weights, batches and noise.
        steps: of the optimiser; the study's if None.
        choices: of this model alone, fields of `TrainRequest`; models of pixels keep to pixels.

    Raises:
        DivergedError: the loss is no number any more.
        ForeactError: bad input, or a run of other settings in `run`.
    """
    asked = ({} if model == "image-decoder" else study.overrides) | ({} if steps is None else {"steps": steps})
    frames = {"image_size": study.image_size, "encoder": study.encoder} | choices
    if preset(study.preset).frames_of(model)[0] == "pixels":
        frames["encoder"] = None
    request = TrainRequest(
        model=model, data=study.data, out=run, preset=study.preset, cache=study.cache, overrides={**asked, "seed": seed}, **frames
    )  # fmt: skip
    run_training(request, bar)
