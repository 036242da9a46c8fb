"""The arena: every world model on one dataset, with several training seeds (RLA-WM, Table 1).

Same data, split, tokens, steps, batch, width and depth for all; calls and FLOPs per chunk and milliseconds are listed beside the scores.

Shape legend: S training seeds, n held-out episodes.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from foreact.core.cost import Stage, total_flops
from foreact.core.presets import preset
from foreact.core.progress import ProgressFactory
from foreact.core.registry import card
from foreact.evaluation.aggregate import PERSISTENCE
from foreact.evaluation.figures import is_reference, label
from foreact.evaluation.metrics import describe
from foreact.evaluation.results import Results
from foreact.evaluation.rollout_scorer import ORACLE, TRUE_TOKENS
from foreact.evaluation.rollouts import Protocol
from foreact.evaluation.rows import distinct, select
from foreact.evaluation.session import evaluate_runs
from foreact.evaluation.tables import terminal_table
from foreact.evaluation.verdicts import Verdict
from foreact.studies.settings import Arena
from foreact.studies.study import Study, Unit
from foreact.studies.trained import chosen_kinds, parts_of, train_run
from foreact.studies.values import RATIO, Key, Values, rows, smaller, stack

PROTOCOL = Protocol()
_SHOWN = ("token_l1", "token_energy_score", "token_energy_score_local", "ssim")
_SKILL = "token_l1_skill"


class WorldModels(Study):
    """A unit is a kind of world model, or of what it stands on."""

    name = "world_models"

    def __init__(self, settings: Arena, progress: ProgressFactory) -> None:
        super().__init__(settings, progress)
        self.kinds = chosen_kinds(settings.models, "world_model")
        self.decoder = self.out / "image-decoder"
        train_run(settings, "image_decoder", self.decoder, progress, seed=0)

    @property
    def units(self) -> Sequence[Unit]:
        """The models, after their parts."""
        parts = dict.fromkeys(part for kind in self.kinds for part in parts_of(kind))
        stood_on = [Unit(name=part, folder=card(part).name, scored=False) for part in parts]
        return [*stood_on, *(Unit(name=k, folder=card(k).name, needs=parts_of(k)) for k in self.kinds)]

    @property
    def about(self) -> dict[str, Any]:
        """The protocol."""
        return {"protocol": dataclasses.asdict(PROTOCOL)}

    def train(self, unit: Unit, seed: int, run: Path) -> None:
        """As the study's settings say."""
        train_run(self.settings, unit.name, run, self.progress, seed=seed)

    def score(self, unit: Unit, seed: int, run: Path) -> Results:
        """As `foreact evaluate` does."""
        return evaluate_runs(
            [run], self.settings.data, protocol=PROTOCOL, rla=None, image_decoder=self.decoder, camera=None,
            cache=self.settings.cache, keep_episodes=True, progress=self.progress,
        )  # fmt: skip

    def summarise(self, seeds: Sequence[Results]) -> Results:
        """Rows of all chunks, verdicts after the last."""
        told, values = functools.reduce(Results.with_models_of, seeds), with_skill(stack(seeds))
        subset, settings = told.headline_subset, self.settings
        values = {key: v for key, v in values.items() if key[2] == subset}
        return dataclasses.replace(
            told,
            rows=tuple(sorted(rows(values), key=lambda row: (row["chunk"], is_reference(row["model"])))),
            paired=(),
            strips=(),
            episodes=(),
            cost={name: _cost(stages) for name, stages in told.cost.items()},
            settings={
                "preset": settings.preset,
                "steps": settings.steps or preset(settings.preset).train.steps,
                "subset": subset,
                "boundaries": told.protocol["boundaries"],
            },
            verdicts=tuple(verdicts(values, subset, told.last_chunk)),
        )


def with_skill(values: Values) -> dict[Key, np.ndarray]:
    """The values and, after each model's others, its skill against persistence."""
    found = dict(values)
    for (model, metric, subset, chunk), error in values.items():
        still = values.get((PERSISTENCE, metric, subset, chunk))
        if metric == "token_l1" and still is not None:
            reference = np.broadcast_to(still[:1], error.shape)
            found[model, _SKILL, subset, chunk] = reference - error
            found[model, _SKILL + RATIO, subset, chunk] = reference
    return found


def verdicts(values: Values, subset: str, chunk: int) -> list[Verdict]:
    """The paper's claim that RLA-WM is better than each rival, metric by metric, paired by seed and episode."""
    told: list[Verdict] = []
    models = sorted(dict.fromkeys(model for model, *_ in values), key=is_reference)
    for rival in (m for m in models if m not in ("rla_wm", ORACLE, TRUE_TOKENS)):
        for metric in dict.fromkeys(m for model, m, *_ in values if model == "rla_wm" and _tested(m)):
            claim = f"RLA-WM is better than {label(rival)} in {describe(metric).label}"
            sign = -1.0 if describe(metric).better == "higher" else 1.0
            told += smaller(values, claim, ("rla_wm", metric, subset, chunk), (rival, metric, subset, chunk), sign=sign)
    return told


def table(results: Results) -> Table:
    """The headline for the terminal."""
    found = select(results.rows, chunk=results.last_chunk)
    poses = ("_error_px", "_error_mm")
    return terminal_table(
        found,
        {"": lambda row: label(row["model"])},
        metrics=[m for m in distinct(found, "metric") if m in (*_SHOWN, _SKILL) or m.endswith(poses)],
        title=f"{len(results.seeds)} training seeds, preset {results.settings['preset']}, subset {results.settings['subset']}",
        caption="mean and 95 % interval over seeds and held-out episodes, after the last chunk",
    )


def _cost(stages: Mapping[str, Stage]) -> dict[str, int]:
    """Calls of what a chunk is sampled with, one for regression, and FLOPs from tokens to tokens."""
    calls = stages["flow"]["calls"] if "flow" in stages else 1
    return {"calls": calls, "flops": total_flops(dict(stages), drawn=False)}


def _tested(metric: str) -> bool:
    return metric in _SHOWN or metric.endswith(("_error_px", "_error_mm", "_error_deg"))
