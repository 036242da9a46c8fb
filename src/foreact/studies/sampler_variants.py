"""Trained world models sampled in several ways, on the same windows with the same noise: scores, rows, differences, a table.

Every variant is compared, paired by training seed and episode, with one of them, the reference. All predict by `FastWorldModel`.

Shape legend: S training seeds, n held-out episodes, K samples per window.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from accelerate import PartialState
from rich.table import Table

from foreact.core.config import ModelConfig
from foreact.core.cost import total_flops
from foreact.core.errors import ForeactError
from foreact.core.progress import OnProgress
from foreact.dreams.fast import FastWorldModel
from foreact.evaluation.cost import model_cost
from foreact.evaluation.poses import find_poses
from foreact.evaluation.results import Results
from foreact.evaluation.rollout_scorer import EvaluationConfig, RolloutScorer
from foreact.evaluation.rollouts import Protocol, Window, moving_windows, select_windows, usable_lengths
from foreact.evaluation.rows import EpisodeValues, PairedDifference, Row, select
from foreact.evaluation.scoring import Judge
from foreact.evaluation.tables import number, terminal_table
from foreact.nn.flow import Solver
from foreact.recordings.recordings import Recordings
from foreact.studies.study import Study
from foreact.studies.values import Key, Values, episode_values, interval

METRICS = ("token_l1", "token_l1_of_mean", "token_energy_score", "token_energy_score_local")
SUBSET = "moving"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplerVariant:
    """One row: a run, and how it is sampled.

    Attributes:
        run: name of the trained model.
        solver: None for a model without a flow.
        steps: of the solver.
    """

    run: str
    solver: Solver | None = None
    steps: int = 1

    def __str__(self) -> str:
        return self.run if self.solver is None else f"{self.run}, {self.solver} {self.steps}"

    def key(self, metric: str, chunk: int) -> Key:
        """Of its values."""
        return str(self), metric, SUBSET, chunk

    def of(self, fast: FastWorldModel) -> FastWorldModel:
        """The same weights, sampled in this way."""
        if self.solver is None:
            return fast
        config: Any = fast.config
        other, other.model = copy.copy(fast), copy.copy(fast.model)
        other.model.config = dataclasses.replace(config, solver=self.solver, steps=self.steps)
        return other


def has_sampler(config: ModelConfig) -> bool:
    """Whether a model integrates a flow, by a solver in steps."""
    return {"solver", "steps"} <= {field.name for field in dataclasses.fields(config)}


def windows_that_move(recordings: Recordings, protocol: Protocol) -> Sequence[Window]:
    """The held-out windows in which something moves."""
    dataset = recordings.dataset
    windows = select_windows(usable_lengths(dataset, recordings.split.validation, protocol), protocol)
    changes = _scorer(recordings, protocol).token_changes(windows)
    moving, _ = moving_windows(dataset, windows, protocol, find_poses(dataset), changes)
    return [w for w, moves in zip(windows, moving, strict=True) if moves]


def score(
    models: Mapping[SamplerVariant, FastWorldModel],
    recordings: Recordings,
    windows: Sequence[Window],
    protocol: Protocol,
    on_progress: OnProgress,
) -> list[EpisodeValues]:
    """Metrics after the last chunk: the means of each episode's windows."""
    judge = Judge(decoder=None, probe=None, lpips=None, motion_threshold=0.0)
    named = {str(variant): model for variant, model in models.items()}
    board, _ = _scorer(recordings, protocol).run(named, judge, windows, on_progress, references=False)
    found = board.episode_values({SUBSET: np.ones(len(windows), dtype=bool)})
    last, values = len(protocol.boundaries), []
    for model in named:
        numbers = {v.metric: np.array(v.values) for v in select(found, model=model, chunk=last)}
        numbers.setdefault("token_l1_of_mean", numbers["token_l1"])  # one sample is its own mean
        episodes = sorted({window.episode for window in windows})
        chosen = {metric: numbers[metric] for metric in METRICS}
        values += episode_values(model, chosen, episodes, subset=SUBSET, chunk=last)
    return values


def flops(variant: SamplerVariant, model: Any) -> dict[str, int]:
    """Of one chunk of a variant of a model, tokens to tokens."""
    return {"flops": total_flops(model_cost(variant.of(FastWorldModel(model)).config), drawn=False)}


class SamplerComparison(Study):
    """What studies of sampler variants share: the recordings, and how a run is scored in its variants."""

    recordings: Recordings
    protocol: Protocol

    @property
    def about(self) -> dict[str, Any]:
        """The split, the tokens and the protocol."""
        return {
            "split_hash": self.recordings.split.hash,
            "encoder": self.recordings.cache.spec.fingerprint,
            "protocol": dataclasses.asdict(self.protocol),
        }

    def score_variants(self, model: Any, variants: Iterable[SamplerVariant], seed: int) -> Results:
        """A trained model in all its variants."""
        fast = FastWorldModel(model.to(PartialState().device))
        models = {variant: variant.of(fast) for variant in variants}
        windows = windows_that_move(self.recordings, self.protocol)
        with self.progress(f"score {next(iter(models)).run}, seed {seed}", "windows") as on_progress:
            return self.scored(score(models, self.recordings, windows, self.protocol, on_progress), seed)


def compare(
    values: Values, variants: Iterable[SamplerVariant], reference: SamplerVariant, chunk: int
) -> tuple[tuple[Row, ...], tuple[PairedDifference, ...]]:
    """Rows, and differences to the reference, of variants that there are values of.

    Raises:
        ForeactError: there are none of the reference.
    """
    rows, paired = [], []
    if reference.key(METRICS[0], chunk) not in values:
        raise ForeactError(f"{reference}, with which all are compared, diverged with every seed")
    for variant in variants:
        keys = {"model": str(variant), "subset": SUBSET, "chunk": chunk, **dataclasses.asdict(variant)}
        for metric in METRICS:
            key, base = variant.key(metric, chunk), reference.key(metric, chunk)
            rows.append(Row.of(interval(values, key), metric, keys, seeds=len(values[key])))
            gap = interval(values, key, minus=base)
            paired.append(
                PairedDifference.of(gap, metric, {**keys, "reference": str(reference)}, seeds=len(values[key]))
            )
    return tuple(rows), tuple(paired)


def table(results: Results) -> Table:
    """One line per variant for the terminal."""

    def gap(row: Row) -> str:
        (pair,) = select(results.paired, model=row["model"], metric=row.metric)
        if pair.low is None or pair.high is None or (pair.mean == 0 and pair.low == 0):
            return ""
        return f"{_signed(pair.mean)} ({_signed(pair.low)} to {_signed(pair.high)})"

    return terminal_table(
        results.rows,
        {
            "run": lambda row: row["run"],
            "sampler": lambda row: "" if row["solver"] is None else f"{row['solver']} {row['steps']}",
            "GFLOP": lambda row: f"{results.cost[row['model']]['flops'] / 1e9:.2f}",
        },
        beside=gap,
        title=f"{results.dataset['name']}, after the last chunk",
        caption="mean over held-out episodes; below it the paired difference to the reference with its 95 % interval",
    )


def _signed(value: float) -> str:
    return ("+" if value >= 0 else "") + number(value, 4)


def _scorer(recordings: Recordings, protocol: Protocol) -> RolloutScorer:
    config = EvaluationConfig(protocol=protocol)
    return RolloutScorer(cache=recordings.cache, config=config, device=PartialState().device)
