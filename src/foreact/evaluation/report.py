"""The report: one HTML file that opens offline, made from a results file alone; and its table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from rich.table import Table

from foreact.core.config import decode
from foreact.core.files import write_atomically
from foreact.evaluation.figures import colour, drift_curve, is_reference, label
from foreact.evaluation.metrics import describe
from foreact.evaluation.residuals import PROPER, SUFFIX
from foreact.evaluation.results import Results
from foreact.evaluation.rows import PairedDifference, Row, distinct
from foreact.evaluation.tables import interval, lines, number, terminal_table

_BESIDE = ("oracle", "true_tokens")  # bounds, not competitors
_SHOWN = ("success_rate", "token_l1", "token_l1_skill", "token_energy_score", "ssim")
_OF_SAMPLES = ("_best_of_k", "_of_mean")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A number of a table: its text, its interval's, and whether it beats every rival beyond doubt."""

    value: str = ""
    interval: str = ""
    best: bool = False


def write_report(results: Results, path: str | Path) -> None:
    """Write the report.

    Raises:
        ForeactError: the file cannot be written.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_atomically(Path(path), render_report(results).encode())


def render_report(results: Results) -> str:
    """The report as HTML without any reference to the outside."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"label": label, "quantity": quantity, "number": number}
    source = files("foreact.evaluation").joinpath("templates/report.html.j2").read_text()
    subset = results.headline_subset
    metrics = [m for m in results.metrics() if not m.endswith(_OF_SAMPLES)]
    return environment.from_string(source).render(
        results=results,
        subset=subset,
        sentences=verdict(results),
        names=results.names(),
        colours={name: colour(name, results.names()) for name in results.names()},
        metrics={metric: describe(metric) for metric in results.metrics()},
        headline=_headline(results, metrics, subset),
        samples=_sample_table(results, subset),
        drift=[Markup(drift_curve(results, metric, subset=subset)) for metric in metrics],
        cost=_cost_table(results.cost),
        timings=_timing_table(results),
        claims=[claim | {"table": claim_table(claim)} for claim in results.claims.get("figures", [])],
        describe=describe,
        cell=cell,
    )


def cells(results: Results, metrics: Sequence[str], chunk: int, subset: str) -> dict[str, list[Cell]]:
    """Model -> a cell per metric, empty where there is no row; models without any are left out."""
    table = {}
    for model in results.names():
        rows = [results.row(model, metric, chunk, subset) for metric in metrics]
        if any(row is not None for row in rows):
            table[model] = [cell(results, row) for row in rows]
    return table


def cell(results: Results, row: Row | None) -> Cell:
    """A row's number with its interval."""
    if row is None:
        return Cell()
    return Cell(
        value=number(row.mean, describe(row.metric).digits),
        interval=interval(row),
        best=winner(results, row.metric, row["chunk"], row["subset"]) == row["model"],
    )


def claim_table(claim: Mapping[str, Any]) -> dict[str, Any]:
    """Header and rows of a figure of `foreact claims`: one line per combination of keys; files of schema 1 have the text."""
    if "rows" not in claim:
        return claim.get("table") or {"header": [], "rows": []}
    rows = decode(tuple[Row, ...], [Row.nest(row, "claims") for row in claim["rows"]], "claims")
    headings = {
        {"model": "", "size": "|z|"}.get(key, key): lambda row, key=key: str(row[key])
        for key in dict.fromkeys(key for row in rows for key in row.keys if key not in ("chunk", "subset"))
    }
    metrics = distinct(rows, "metric")

    def text(row: Row | None) -> str:
        return "" if row is None else f"{number(row.mean, describe(row.metric).digits)} [{interval(row)}]"

    found = lines(rows, headings)
    body = [[*line, *(text(by_metric.get(metric)) for metric in metrics)] for line, by_metric in found.items()]
    return {"header": [*headings, *(describe(metric).label for metric in metrics)], "rows": body}


def winner(results: Results, metric: str, chunk: int, subset: str) -> str | None:
    """The model that is better than every other one with an interval of the paired difference that excludes zero.

    Oracle and true tokens do not compete; skill is compared by the errors that it is made of.
    """
    better = describe(metric).better
    rows = [results.row(m, metric, chunk, subset) for m in results.names() if m not in _BESIDE]
    known = [row for row in rows if row is not None]
    if better == "one" or len(known) < 2:
        return None
    best = (min if better == "lower" else max)(known, key=lambda row: row.mean)["model"]
    compared = "token_l1" if metric == "token_l1_skill" else metric
    rivals = [row["model"] for row in known if row["model"] != best]
    pairs = [results.difference(best, rival, compared, chunk, subset) for rival in rivals]
    return best if all(pair is not None and pair.excludes_zero for pair in pairs) else None


