"""The measured parts of README.md, which stand between comments that name them; see pages.py."""

from __future__ import annotations

import json
import re
from typing import Any

from evidence_page import CLAIMS
from page_parts import AnyResult, counted
from performance_summary import hardware

from foreact.evaluation.results import Results
from foreact.evaluation.verdicts import Verdict

PARTS = re.compile(
    r"(?P<begin><!-- measured: (?P<name>\w+) -->\n).*?(?P<end><!-- end of what was measured -->)", re.DOTALL
)


def filled(readme: str, files: dict[str, AnyResult]) -> str:
    """README.md with its measured parts as the result files give them."""
    parts = {"found": found, "hardware": hardware}

    def replace(match: re.Match[str]) -> str:
        return match["begin"] + "\n".join(parts[match["name"]](files)).rstrip() + "\n" + match["end"]

    return PARTS.sub(replace, readme)


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
        f"RLA-WM and DINO-WM take away {skills('pusht_tiny')} of the token error that a copy of the first frame makes, 30 actions ahead, after minutes of training "
        f"on Push-T; after an hour and a half on a Panda arm it is {skills('maniskill_small')}."
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
