"""docs/lab_notes.md: trials, what failed, and earlier measurements; see pages.py."""

from __future__ import annotations

from page_parts import AnyResult, Result, made_by
from results_page import SHOWN, evaluation

from foreact.evaluation.results import Results


def lab_notes(files: dict[str, AnyResult]) -> str:
    """docs/lab_notes.md."""
    lines = ["# Lab notes", "", made_by("lab_notes.md"), ""]
    lines += [
        "What was tried, what failed, and earlier measurements: for those who want to go on from here. Nothing on this page is needed to use "
        "foreact; what stands is in [Results](results.md) and [Evidence](evidence.md). [Concepts](concepts.md) explains the words.",
        "",
    ]
    for result in files.values():
        if not isinstance(result, Results) and result["benchmark"] == "tried":
            lines += _tried(result)
    lines += ["## Earlier and longer trainings", ""]
    lines += [
        "`pusht_small_plain_N` are the models of [Push-T, preset `small`](results.md#push-t-preset-small) after N steps, with the paper's "
        "RLA-WM: without the loss on tokens inside its condition network (`token_weight`).",
        "",
    ]
    for name, result in files.items():
        if isinstance(result, Results) and result.paired and not result.study and name not in SHOWN:
            lines += [f"### {name}", "", *evaluation(name, result)]
    return "\n".join(lines).rstrip() + "\n"


def _tried(result: Result) -> list[str]:
    return ["## Trials", "", result["setting"], "", *(f"- {t['what']}: {t['outcome']}" for t in result["tried"]), ""]