def verdict(results: Results) -> list[str]:
    """What the numbers say about each world model after the last chunk, in sentences."""
    chunk, subset = results.last_chunk, results.headline_subset
    models = [name for name in results.names() if not is_reference(name)]
    sentences = []
    for model in models:
        row = results.row(model, "token_l1_skill", chunk, subset)
        if row is not None:
            side = "below" if row.mean >= 0 else "above"
            sure = "" if row.low is None or row.high is None else f" (skill {_span(row.low, row.high, 2)})"
            sentences.append(f"{label(model)}'s token error is {abs(row.mean):.0%} {side} persistence's{sure}.")
    poses = [m for m in results.metrics() if m.endswith(("_error_px", "_error_mm"))][:1]
    compared = [(pair, ("token_l1", "ssim", *poses)) for pair in pairwise(models)]
    samplers = [name for name in models if results.models.get(name, {}).get("stochastic")]
    resampled = [name for name in results.names() if name.endswith(SUFFIX)]
    compared += [((sampler, row), PROPER) for sampler in samplers for row in resampled]
    for (first, second), metrics in compared:
        told = [t for m in metrics if (t := _told(results.difference(first, second, m, chunk, subset)))]
        if told:
            sentences.append(f"{label(first)} against {label(second)}: {'; '.join(told)}.")
    return sentences


def _told(pair: PairedDifference | None) -> str:
    """A paired difference in words."""
    if pair is None or pair.low is None or pair.high is None:
        return ""
    metric = describe(pair.metric)
    if not pair.excludes_zero:
        numbers = f"{number(pair.mean, metric.digits)} [{_span(pair.low, pair.high, metric.digits)}]"
        return f"{metric.label} not told apart ({numbers})"
    good = (pair.mean < 0) == (metric.better == "lower")
    low, high = sorted((abs(pair.low), abs(pair.high)))
    numbers = f"{number(abs(pair.mean), metric.digits)} [{_span(low, high, metric.digits)}]"
    return f"{metric.label} {'better' if good else 'worse'} by {numbers}"


def summary_table(results: Results) -> Table:
    """The headline for the terminal: models against metrics after the last chunk, or whatever else the rows are about."""
    subset, steps = results.headline_subset, (results.protocol.get("boundaries") or [results.last_chunk])[-1]
    rows = [r for r in results.rows if (r["chunk"] or 0) == results.last_chunk and r["subset"] in (None, subset)]
    poses = [m for m in results.metrics() if m.endswith(("_error_px", "_error_mm", "_error_deg", "_error"))][:2]
    metrics = [m for m in results.metrics() if m in (*_SHOWN, *poses)]
    windows = "windows in which something moves" if subset == "moving" else "all windows"
    rolled_out = f"After {steps} steps, {windows}, " if results.last_chunk else ""
    return terminal_table(
        rows,
        {
            "" if key == "model" else key: lambda row, key=key: label(str(row[key]))  # type: ignore[misc]
            for key in dict.fromkeys(key for row in rows for key in row.keys if key not in ("chunk", "subset"))
        },
        metrics=metrics,
        bold=lambda row: row["chunk"] is not None and cell(results, row).best,
        title=f"{rolled_out}{rows[0].n if rows else 0} {'held-out ' * bool(rolled_out)}episodes",
        caption="mean and 95 % interval" + "; bold: better than every other model beyond doubt" * bool(rolled_out),
    )


def quantity(value: float, unit: str = "") -> str:
    """1234567 -> '1.23 M'."""
    for factor, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}".strip()


def _span(low: float, high: float, digits: int) -> str:
    return f"{number(low, digits)} to {number(high, digits)}"


def _headline(results: Results, metrics: Sequence[str], subset: str) -> list[dict[str, Any]]:
    """The main tables: what is measured in tokens, then what is measured in pictures and poses."""
    tokens = [m for m in metrics if m.startswith(("token", "sharpness"))]
    parts = [tokens, [m for m in metrics if m not in tokens]]
    return [{"metrics": p, "cells": cells(results, p, results.last_chunk, subset)} for p in parts if p]


def _sample_table(results: Results, subset: str) -> dict[str, Any]:
    """What only several samples can tell: per stochastic model, one sample, the best of K and the mean of K."""
    found = [m for m in results.metrics() if m.endswith(_OF_SAMPLES)]
    return {"metrics": found, "cells": cells(results, found, results.last_chunk, subset)}


def _cost_table(cost: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Stages against models; the sum counts all flow steps once."""
    models = [name for name, stages in cost.items() if isinstance(stages, dict)]
    stages = list(dict.fromkeys(stage for name in models for stage in cost[name]))
    table = [{"stage": stage.replace("_", " "), "cells": [cost[m].get(stage) for m in models]} for stage in stages]
    sums = []
    for name in models:
        counted = [parts for stage, parts in cost[name].items() if stage != "flow_step"]
        sums.append({key: sum(part[key] for part in counted) for key in ("params", "flops")})
    return [*table, {"stage": "sum of a chunk", "cells": sums}] if models else []


def _timing_table(results: Results) -> dict[str, dict[int, Any]]:
    """Model -> batch -> timing."""
    table: dict[str, dict[int, Any]] = {}
    for timing in results.timings:
        table.setdefault(timing.model, {})[timing.batch] = timing
    return table
