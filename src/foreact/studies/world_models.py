"""The arena: every world model on one dataset, with several training seeds (RLA-WM, Table 1).

Same data, split, tokens, steps, batch, width and depth for all; calls and FLOPs per chunk and milliseconds are listed beside the scores. Every
seed's runs and evaluation lie in their own folder and are done once; `results.json` is made from the seeds' results alone.

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
from foreact.core.errors import DivergedError, ForeactError
from foreact.core.presets import preset
from foreact.core.progress import Bar
from foreact.core.registry import card
from foreact.evaluation.figures import is_reference, label
from foreact.evaluation.intervals import Bootstrap, Interval
from foreact.evaluation.metrics import describe
from foreact.evaluation.results import Results
from foreact.evaluation.rollouts import Protocol
from foreact.evaluation.session import evaluate_runs
from foreact.studies.scores import save_study, stack
from foreact.studies.settings import Arena
from foreact.studies.trained import chosen_kinds, parts_of, train_run
from foreact.studies.verdicts import Verdict, below

Values = dict[str, dict[str, np.ndarray]]
"""model -> metric -> (S, n) values of episodes."""

PROTOCOL = Protocol()
_SHOWN = ("token_l1", "token_energy_score", "token_energy_score_local", "ssim")


def run(arena: Arena, *, bar: Bar) -> dict[str, Any]:
    """Train and evaluate what is not there yet, put the seeds together and write `out/results.json`.

    Raises:
        ForeactError: an unknown model, no seeds, or runs and results of other settings in `out`.
    """
    kinds = chosen_kinds(arena.models, "world_model")
    if arena.seeds < 1:
        raise ForeactError("--seeds must be at least 1")
    decoder = arena.out / "image-decoder"
    train_run(arena, "image_decoder", decoder, bar, seed=0)
    diverged: dict[str, list[int]] = {}
    found = [_seed_results(arena, kinds, seed, decoder, diverged, bar) for seed in range(arena.seeds)]
    seeds = [results for results in found if results is not None]
    if not seeds:
        raise ForeactError("every model of every seed diverged: there is nothing to evaluate")
    told = functools.reduce(Results.with_models_of, seeds)
    subset = "moving" if any(v.subset == "moving" for r in seeds for v in r.episodes) else "all"
    last = told.last_chunk
    values = gather(seeds, subset, last)
    results = {
        "schema": 1,
        "study": "world_models",
        "dataset": told.dataset,
        "split_hash": told.split_hash,
        "preset": arena.preset,
        "steps": arena.steps or preset(arena.preset).train.steps,
        "seeds": list(range(arena.seeds)),
        "subset": subset,
        "chunk": last,
        "boundaries": told.protocol["boundaries"],
        "diverged": diverged,
        "cost": {name: _cost(stages) for name, stages in told.cost.items()},
        "timings": [dataclasses.asdict(t) for t in told.timings],
        "rows": [row for chunk in range(1, last + 1) for row in rows(gather(seeds, subset, chunk), chunk)],
        "verdicts": [dataclasses.asdict(v) for v in verdicts(values)],
    }
    save_study(arena, results)
    return results


def _seed_results(
    arena: Arena, kinds: Sequence[str], seed: int, decoder: Path, diverged: dict[str, list[int]], bar: Bar
) -> Results | None:
    """One seed's evaluation, to which each model that is missing in it is added as soon as it is evaluated; None if all diverged."""
    folder = arena.out / f"seed{seed}"
    runs = []
    for kind in kinds:
        try:
            for part in parts_of(kind):
                train_run(arena, part, folder / card(part).name, bar, seed=seed)
            train_run(arena, kind, folder / card(kind).name, bar, seed=seed)
            runs.append(folder / card(kind).name)
        except DivergedError:
            diverged.setdefault(kind, []).append(seed)
    path = folder / "results.json"
    done = _stored(path)
    for run in runs:
        if done is not None and run.name.replace("-", "_") in done.names():
            continue
        added = evaluate_runs(
            [run], arena.data, protocol=PROTOCOL, rla=None, image_decoder=decoder, camera=None, cache=arena.cache,
            keep_episodes=True, bar=bar,
        )  # fmt: skip
        done = added if done is None else done.with_models_of(added)
        done.save(path)
    return done


