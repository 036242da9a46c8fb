"""The parts of README.md and docs/concepts.md that are made, not typed; they stand between comments that name them. See pages.py."""

from __future__ import annotations

import json
import re
from typing import Any

from evidence_page import CLAIMS
from page_parts import AnyResult, counted, table
from performance_summary import hardware

from foreact.evaluation.figures import about, label
from foreact.evaluation.metrics import METRICS, Metric, describe
from foreact.evaluation.residuals import SUFFIX
from foreact.evaluation.results import Results
from foreact.evaluation.verdicts import Verdict

PARTS = re.compile(
    r"(?P<begin><!-- measured: (?P<name>\w+) -->\n).*?(?P<end><!-- end of what was measured -->)", re.DOTALL
)

_OF_STUDIES = ("success_rate", "energy_score", "energy_score_local", "driven_error", "random_sharpness", "random_hit")


def filled(page: str, files: dict[str, AnyResult]) -> str:
    """A page with its measured parts as the result files and the tables of metrics give them."""
    parts = {"found": found, "hardware": hardware, "rows": rows, "metrics": metrics}

    def replace(match: re.Match[str]) -> str:
        return match["begin"] + "\n".join(parts[match["name"]](files)).rstrip() + "\n" + match["end"]

    return PARTS.sub(replace, page)


def rows(files: dict[str, AnyResult]) -> list[str]:
    """The rows of a report that are no trained world model."""
    names = ("persistence", "oracle", "true_tokens", f"dino_wm{SUFFIX}")
    return table(["row", "what it is"], ([label(name), about(name)] for name in names))


def metrics(files: dict[str, AnyResult]) -> list[str]:
    """Every number of a report."""
    shown = {name: metric for name, metric in METRICS.items() if name not in _OF_STUDIES}
    poses = {name: describe(name) for name in ("block_error_px", "block_error_deg", "block_error_px_best_of_k")}

    def cells(metric: Metric) -> list[str]:
        return [
            metric.label,
            metric.about,
            metric.unit or "none",
            metric.direction.removesuffix(" is better").removesuffix(" is best"),
        ]

    return table(["number", "what it says", "unit", "better"], map(cells, (shown | poses).values()))


def found(files: dict[str, AnyResult]) -> list[str]:
    """What was found, in four sentences."""
    results: dict[str, Any] = files
    told = [_beats_copy(results), _beats_regression(results), _draws(results), _cheaper(results)]
    return [f"{number}. {sentence}" for number, sentence in enumerate(told, start=1)]


def _beats_copy(results: dict[str, Any]) -> str:
    def skills(name: str) -> str:
        result: Results = results[name]
        keys = {"chunk": result.last_chunk, "subset": result.headline_subset}
        rows = [result.row(model, "token_l1_skill", **keys) for model in ("rla_wm", "dino_wm")]
        sure = all(row and row.low and row.low > 0 for row in rows)
        shares = " and ".join(f"{row.mean:.0%}" for row in rows if row)
        return shares if sure else f"{shares} (undecided)"

    return (
        f"RLA-WM and DINO-WM take away {skills('pusht_tiny')} of the token error that a copy of the first frame makes, 30 actions ahead, after short trainings "
        f"on Push-T (preset `tiny`); on a Panda arm (preset `small`) it is {skills('maniskill_small')}."
    )


def _beats_regression(results: dict[str, Any]) -> str:
    """The papers' main claim, with all of its comparisons."""
    entries = {entry["claim"]: entry for entry in json.loads(CLAIMS.read_text())}
    (patterns,) = entries["RLA-WM imagines better than DINO-WM"]["results"].values()
    told = [v.verdict for v in results["arena_maniskill"].verdicts if any(re.search(p, v.claim) for p in patterns)]
    return (
        f"That RLA-WM imagines better than DINO-WM, the paper's claim, is not what small trainings show: of {len(told)} comparisons, {counted(told)}."
        if told.count("holds") < len(told) / 2
        else f"RLA-WM imagines better than DINO-WM, as the paper claims: of {len(told)} comparisons, {counted(told)}."
    )


def _draws(results: dict[str, Any]) -> str:
    told = results["coin_world"].verdicts
    erased = _verdict(told, "regression erases the random object")
    local = _verdict(told, "RLA-WM has a lower energy score of each token than dressed regression")
    whole = _verdict(told, "RLA-WM has a lower energy score than dressed regression")
    return (
        f"Where a coin decides what happens, regression blurs it away (*{erased}*), and RLA-WM's futures are better than regression with its own errors added to "
        f"its answer: token by token *{local}*, over the whole frame *{whole}*."
    )


def _cheaper(results: dict[str, Any]) -> str:
    study: Results = results["cheaper_maniskill"]
    flops = [study.cost[name]["flops"] / 1e9 for name in ("student, euler 1", "plain, euler 30")]
    told = {v.claim.rpartition(" in ")[2]: v.verdict for v in study.verdicts if v.claim.startswith("student, euler 1 ")}
    said = ", ".join(f"{metric} *{verdict}*" for metric, verdict in told.items())
    return f"A student with one sampling step takes {flops[0]:.2f} GFLOP a chunk instead of {flops[1]:.2f} and is at most 2 % worse: {said}."


def _verdict(verdicts: tuple[Verdict, ...], claim: str) -> str:
    return next(v.verdict for v in verdicts if v.claim == claim)
