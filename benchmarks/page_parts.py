"""What the pages of docs/ are written with: tables, numbers with intervals, where something was measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import figures

from foreact.evaluation.figures import label
from foreact.evaluation.metrics import describe
from foreact.evaluation.results import Results
from foreact.evaluation.rows import Row, distinct, select
from foreact.evaluation.verdicts import Verdict

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"

Result = dict[str, Any]
AnyResult = Result | Results
"""What a benchmark wrote, or an evaluation or a study."""


def made_by(page: str) -> str:
    return f"<!-- {page} is written by `python benchmarks/pages.py` from benchmarks/results/*.json; edit those or the script. -->"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table, and an empty line after it."""
    body = [f"| {' | '.join(row)} |" for row in (headings, ["---"] * len(headings), *rows)]
    return [*body, ""]


def folded(summary: str, lines: Sequence[str]) -> list[str]:
    """Lines that a reader unfolds."""
    return [f"<details><summary>{summary}</summary>", "", *lines, "</details>", ""]


def means(rows: Sequence[Row], metrics: Sequence[str]) -> list[str]:
    """A line per model; a column per metric, with the direction in which it is better."""

    def cells(model: str) -> list[str]:
        return [number(next(iter(select(rows, model=model, metric=m)), None), m) for m in metrics]

    models = distinct(rows, "model")
    headings = ["row", *(f"{describe(m).label}, {describe(m).direction}" for m in metrics)]
    return table(headings, ([label(model), *cells(model)] for model in models))


def number(row: Row | None, metric: str, *, sign: str = "") -> str:
    """Mean and interval."""
    if row is None:
        return ""
    style = f"{sign}.{describe(metric).digits}f"
    span = "" if row.low is None or row.high is None else f" [{row.low:{style}}, {row.high:{style}}]"
    return f"{row.mean:{style}}{span}"


def judged(verdicts: Sequence[Verdict]) -> list[str]:
    """A table of claims; files of earlier versions say dressed for what is now called resampled residuals."""

    def plain(claim: str) -> str:
        claim = claim.replace("dressed regression", "regression with resampled residuals")
        return claim.replace(", dressed", " + resampled residuals")

    return table(["claim", "verdict", "measured"], ([plain(v.claim), f"*{v.verdict}*", v.numbers] for v in verdicts))


def counted(verdicts: Sequence[str]) -> str:
    """`*holds* 2, *undecided* 1`; empty where there are none."""
    kinds = ("holds", "undecided", "does not hold")
    return ", ".join(f"*{kind}* {verdicts.count(kind)}" for kind in kinds if kind in verdicts)


def figure(name: str, result: Results) -> list[str]:
    """What is drawn from the result file, or the picture that lies beside it."""
    if (RESULTS / f"{name}.png").exists():
        return [f"![{name}: drawn futures](../{RESULTS.relative_to(ROOT)}/{name}.png)", ""]
    return [f"![{name}](figures/{name}.svg)", ""] if drawn(result) else []


def drawn(result: Results) -> str | None:
    """The drawing of an evaluation or a study, as the text of an SVG file."""
    if result.study in ("", "world_models"):
        return figures.drift(result)
    return figures.latents(result) if result.study == "latent_actions" else None


def typed(result: Results) -> str:
    """The command of a study, on what it ran, and with which versions."""
    return where(vars(result)) if result.command else "(Its command and machine were not recorded then.)"


def where(result: Result) -> str:
    """The same of what a benchmark wrote."""
    machine, versions = result["machine"], result["versions"]
    load = f", load before {machine['load_before']}" if "load_before" in machine else ""
    software = ", ".join(f"{k} {v}" for k, v in versions.items())
    return f"`{result['command']}` on {machine['device']} ({machine['platform']}, {machine['cores']} cores, {machine['threads']} threads used{load}); {software}."
