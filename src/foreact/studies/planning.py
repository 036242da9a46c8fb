"""Planners on the same goals: world models x solvers x budgets, beside the recorded actions, chance, and perfect and no foresight.

DINO-WM's own settings are the plan `cem:30x300` with `--horizon 25 --execute 25 --chunk 5`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from foreact.core.errors import ForeactError
from foreact.core.progress import ProgressFactory
from foreact.envs.registry import parse_options
from foreact.evaluation.planning.casting import PERSISTENCE, PLANNER, SIMULATOR, require_world_model
from foreact.evaluation.planning.plan import PlanRequest, plan
from foreact.evaluation.results import Results
from foreact.evaluation.rows import EpisodeValues, distinct, select
from foreact.evaluation.verdicts import Verdict
from foreact.planning.config import PlannerConfig
from foreact.studies.settings import PlanningStudy
from foreact.studies.study import Study, Unit
from foreact.studies.values import Values, episode_values, rows, smaller, stack

SHARE = 0.8
"""Of the success of the planner in the real simulator, that a world model is to reach."""
FASTER = 10
"""Times fewer seconds than the largest budget that a smaller one is to take."""


@dataclass(frozen=True)
class Entry:
    """A planner of the study: a run, and how it plans with it."""

    run: Path
    planner: PlannerConfig

    @property
    def size(self) -> int:
        """Candidates of a plan."""
        return self.planner.iterations * int(dict(self.planner.options)["samples"])


class Planning(Study):
    """A unit is a world model with a solver and its budget; nothing is trained."""

    name = "planning"
    settings: PlanningStudy

    def __init__(self, settings: PlanningStudy, progress: ProgressFactory) -> None:
        super().__init__(settings, progress)
        if len({run.name for run in settings.runs}) < len(settings.runs) or not settings.plans:
            raise ForeactError("name at least one plan, and runs whose folders have different names")
        for run in settings.runs:
            require_world_model(str(run))
        self.entries = {
            f"{run.name}/{words}": Entry(run, self._planner(words)) for run in settings.runs for words in settings.plans
        }

    def _planner(self, words: str) -> PlannerConfig:
        found = re.fullmatch(r"([a-z]+):(\d+)x(\d+)", words)
        if found is None:
            raise ForeactError(f"--plans {words}: write SOLVER:ITERATIONSxSAMPLES, such as cem:5x64")
        shared = {f.name for f in fields(PlannerConfig)} & {f.name for f in fields(self.settings)}
        return PlannerConfig(
            solver=found[1],
            iterations=int(found[2]),
            options=(("samples", int(found[3])),),
            **{name: getattr(self.settings, name) for name in shared},
        )

    @property
    def units(self) -> Sequence[Unit]:
        """The planners."""
        return [Unit(name=name, folder=name.replace(":", "-")) for name in self.entries]

    @property
    def about(self) -> dict[str, Any]:
        """What scores must agree in."""
        s = self.settings
        shared = (
            "env",
            "episodes",
            "first_seed",
            "objective",
            "horizon",
            "execute",
            "chunk",
            "knots",
            "futures",
            "spread",
        )
        return {"settings": {"goals": list(s.goals)} | {name: getattr(s, name) for name in shared}}

    def train(self, unit: Unit, seed: int, run: Path) -> None:
        """The world models are trained."""

    def score(self, unit: Unit, seed: int, run: Path) -> Results:
        """What the planner reaches."""
        entry = self.entries[unit.name]
        played = self._plan(replace(entry, planner=replace(entry.planner, seed=seed)), (), run)
        return self.scored(_values(played, {str(entry.run): unit.name}), seed)

    def references(self) -> Results | None:
        """The controls, which have one seed."""
        if not self.settings.controls:
            return None
        played = self._plan(next(iter(self.entries.values())), self.settings.controls, self.out / "references")
        return self.scored(_values(played, {name: name for name in self.settings.controls}), 0)

    def _plan(self, entry: Entry, controls: tuple[str, ...], folder: Path) -> Results:
        s = self.settings
        request = PlanRequest(
            run=str(entry.run),
            env=s.env,
            data=str(s.data),
            goals=s.goals,
            episodes=s.episodes,
            seed=s.first_seed,
            who=controls or (PLANNER,),
            planner=entry.planner,
            options=tuple(parse_options(s.option).items()),
            workers=s.workers,
        )
        folder.mkdir(parents=True, exist_ok=True)
        return plan(request, folder / "plan.json", self.progress)

    def summarise(self, seeds: Sequence[Results]) -> Results:
        """The table and what it says."""
        values = stack(seeds)
        return Results(
            split_hash="",
            seeds=(),
            rows=rows(values),
            dataset={"name": self.settings.data.resolve().name},
            settings=self.about["settings"],
            verdicts=tuple(verdict for goal in self.settings.goals for verdict in self._verdicts(values, goal)),
        )

    def _verdicts(self, values: Values, goal: str) -> list[Verdict]:
        """Of a goal: nearer than without foresight and by chance; as good as perfect foresight, nearly; and faster."""
        told, largest = [], max(self.entries, key=lambda name: self.entries[name].size)
        for name, entry in self.entries.items():
            for other in (PERSISTENCE, "random"):
                claim = f"{name} ends nearer to goals {goal} actions ahead than {other}"
                told += smaller(values, claim, (name, "final_distance", goal, 1), (other, "final_distance", goal, 1))
            part = _scaled(values, (SIMULATOR, "success", goal, 1), SHARE)
            claim = f"{name} succeeds at least {SHARE:g} times as often as the planner in the simulator, {goal} actions ahead"
            told += smaller(part, claim, ("part", "success", goal, 1), (name, "success", goal, 1))
            if entry.size < self.entries[largest].size:
                part = _scaled(values, (largest, "seconds_per_plan", goal, 1), 1 / FASTER)
                claim = f"{name} takes {FASTER} times fewer seconds per plan than {largest}, {goal} actions ahead"
                told += smaller(part, claim, (name, "seconds_per_plan", goal, 1), ("part", "seconds_per_plan", goal, 1))
        return told


def _scaled(values: Values, key: tuple[str, str, str, int], share: float) -> Values:
    """The values, and a share of some of them under the name `part`."""
    return {**values, ("part", *key[1:]): share * values[key]} if key in values else values


def _values(played: Results, names: Mapping[str, str]) -> list[EpisodeValues]:
    """Values of policies by their names in the study; a goal is a subset."""
    told = []
    for policy, name in names.items():
        for goal in distinct(played.episodes, "goal"):
            own = select(played.episodes, policy=policy, goal=goal)
            values = {found.metric: np.array(found.values) for found in own}
            told += episode_values(name, values, own[0].episodes, subset=goal)
    return told


def table(results: Results) -> str:
    """Rows of the study as Markdown."""
    lines = ["| planner | goal | success, % | final distance | seconds per plan |", "|---|---|---|---|---|"]
    for model in results.names():
        for goal in distinct(results.rows, "subset"):
            told = {row.metric: row for row in select(results.rows, model=model, subset=goal)}
            if "success" not in told:
                continue
            success = 100 * told["success"].mean
            rest = [f"{told[m].mean:.3g}" if m in told else "" for m in ("final_distance", "seconds_per_plan")]
            lines.append(f"| {model} | {goal} | {success:.0f} | {' | '.join(rest)} |")
    return "\n".join(lines)
