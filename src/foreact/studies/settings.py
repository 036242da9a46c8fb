"""What each study of `foreact benchmark` can be asked; light to import, so that help comes at once."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from foreact.core.arguments import Count, OutFolder

PresetName = Literal["tiny", "small", "paper"]


@dataclass(frozen=True, kw_only=True)
class Sliced:
    """What all studies can be asked.

    Attributes:
        slice_minutes: end after the model that is being trained and scored when so many minutes are over; the same command
            goes on.
    """

    slice_minutes: float | None = None


@dataclass(frozen=True, kw_only=True)
class CoinWorld(Sliced):
    """Every world model in a small scene whose right answers are known: what regression must erase, a sampler must draw.

    Attributes:
        out: folder of the runs and of results.json.
        seeds: training seeds per model.
        steps: optimiser steps of each model.
        models: which ones, by their names in foreact train, and fm-wm-trap; all by default.
    """

    name: ClassVar[str] = "coin-world"

    out: OutFolder
    seeds: int = 3
    steps: int = 1000
    models: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class TrainingStudy(Sliced):
    """What studies have in common that train models on recordings.

    Attributes:
        data: a LeRobot dataset.
        out: folder of the runs and of results.json.
        seeds: training seeds per model.
        preset: sizes and recipes.
        encoder: gives the tokens that models are trained and measured on; the preset's by default.
        image_size: of the frames; the preset's by default.
        steps: optimiser steps of each model; the preset's by default.
        batch_size: the preset's by default.
        cache: folder of token caches.
    """

    data: Path
    out: OutFolder
    seeds: int = 3
    preset: PresetName = "tiny"
    encoder: str | None = None
    image_size: int | None = None
    steps: int | None = None
    batch_size: int | None = None
    cache: OutFolder | None = None

    @property
    def overrides(self) -> dict[str, int]:
        """Of the preset's training, what was asked for."""
        asked = {"steps": self.steps, "batch_size": self.batch_size}
        return {name: value for name, value in asked.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Arena(TrainingStudy):
    """Every world model on one dataset: the same data, tokens, steps, batch, width and depth.

    Attributes:
        models: which ones, by their names in foreact train; all by default.
    """

    name: ClassVar[str] = "world-models"

    models: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class CheaperStudy(TrainingStudy):
    """What makes imagination cheaper and what it costs in accuracy: merged tokens, fewer steps, a student of one step.

    Attributes:
        merged_steps: optimiser steps of models with merged tokens, whose steps are cheaper; as many as of the others by default.
    """

    name: ClassVar[str] = "cheaper"
    merged_steps: int | None = None


@dataclass(frozen=True, kw_only=True)
class LatentStudy(TrainingStudy):
    """Every latent-action learner on one dataset, with controls: what z says and what it does not.

    Attributes:
        models: which learners, by their names in foreact train; all by default.
        latents: sizes of rla's z as tokens x channels; from 1/32 of the preset's to all of it by default.
        unseen: recordings of a scene that no learner is trained on.
        embodiment: recordings of another robot.
        pairs: held-out pairs.
        seconds: gap of the pairs for probes, rollouts and transfer.
    """

    name: ClassVar[str] = "latent-actions"

    models: tuple[str, ...] | None = None
    latents: tuple[str, ...] | None = None
    unseen: Path | None = None
    embodiment: Path | None = None
    pairs: Count = 512
    seconds: float = 1.2


@dataclass(frozen=True, kw_only=True)
class SamplerStudy(Sliced):
    """Solvers and numbers of steps for trained rla-wm.

    Attributes:
        runs: folders of trained rla-wm; the first with 30 Euler steps is what the others are compared with.
        data: the LeRobot dataset that they were trained on.
        out: folder of results.json.
        cache: folder of token caches.
    """

    name: ClassVar[str] = "samplers"

    runs: tuple[Path, ...]
    data: Path
    out: OutFolder
    cache: OutFolder | None = None


@dataclass(frozen=True, kw_only=True)
class ActionlessStudy(TrainingStudy):
    """Policies that learn from few actions and many silent videos, with every latent-action learner, controls and upper bound.

    Attributes:
        data: demonstrations of a task; of a share of them actions are looked at.
        env: id of the environment in which policies are judged.
        play: recordings of the same robot without the task, on which the latent-action learners are trained.
        labelled: share of the demonstrations whose actions are looked at.
        rows: which comparisons, by name; all by default.
        few_seeds: training seeds of the rows that no claim stands on.
        learner_steps: optimiser steps of latent-action learners; the preset's by default.
        episodes: evaluation seeds.
        first_seed: of the evaluation; no recording and no choice may have used it or those that follow.
        option: of the simulator, NAME=VALUE.
        workers: processes that simulate.
    """

    name: ClassVar[str] = "actionless"

    env: str
    play: Path
    labelled: float = 0.05
    rows: tuple[str, ...] | None = None
    few_seeds: int = 3
    seeds: int = 5
    learner_steps: int | None = None
    episodes: int = 50
    first_seed: int = 1_000_000
    option: tuple[str, ...] = ()
    workers: int = 1


@dataclass(frozen=True, kw_only=True)
class PlanningStudy(Sliced):
    """Trained world models, solvers and budgets on the same goals, with controls: how near they come, and in how many seconds.

    Attributes:
        runs: folders of trained world models.
        data: the LeRobot dataset that goals and the bounds of actions come from.
        env: id of the environment.
        out: folder of results.json.
        seeds: of the planners; the goals are the same for all.
        plans: solvers and budgets, as SOLVER:ITERATIONSxSAMPLES; the first one is what the controls plan with.
        goals: how many actions ahead, or task.
        episodes: of each goal.
        first_seed: of the choice of goals.
        controls: what acts beside the planners: recorded, random, simulator, persistence, or a policy as foreact act takes it.
        objective, horizon, execute, chunk, knots, futures, spread: of all plans, as in foreact plan.
        option: of the simulator, NAME=VALUE.
        workers: processes that simulate.
    """

    name: ClassVar[str] = "planning"

    runs: tuple[Path, ...]
    data: Path
    env: str
    out: OutFolder
    seeds: int = 3
    plans: tuple[str, ...] = ("cem:5x64", "mppi:5x64", "gradient:20x8", "shooting:5x64")
    goals: tuple[str, ...] = ("5", "10", "15", "25", "50")
    episodes: int = 50
    first_seed: int = 0
    controls: tuple[str, ...] = ("recorded", "random", "persistence", "simulator")
    objective: str = "l2"
    horizon: int = 10
    execute: int = 5
    chunk: int | None = None
    knots: int | None = None
    futures: int = 1
    spread: float = 0.0
    option: tuple[str, ...] = ()
    workers: int = 1


Study = CoinWorld | Arena | LatentStudy | SamplerStudy | CheaperStudy | ActionlessStudy | PlanningStudy


def command(study: Study) -> str:
    """The command that was asked for, as a reader would type it: without --out, --cache and --slice-minutes, and folders by their names."""
    words = ["foreact", "benchmark", study.name]
    for field in dataclasses.fields(study):
        value = getattr(study, field.name)
        if field.name not in ("out", "cache", "slice_minutes", "workers") and value != field.default:
            words += [f"--{field.name.replace('_', '-')}", *_words(value)]
    return shlex.join(words)


def _words(value: Any) -> Iterator[str]:
    for part in value if isinstance(value, tuple) else (value,):
        yield part.name if isinstance(part, Path) else str(part)
