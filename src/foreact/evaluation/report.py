"""The report: one HTML file that opens offline, made from a results file alone; and its table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from rich.table import Table

from foreact.core.config import decode
from foreact.core.files import write_atomically
from foreact.evaluation.figures import about, colour, drift_curve, label
from foreact.evaluation.film import name_of
from foreact.evaluation.metrics import describe
from foreact.evaluation.results import Results
from foreact.evaluation.rows import Row, distinct
from foreact.evaluation.summary import details, verdict, winner
from foreact.evaluation.tables import interval, lines, number, terminal_table

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
    environment.filters |= {"label": label, "quantity": quantity, "number": number, "panel": name_of}
    source = files("foreact.evaluation").joinpath("templates/report.html.j2").read_text()
    subset = results.headline_subset
    metrics = [m for m in results.metrics() if not m.endswith(_OF_SAMPLES)]
    return environment.from_string(source).render(
        results=results,
        subset=subset,
        verdict=verdict(results),
        sentences=details(results),
        names=results.names(),
        colours={name: colour(name, results.names()) for name in results.names()},
        abouts={
            name: about(name, stochastic=results.models.get(name, {}).get("stochastic")) for name in results.names()
        },
        metrics={metric: describe(metric) for metric in results.metrics()},
        headline=_headline(results, metrics, subset),
        samples=_sample_table(results, subset),
        drift=[(metric, Markup(drift_curve(results, metric, subset=subset))) for metric in metrics],
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
    """Metrics, header and rows of a figure of `foreact claims`: one line per combination of keys; files of schema 1 have the text."""
    if "rows" not in claim:
        return {"metrics": [], **(claim.get("table") or {"header": [], "rows": []})}
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
    return {"metrics": metrics, "header": [*headings, *(describe(metric).label for metric in metrics)], "rows": body}


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
