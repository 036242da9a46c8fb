"""How many steps, which solver: one or more trained RLA-WMs sampled in many ways, on the same windows with the same noise.

Every row is compared, paired by episode, with 30 Euler steps of the first run (RLA-WM, section A.2). Runs that differ in how
they were built (merged condition tokens, say) are rows of the same table. All predict in bf16.

Shape legend: K samples per window, S chunks.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from rich.table import Table

from foreact.contracts import WorldModel
from foreact.errors import ForeactError
from foreact.evaluation.cost import system_cost, total_flops
from foreact.evaluation.intervals import Bootstrap, Interval
from foreact.evaluation.poses import find_poses
from foreact.evaluation.rollouts import Protocol, Window, imagine, moving_windows, select_windows, usable_lengths
from foreact.evaluation.scoring import score_tokens
from foreact.nn.flow import Solver
from foreact.pretrained import load_model
from foreact.progress import Bar
from foreact.studies.scores import save_study
from foreact.studies.settings import SamplerStudy
from foreact.studies.verdicts import below
from foreact.training.opening import open_recordings
from foreact.training.recordings import Recordings
from foreact.world_models.fast import FastWorldModel
from foreact.world_models.rla_wm import RLAWorldModel

Sampler = tuple[Solver, int]
REFERENCE: Sampler = ("euler", 30)
SAMPLERS: tuple[Sampler, ...] = (
    *(("euler", steps) for steps in (1, 2, 4, 8, 16, 30)),
    *(("midpoint", steps) for steps in (1, 2, 4, 8)),
    *(("heun", steps) for steps in (1, 2, 4, 8)),
)
PROTOCOL = Protocol(starts_per_episode=1)
METRICS = {"token_l1": "token L1", "token_l1_of_mean": "L1 of the samples' mean", "token_energy_score": "energy score"}


def run(study: SamplerStudy, *, bar: Bar) -> dict[str, Any]:
    """Sample every run in every way and write `out/results.json`.

    Raises:
        ForeactError: no run, another kind of model, tokens of another encoder, or no usable episode.
    """
    if not study.runs:
        raise ForeactError("samplers needs a trained rla-wm: --runs RUN ...")
    models = {path.name: load_model(path) for path in study.runs}
    for name, model in models.items():
        if not isinstance(model, RLAWorldModel):
            raise ForeactError(f"samplers compares ways to sample rla-wm, {name} holds a {model.config.kind}")
    if len(models) < len(study.runs):
        raise ForeactError("two of the runs have the same folder name; rename one")
    tokens = next(iter(models.values())).config.tokens
    recordings = open_recordings(
        study.data, camera=None, encoder=tokens.encoder, image_size=tokens.image_size, cache=study.cache, bar=bar
    )
    for name, model in models.items():
        model.config.tokens.require(recordings.cache.spec, model=name, source=str(study.data))
    device = PartialState().device
    ways = {
        (name, sampler): FastWorldModel(sampled(model.to(device), sampler))
        for name, model in models.items()
        for sampler in SAMPLERS
    }
    windows = _windows(recordings, PROTOCOL)
    with bar("sample", "windows") as on_progress:
        scores = {way: [] for way in ways}  # type: dict[tuple[str, Sampler], list[dict[str, float]]]
        for index, window in enumerate(windows):
            for way, model in ways.items():
                scores[way].append(_score(model, recordings, window, PROTOCOL))
            on_progress(index + 1, len(windows))
    flops = {
        way: total_flops(system_cost(tokens, {"model": model.config}, None)["model"], drawn=False)
        for way, model in ways.items()
    }
    results = {
        "schema": 1,
        "study": "samplers",
        "dataset": recordings.dataset.root.name,
        "split_hash": recordings.split.hash,
        "seeds": [PROTOCOL.seed],
        "protocol": dataclasses.asdict(PROTOCOL),
        **compare(scores, np.array([w.episode for w in windows]), flops),
        "diverged": {},
    }
    save_study(study.out, results)
    return results


def sampled(model: RLAWorldModel, sampler: Sampler) -> RLAWorldModel:
    """The same weights, sampled in another way."""
    other = copy.copy(model)
    other.config = dataclasses.replace(model.config, solver=sampler[0], steps=sampler[1])
    return other


def compare(
    scores: dict[tuple[str, Sampler], list[dict[str, float]]],
    episodes: np.ndarray,
    flops: dict[tuple[str, Sampler], int],
) -> dict[str, Any]:
    """Rows with intervals, differences to the reference paired by episode, and verdicts.

    Args:
        scores: per run and sampler, one dict of metrics per window.
        episodes: of the windows, (W,).
        flops: of one chunk, per run and sampler.
    """
    bootstrap = Bootstrap()
    reference = (next(iter(scores))[0], REFERENCE)
    rows, verdicts = [], []
    for way, of_windows in scores.items():
        (name, (solver, steps)), differences = way, {}
        for metric in METRICS:
            values, base = (np.array([s[metric] for s in chosen]) for chosen in (of_windows, scores[reference]))
            interval, difference = bootstrap.mean(values, episodes), bootstrap.difference(values, base, episodes)
            assert interval is not None
            assert difference is not None
            differences[metric] = difference
            rows.append(
                {"run": name, "solver": solver, "steps": steps, "flops": flops[way], "metric": metric, **vars(interval)}
                | {"to_reference": vars(difference)}
            )
        if way != reference and len(np.unique(episodes)) > 1:
            claim = f"{name}, {solver} {steps}, is better than {steps_of(reference)} in"
            verdicts += [below(f"{claim} {METRICS[m]}", d) for m, d in differences.items() if m != "token_l1_of_mean"]
    return {"rows": rows, "verdicts": [dataclasses.asdict(v) for v in verdicts]}


def steps_of(way: tuple[str, Sampler]) -> str:
    """In words."""
    name, (solver, steps) = way
    return f"{name}, {solver} {steps}"


def table(results: dict[str, Any]) -> Table:
    """One line per run and sampler for the terminal."""
    shown = Table(
        title=f"Samplers on {results['dataset']}, after the last chunk",
        caption="mean over held-out episodes; below it the paired difference to the reference with its 95 % interval",
    )
    for heading in ("run", "sampler", "GFLOP", *METRICS.values()):
        shown.add_column(heading, justify="left" if heading in ("run", "sampler") else "right")
    keys = dict.fromkeys((r["run"], r["solver"], r["steps"], r["flops"]) for r in results["rows"])
    for key in keys:
        cells = {r["metric"]: r for r in results["rows"] if (r["run"], r["solver"], r["steps"], r["flops"]) == key}
        shown.add_row(key[0], f"{key[1]} {key[2]}", f"{key[3] / 1e9:.2f}", *(_cell(cells[m]) for m in METRICS))
    return shown


def _cell(row: dict[str, Any]) -> str:
    difference = Interval(**row["to_reference"])
    if difference.low is None or (difference.mean == 0 and difference.low == 0):
        return f"{row['mean']:.4f}"
    return f"{row['mean']:.4f}\n[dim]{difference.mean:+.4f} ({difference.low:+.4f} to {difference.high:+.4f})[/dim]"


def _windows(recordings: Recordings, protocol: Protocol) -> Sequence[Window]:
    """The held-out windows in which something moves."""
    dataset = recordings.dataset
    windows = select_windows(usable_lengths(dataset, recordings.split.validation, protocol), protocol)
    changes = np.array(
        [float(np.abs(np.diff(_tokens(recordings, w, (0, protocol.steps)), axis=0)).mean()) for w in windows]
    )
    moving, _ = moving_windows(dataset, windows, protocol, find_poses(dataset), changes)
    return [w for w, moves in zip(windows, moving, strict=True) if moves]


@torch.no_grad()
def _score(model: WorldModel, recordings: Recordings, window: Window, protocol: Protocol) -> dict[str, float]:
    """Metrics of one window after the last chunk."""
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
