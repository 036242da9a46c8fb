"""Ways to imagine with trained world models, on the same windows with the same noise: scores, rows, differences, a table.

Every way is compared, paired by training seed and episode, with one of them, the reference. All predict by `FastWorldModel`.

Shape legend: S training seeds, n held-out episodes, K samples per window.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from rich.table import Table

from foreact.core.config import ModelConfig
from foreact.core.contracts import WorldModel
from foreact.core.cost import total_flops
from foreact.dreams.fast import FastWorldModel
from foreact.evaluation.cost import model_cost
from foreact.evaluation.intervals import Bootstrap, Interval, episode_means
from foreact.evaluation.metrics import describe
from foreact.evaluation.poses import find_poses
from foreact.evaluation.rollouts import Protocol, Window, imagine, moving_windows, select_windows, usable_lengths
from foreact.evaluation.scoring import score_tokens
from foreact.nn.flow import Solver
from foreact.recordings.recordings import Recordings

METRICS = ("token_l1", "token_l1_of_mean", "token_energy_score", "token_energy_score_local")
Scores = Mapping[str, np.ndarray]
"""Metric -> (S, n)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Way:
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
    changes = np.array(
        [float(np.abs(np.diff(_tokens(recordings, w, (0, protocol.steps)), axis=0)).mean()) for w in windows]
    )
    moving, _ = moving_windows(dataset, windows, protocol, find_poses(dataset), changes)
    return [w for w, moves in zip(windows, moving, strict=True) if moves]


def score(
    models: Mapping[Way, WorldModel],
    recordings: Recordings,
    windows: Sequence[Window],
    protocol: Protocol,
    on_progress: Callable[[int, int], None],
) -> dict[Way, Scores]:
    """Metrics after the last chunk, (1, n): the means of each episode's windows."""
    found: dict[Way, list[dict[str, float]]] = {way: [] for way in models}
    for done, window in enumerate(windows):
        for way, model in models.items():
            found[way].append(_score(model, recordings, window, protocol))
        on_progress(done + 1, len(windows))
    episodes = np.array([w.episode for w in windows])
    return {
        way: {metric: episode_means(np.array([s[metric] for s in scores]), episodes)[None] for metric in METRICS}
        for way, scores in found.items()
    }


def flops(config: ModelConfig) -> int:
    """Of one chunk, tokens to tokens."""
    return total_flops(model_cost(config), drawn=False)


def compare(scores: Mapping[Way, Scores], costs: Mapping[Way, int], reference: Way) -> list[dict[str, Any]]:
    """Rows with intervals, and with differences to the reference paired by seed and episode.

    Args:
        scores: of every way; of each metric as many seeds as were trained.
        costs: FLOPs of one chunk.
        reference: one of the ways.
    """
    rows = []
    for way, metrics in scores.items():
        about = {"run": way.run, "solver": way.solver, "steps": way.steps, "flops": costs[way]}
        for metric, values in metrics.items():
            interval, gap = Bootstrap().over_seeds(values), difference(scores, way, reference, metric)
            about_seeds = {"metric": metric, "seeds": len(values)}
            rows.append({**about, **about_seeds, **vars(interval), "to_reference": vars(gap)})
    return rows


def difference(scores: Mapping[Way, Scores], way: Way, reference: Way, metric: str) -> Interval:
    """`metric` of a way minus that of the reference, over as many training seeds as both have."""
    values, base = scores[way][metric], scores[reference][metric]
    count = min(len(values), len(base))
    return Bootstrap().over_seeds(values[:count] - base[:count])


def table(results: Mapping[str, Any]) -> Table:
    """One line per way for the terminal."""
    shown = Table(
        title=f"{results['dataset']}, after the last chunk",
        caption="mean over held-out episodes; below it the paired difference to the reference with its 95 % interval",
    )
    for heading in ("run", "sampler", "GFLOP", *(describe(m).label for m in METRICS)):
        shown.add_column(heading, justify="left" if heading in ("run", "sampler") else "right")
    keys = dict.fromkeys((r["run"], r["solver"], r["steps"], r["flops"]) for r in results["rows"])
    for key in keys:
        cells = {r["metric"]: r for r in results["rows"] if (r["run"], r["solver"], r["steps"], r["flops"]) == key}
        sampler = "" if key[1] is None else f"{key[1]} {key[2]}"
        shown.add_row(key[0], sampler, f"{key[3] / 1e9:.2f}", *(_cell(cells[m]) for m in METRICS))
    return shown


def _cell(row: Mapping[str, Any]) -> str:
    gap = Interval(**row["to_reference"])
    if gap.low is None or (gap.mean == 0 and gap.low == 0):
        return f"{row['mean']:.4f}"
    return f"{row['mean']:.4f}\n[dim]{gap.mean:+.4f} ({gap.low:+.4f} to {gap.high:+.4f})[/dim]"


@torch.no_grad()
def _score(model: WorldModel, recordings: Recordings, window: Window, protocol: Protocol) -> dict[str, float]:
    device = PartialState().device
    truth = torch.from_numpy(_tokens(recordings, window, (0, *protocol.boundaries))).to(device)
    actions = recordings.dataset.actions(window.episode)[window.start : window.start + protocol.steps]
    samples = imagine(model, truth[0], actions, window, protocol)
    scores = score_tokens(samples[:, -1:], truth[[0, -1]], 0.0)
    scores.setdefault("token_l1_of_mean", scores["token_l1"])  # one sample is its own mean
    return {metric: float(scores[metric][0]) for metric in METRICS}


def _tokens(recordings: Recordings, window: Window, steps: Sequence[int]) -> np.ndarray:
    times = np.array([window.start + step for step in steps])
    return np.asarray(recordings.cache.gather(np.full(len(times), window.episode), times), dtype=np.float32)
