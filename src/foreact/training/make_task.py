"""From a plan and recordings to what the training loop runs: model, statistics, loss, batches, export."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from foreact.core.cards import DataSpec, TrainingPlan
from foreact.core.errors import ForeactError
from foreact.core.files import write_json
from foreact.core.recipe import TrainConfig
from foreact.core.trainable import TrainableModel
from foreact.recordings.batches import FrameBatches, PairBatches, RecordedFrames
from foreact.recordings.recordings import Recordings
from foreact.training.task import FrozenPart, Task

Batches = PairBatches | FrameBatches | RecordedFrames


def make_task(plan: TrainingPlan, recordings: Recordings, config: TrainConfig, run: Path) -> Task:
    """Build the model of a plan, fit its statistics, and put everything together.

    Args:
        plan: what is trained.
        recordings: what it learns from.
        config: how it is trained.
        run: where it is exported to.

    Raises:
        ForeactError: recordings that lack what the model needs, or have it in another shape.
    """
    spec = DataSpec(
        tokens=recordings.tokens,
        action_dim=recordings.dataset.action_dim or 0,
        state_dim=recordings.state_dim,
    )
    model = plan.build(spec)
    _require_fit(model, recordings)
    draw = _batches(model, plan, config)
    batches = draw(recordings)
    if not plan.fitted:
        model.fit(batches)
    about = {"kind": model.exported.config.kind, "model": model.config.to_dict(), "split": recordings.split.hash}
    return Task(
        model=model,
        loss=plan.loss or (lambda module, batch, generator: module.loss(batch, generator)),
        batches=batches,
        export=partial(_export, model, recordings, run),
        about=about | batches.about | dict(plan.about),
        after_step=model.after_step,
        held_out=_held_out(draw, recordings),
        frozen=FrozenPart.of(model, plan.frozen),
    )


def _batches(model: TrainableModel, plan: TrainingPlan, config: TrainConfig) -> Callable[[Recordings], Batches]:
    """What draws the model's batches from recordings."""
    size: dict[str, Any] = {"batch_size": config.batch_size, "seed": config.seed}
    if model.learns_from == "frames":
        return partial(FrameBatches, **size)
    if model.learns_from == "recorded_frames":
        return partial(RecordedFrames, **size)
    return partial(PairBatches, law=plan.law, columns=model.columns, **size)


def _held_out(draw: Callable[[Recordings], Batches], recordings: Recordings) -> Batches | None:
    """Batches of the held-out episodes, drawn like those of training; None where these few give none, as without actions."""
    try:
        return draw(recordings.held_out)
    except ForeactError:
        return None


def _require_fit(model: TrainableModel, recordings: Recordings) -> None:
    config: Any = model.config
    root = recordings.dataset.root
    if model.learns_from != "recorded_frames":
        config.tokens.require(recordings.tokens, model=f"this {config.kind}", source=str(root))
    if model.columns.actions is not None:
        recordings.require_actions()
        if recordings.dataset.action_dim != config.action_dim:
            raise ForeactError(
                f"{root} has actions of {recordings.dataset.action_dim} dimensions, the model takes {config.action_dim}"
            )


def _export(model: TrainableModel, recordings: Recordings, run: Path) -> None:
    recordings.split.save(run / "split.json")
    write_json(run / "run.json", {"data": str(recordings.dataset.root), "split_hash": recordings.split.hash})
    model.exported.save_pretrained(run)
