"""From a plan and recordings to what the training loop runs: model, statistics, loss, batches, export."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import PartialState

from foreact.core.cards import DataSpec, Demonstrations, RobotSpec, TrainingPlan
from foreact.core.errors import ForeactError
from foreact.core.files import write_json
from foreact.core.pretrained import load_model
from foreact.core.recipe import TrainConfig
from foreact.core.trainable import TrainableModel
from foreact.data.lerobot import ACTION, STATE
from foreact.recordings.batches import PairBatches
from foreact.recordings.demonstrations import DemonstrationBatches
from foreact.recordings.describe import describe
from foreact.recordings.frames import FrameBatches, RecordedFrames
from foreact.recordings.latents import Latents
from foreact.recordings.recording import Recording
from foreact.recordings.recordings import Recordings
from foreact.recordings.splits import SPLIT_FILE
from foreact.recordings.token_cache import device_of
from foreact.recordings.windows import Window
from foreact.training.task import FrozenPart, Task
from foreact.training.warm_start import begin_with

Batches = PairBatches | FrameBatches | RecordedFrames | DemonstrationBatches


def make_task(
    plan: TrainingPlan,
    recordings: Recordings,
    config: TrainConfig,
    *,
    latents: Latents | None = None,
    start: str | None = None,
) -> Task:
    """Build the model of a plan, fit its statistics, and put everything together.

    Args:
        plan: what is trained.
        recordings: what it learns from.
        config: how it is trained.
        latents: z of all episodes, for a policy that learns from it.
        start: folder, shipped name or Hub id of a trained model whose weights and statistics this one begins with.

    Raises:
        ForeactError: recordings that lack what the model needs, or have it in another shape.
    """
    spec = DataSpec(
        tokens=recordings.tokens,
        action_dim=recordings.action_dim,
        state_dim=recordings.state_dim,
        embodiments=max(2, recordings.embodiments),
        robots=tuple(map(_robot, recordings.sources)),
        instructions=_instructions(recordings),
        law=plan.law,
    )
    model = plan.build(spec)
    _require_fit(model, recordings)
    draw = _batches(model, plan, config, recordings, latents)
    batches = draw(recordings)
    about = {"kind": model.exported.config.kind, "model": model.config.to_dict(), "split": recordings.splits.hash}
    if not plan.fitted and (start is None or model.mixes_robots):  # of robots that the start has not seen
        model.fit(batches)
    if start is not None:
        about["start"] = begin_with(model, load_model(start), source=start, frozen=plan.frozen)
    return Task(
        model=model,
        loss=plan.loss or (lambda module, batch, generator: module.loss(batch, generator)),
        batches=batches,
        export=partial(_export, model, recordings),
        about=about | batches.about | dict(plan.about),
        after_step=model.after_step,
        held_out=_held_out(draw, recordings),
        workers=_workers(batches, recordings),
        frozen=FrozenPart.of(model, plan.frozen),
        rates=plan.rates,
    )


def _instructions(recordings: Recordings) -> tuple[str, ...]:
    return tuple(sorted({s.dataset.episode(e).task for s in recordings.sources for e in s.split.train}))


def _robot(source: Recording) -> RobotSpec:
    first, features = source.dataset, source.dataset.features
    return RobotSpec(
        name=first.robot_type or "",
        embodiment=source.embodiment,
        camera=first.camera,
        cameras={name: first.shape_of(name) for name in first.cameras},
        action=first.names_of(ACTION) if ACTION in features else (),
        state=first.names_of(STATE) if STATE in features else (),
        fps=float(first.fps),
    )


def _batches(
    model: TrainableModel, plan: TrainingPlan, config: TrainConfig, recordings: Recordings, latents: Latents | None
) -> Callable[[Recordings], Batches]:
    """What draws the model's batches from these recordings, or from the held-out part of them."""
    size: dict[str, Any] = {"batch_size": config.batch_size, "seed": config.seed}
    if model.learns_from == "windows":
        asked, whole = plan.demonstrations or Demonstrations(), Demonstrations()
        about: dict[str, Any] = {
            "window": Window(columns=model.window),
            "latents": latents,
            "mixed": model.mixes_robots,
        }
        draw: Any = partial(DemonstrationBatches, **about, **size)
        return lambda part: draw(part, demonstrations=asked if part is recordings else whole)  # all that is held out
    if model.learns_from == "frames":
        return partial(FrameBatches, **size)
    if model.learns_from == "recorded_frames":
        return partial(RecordedFrames, **size)
    return partial(PairBatches, law=plan.law, columns=model.columns, **size)


def _workers(batches: Batches, recordings: Recordings) -> int:
    """None where batches take an encoder on a GPU, which processes cannot share, and where they are only read from the disk for
    a model on the CPU: that takes 1 to 2 % of a step, and handing a batch over from another process 2 to 8 %.
    """
    if batches.encodes and device_of(recordings.encoder) != "cpu":
        return 0
    return 0 if batches.on_disk and PartialState().device.type == "cpu" else 1


def _held_out(draw: Callable[[Recordings], Batches], recordings: Recordings) -> Batches | None:
    """Batches of the held-out episodes, drawn like those of training; None where these few give none, as without actions."""
    try:
        return draw(recordings.held_out)
    except ForeactError:
        return None


def _require_fit(model: TrainableModel, recordings: Recordings) -> None:
    config: Any = model.config
    if model.learns_from == "windows":
        return
    names = ", ".join(recordings.names)
    if model.learns_from != "recorded_frames":
        config.tokens.require(recordings.tokens, model=f"this {config.kind}", source=names)
    if model.columns.actions is not None:
        recordings.require_actions()
        if recordings.action_dim != config.action_dim:
            raise ForeactError(
                f"{names} has actions of {recordings.action_dim} dimensions, the model takes {config.action_dim}"
            )


def _export(model: TrainableModel, recordings: Recordings, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    recordings.splits.save(folder / SPLIT_FILE)
    write_json(folder / "run.json", describe(recordings))
    model.exported.save_pretrained(folder)