def _stored(path: Path) -> Results | None:
    """The evaluation in a file, if it is there and followed the arena's protocol."""
    if not path.exists():
        return None
    done = Results.load(path)
    asked = dataclasses.asdict(PROTOCOL)
    return done if all(done.protocol.get(key) == value for key, value in asked.items()) else None


def gather(seeds: Sequence[Results], subset: str, chunk: int) -> Values:
    """The values of episodes after a chunk; persistence and the oracle are there once per seed like the others.

    Raises:
        ForeactError: the seeds were evaluated on other splits or episodes.
    """
    values: Values = {}
    for (model, metric, found, after), array in stack(seeds).items():
        if (found, after) == (subset, chunk):
            values.setdefault(model, {})[metric] = array
    return dict(sorted(values.items(), key=lambda item: is_reference(item[0])))


def _cost(stages: dict[str, Stage]) -> dict[str, int]:
    """Calls of what a chunk is sampled with, one for regression, and FLOPs from tokens to tokens."""
    return {"calls": stages["flow"]["calls"] if "flow" in stages else 1, "flops": total_flops(stages, drawn=False)}


def rows(values: Values, chunk: int) -> list[dict[str, Any]]:
    """Mean and interval over seeds and episodes of every model and metric, and the skill against persistence."""
    found = []
    for model, metrics in values.items():
        intervals = {metric: Bootstrap().over_seeds(v) for metric, v in metrics.items()}
        if "token_l1" in metrics and "persistence" in values:
            reference = np.broadcast_to(values["persistence"]["token_l1"][:1], metrics["token_l1"].shape)
            intervals["token_l1_skill"] = Bootstrap().over_seeds(reference - metrics["token_l1"], reference)
        for metric, interval in intervals.items():
            about = {"model": model, "metric": metric, "chunk": chunk, "seeds": len(next(iter(metrics.values())))}
            found.append({**about, **vars(interval)})
    return found


def verdicts(values: Values) -> list[Verdict]:
    """The paper's claim that RLA-WM is better than each rival, metric by metric, paired by seed and episode."""
    told = []
    rivals = [m for m in values if m not in ("rla_wm", "oracle", "true_tokens")] if "rla_wm" in values else []
    for rival in rivals:
        for metric in (m for m in values["rla_wm"] if m in values[rival] and _tested(m)):
            sign = -1.0 if describe(metric).better == "higher" else 1.0
            difference = _difference(sign * values["rla_wm"][metric], sign * values[rival][metric])
            told.append(below(f"RLA-WM is better than {label(rival)} in {describe(metric).label}", difference))
    return told


def table(results: Mapping[str, Any]) -> Table:
    """The headline for the terminal."""
    found = [row for row in results["rows"] if row["chunk"] == results["chunk"]]
    measured = list(dict.fromkeys(row["metric"] for row in found))
    metrics = [m for m in measured if m in (*_SHOWN, "token_l1_skill")]
    metrics += [m for m in measured if m.endswith(("_error_px", "_error_mm"))]
    shown = Table(
        title=f"{len(results['seeds'])} training seeds, preset {results['preset']}, subset {results['subset']}",
        caption="mean and 95 % interval over seeds and held-out episodes, after the last chunk",
    )
    shown.add_column("")
    for metric in metrics:
        shown.add_column(describe(metric).label, justify="right")
    for model in dict.fromkeys(row["model"] for row in found):
        cells = {row["metric"]: row for row in found if row["model"] == model}
        shown.add_row(label(model), *(_cell(cells.get(metric), describe(metric).digits) for metric in metrics))
    return shown


def _tested(metric: str) -> bool:
    return metric in _SHOWN or metric.endswith(("_error_px", "_error_mm", "_error_deg"))


def _cell(row: Mapping[str, Any] | None, digits: int) -> str:
    if row is None:
        return ""
    return f"{row['mean']:.{digits}f}\n[dim]{row['low']:.{digits}f} to {row['high']:.{digits}f}[/dim]"


def _difference(values: np.ndarray, others: np.ndarray) -> Interval:
    """As far as both have training seeds; a reference without training has the same values in all of them."""
    count = min(len(values), len(others))
    return Bootstrap().over_seeds(values[:count] - others[:count])
