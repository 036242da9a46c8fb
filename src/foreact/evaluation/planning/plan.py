"""`foreact plan`: a planner towards goal pictures in a simulator, beside what it is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from foreact.core.errors import ForeactError
from foreact.core.files import read_json
from foreact.core.machine import machine, versions
from foreact.core.pretrained import RECORDINGS
from foreact.core.progress import ProgressFactory
from foreact.evaluation.acting.act import play_all, require_simulator
from foreact.evaluation.acting.choosing import identity
from foreact.evaluation.acting.episodes import Episode
from foreact.evaluation.acting.journal import EpisodeJournal
from foreact.evaluation.acting.summary import interval_of, tabulate
from foreact.evaluation.planning.casting import PLANNER, PLANNING, TASK, PlanWave, Stage, require_world_model
from foreact.evaluation.results import Results
from foreact.evaluation.rows import EpisodeValues, Row
from foreact.planning.config import PlannerConfig

GOALS = ("5", "10", "15", "25", "50", TASK)
THRESHOLDS = (5, 10, 15, 20, 30, 40, 60)
"""Pixels, and degrees, for the curve of success."""


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """What `foreact plan` was asked for.

    Attributes:
        run: folder of a world model.
        env: id of the environment.
        data: the dataset; the one that the run was trained on if None.
        goals: numbers of actions ahead, `task`, or paths of pictures.
        episodes: of each goal.
        seed: of the choice of goals, and of all that is random.
        who: acts: `planner`, `recorded`, `random`, `simulator`, `persistence`, or a policy as `foreact act` takes it.
        planner: how is planned.
        options: of the simulator.
        batch: environments side by side in each process.
        workers: processes.
    """

    run: str
    env: str
    data: str | None = None
    goals: tuple[str, ...] = GOALS
    episodes: int = 50
    seed: int = 0
    who: tuple[str, ...] = (PLANNER,)
    planner: PlannerConfig = field(default_factory=PlannerConfig)
    options: tuple[tuple[str, Any], ...] = ()
    batch: int = 10
    workers: int = 1

    def stage(self) -> Stage:
        """What plans are made with.

        Raises:
            ForeactError: the run is no world model, or says nothing of its recordings.
        """
        require_world_model(self.run)
        return Stage(
            run=self.run,
            data=self.data or data_of(self.run),
            env=self.env,
            options=self.options,
            planner=self.planner,
            episodes=self.episodes,
            seed=self.seed,
        )

    def seeds(self, goal: str) -> range:
        """Of the episodes of a goal: numbers of recorded goals, else of the simulator's starts."""
        return range(self.episodes) if goal.isdecimal() else range(self.seed, self.seed + self.episodes)


def plan(request: PlanRequest, out: Path | None, progress: ProgressFactory) -> Results:
    """Play all episodes of all policies and goals; what an interrupted call with the same `out` has played is not played again.

    Args:
        request: what to play.
        out: the results file; what is played is noted beside it until it is whole.
        progress: shows the episodes' progress.

    Raises:
        ForeactError: run, recordings and environment do not fit together, or goals that nothing leads to.
    """
    if request.episodes < 1 or request.batch < 1 or request.workers < 1 or not request.goals:
        raise ForeactError("--episodes, --batch and --workers must be at least 1, and --goals name a goal")
    found, stage = require_simulator(request.env), request.stage()
    waves = {
        (policy, goal): PlanWave(seeds=(), stage=stage, policy=policy, goal=goal)
        for policy in request.who
        for goal in request.goals
    }
    for wave in waves.values():  # what does not fit is said before anything is played
        wave.cast(1)
    about = {k: v for k, v in asdict(request).items() if k not in ("goals", "who", "workers", "batch")}
    about |= {"run": identity(request.run), "data": stage.data, "versions": found}
    groups: dict[tuple[str, str], list[Episode]] = {}
    journals = []
    for (policy, goal), wave in waves.items():
        beside = None if out is None else out.with_name(f"{out.stem}-{_word(policy)}-{_word(goal)}")
        journals.append(EpisodeJournal(beside, about | {"policy": identity(policy), "goal": goal}))
        with progress(f"{policy} towards {goal}", "episodes") as on_progress:
            played = play_all(request.seeds(goal), partial(_at, wave), request, journals[-1], on_progress)
        groups[policy, goal] = played
    results = summarise(request, groups, stage, found)
    if out is not None:
        results.save(out)
    for journal in journals:
        journal.remove()
    return results


def _at(wave: PlanWave, seeds: Sequence[int]) -> PlanWave:
    """The wave of these episodes."""
    return replace(wave, seeds=tuple(seeds))


def summarise(
    request: PlanRequest, groups: Mapping[tuple[str, str], Sequence[Episode]], stage: Stage, simulator: dict[str, str]
) -> Results:
    """The tidy table: rows as of `foreact act` for each policy and goal, and success over thresholds."""
    rows: list[Row] = []
    told: list[EpisodeValues] = []
    notes: dict[str, str] = {}
    for (policy, goal), episodes in groups.items():
        keys = {"env": request.env, "policy": request.run if policy == PLANNER else policy, "goal": goal}
        if policy in PLANNING:
            keys["solver"] = request.planner.solver
        part = tabulate(keys, episodes)
        rows += [*part.rows, *_curve(keys, episodes)]
        told += part.episodes
        notes |= {f"{policy} towards {goal}, {name}": why for name, why in part.notes.items()}
    return Results(
        split_hash=stage.split.hash,
        dataset={"name": stage.dataset.root.resolve().name, "fingerprint": stage.dataset.fingerprint()},
        seeds=tuple(range(request.seed, request.seed + request.episodes)),
        rows=tuple(rows),
        episodes=tuple(told),
        protocol={k: v for k, v in asdict(request).items() if v is not None},
        versions=versions() | simulator,
        machine=machine(torch.device("cpu")),
        notes=notes,
    )


def _curve(keys: dict[str, Any], episodes: Sequence[Episode]) -> list[Row]:
    """The share of episodes that end closer than each threshold, in pixels and in degrees."""
    ends = [e.measures for e in episodes if "final_distance" in e.measures]
    misses = np.array([max(end["final_distance"], end["final_turn"]) for end in ends])
    return [
        Row.of(interval_of("success", list((misses < t).astype(float))), "success_within", keys | {"threshold": t})
        for t in THRESHOLDS
        if ends
    ]


def data_of(run: str) -> str:
    """The recordings that lie beside a run, as with what ships; else the dataset that it was trained on, as the run says.

    Raises:
        ForeactError: it says nothing, or of a folder that is not there.
    """
    path, beside = Path(run) / "run.json", Path(run).parent / RECORDINGS
    if (beside / "meta" / "info.json").is_file():
        return str(beside)
    try:
        data = str(read_json(path)["data"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ForeactError(
            f"{path} does not say which recordings {run} was trained on: name them with --data"
        ) from error
    if not Path(data).is_dir():
        raise ForeactError(f"{run} was trained on {data}, which is not there: name the recordings with --data")
    return data


def _word(name: str) -> str:
    """A name as part of a file's name."""
    return "".join(c if c.isalnum() else "-" for c in name).strip("-")
