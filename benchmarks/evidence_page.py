"""docs/evidence.md: what the papers claim, what the studies say of it, and the studies; see pages.py."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from page_parts import ROOT, AnyResult, counted, figure, folded, judged, made_by, means, table, typed

from foreact.evaluation.figures import label
from foreact.evaluation.metrics import describe
from foreact.evaluation.results import Results
from foreact.evaluation.rows import distinct
from foreact.studies.actionless import table as success_table
from foreact.studies.latent_claims import markdown

CLAIMS = ROOT / "benchmarks" / "claims.json"
STUDIES = {
    "coin_world": (
        "The coin world",
        "A red square is driven by the actions, a green one jumps by an unobserved coin into one of four places. Regression must erase "
        "the green one (sharpness near 0) and still have the lowest L1; a good generative model draws one of the places.",
    ),
    "world_models": ("The arena", "Every world model on one dataset: same tokens, steps, batch, width and depth."),
    "latent_actions": (
        "Latent-action learners",
        "Every learner on one dataset, with controls: what z says and what it does not. Skill is that of the frame which is decoded from "
        "the current frame and z. The controls are the z of another episode, and the z of the same motion seen by a moved camera. "
        "R² is how well a linear map reads actions or motions from z (1 is perfectly, 0 is not at all); a rollout applies z after z; a "
        "transfer applies the z of one clip in another.",
    ),
    "actionless": (
        "Policies from few actions and many silent videos",
        "RLA-WM's Table 2 with two controls: a policy that also predicts z (WAM) against one that does not (BC), all with the same number of "
        "updates and the same labelled episodes. *bc-all* sees the actions of all episodes. *wam-shuffled* predicts the z of another episode, "
        "*wam-future-tokens* as many numbers about the future tokens themselves. z comes from learners that were trained on play of the same "
        "robot, in *own* on the silent videos of the task.",
    ),
}
_FEW = 30  # verdicts that stand in the open


def evidence(files: dict[str, AnyResult]) -> str:
    """docs/evidence.md."""
    results = {name: result for name, result in files.items() if isinstance(result, Results)}
    studies = {name: result for name, result in results.items() if result.study in STUDIES}
    lines = ["# Evidence", "", made_by("evidence.md"), ""]
    lines += [
        "What the two papers claim, and what small trainings on a CPU say of each claim. Every claim was turned into comparisons whose "
        "answer an interval decides:",
        "",
        "- *holds*: the 95 % interval lies wholly on the side of the claim;",
        "- *does not hold*: it lies wholly on the other side;",
        "- *undecided*: it reaches over the bound: more seeds or episodes would be needed.",
        "",
        "These are small models (`tiny`: a few hundred steps), not the papers': a claim that does not hold here may hold at the papers' "
        "size. [Concepts](concepts.md) explains every word and number, [Results](results.md) has the tables of single evaluations, "
        "[Lab notes](lab_notes.md) what was tried and given up.",
        "",
    ]
    lines += ["## What the papers claim", "", *claims(results)]
    lines += [
        "## How these numbers were made",
        "",
        "Numbers are means with 95 % bootstrap intervals in brackets: over held-out episodes for one training seed, over training seeds "
        "and episodes where there are several. Two models are compared episode by episode (*paired*). The verdicts are not corrected for "
        "how many there are. Since version 0.2 every sampled future draws noise of its own, where these files drew it together: the same "
        "commands give other numbers once, in the rows of models that draw futures, and the same ones in all others.",
        "",
    ]
    for name, result in studies.items():
        lines += _study(name, result)
    return "\n".join(lines).rstrip() + "\n"


def claims(results: dict[str, Results]) -> list[str]:
    """The papers' claims with the verdicts of the studies that bear on them, counted."""
    rows = []
    for entry in json.loads(CLAIMS.read_text()):
        told = [
            verdict.verdict
            for name, patterns in entry["results"].items()
            for verdict in (results[name].verdicts if name in results else ())
            if any(re.search(pattern, verdict.claim) for pattern in patterns)
        ]
        measured = ", ".join(name for name in entry["results"] if name in results)
        rows.append([entry["claim"], entry["source"], counted(told) or "not measured", measured, entry["reason"]])
    return table(["claim", "source", "verdicts", "study", "why"], rows)


def _study(name: str, result: Results) -> list[str]:
    title, about = STUDIES[result.study]
    diverged = [f"{label(m)}: training seeds {s} diverged." for m, s in result.diverged.items()]
    known = {"dataset": result.dataset.get("name"), "split_hash": result.split_hash, **result.settings}
    kept = [
        f"{key.replace('_', ' ')} {known[key]}"
        for key in ("dataset", "preset", "steps", "held_out", "split_hash", "subset", "env", "labelled", "episodes")
        if known.get(key)
    ]
    lines = [
        f"## {title} ({name})",
        "",
        about,
        "",
        f"{len(result.seeds)} training seeds; {', '.join(kept)}. {typed(result)}",
        *diverged,
        "",
    ]
    if result.study == "actionless":
        lines += [*success_table(result).splitlines(), ""]
    elif result.study == "latent_actions":
        lines += [*markdown(result).splitlines()[2:], ""]
    else:
        rows = [row for row in result.rows if (row["chunk"] or 0) == result.last_chunk]
        metrics = distinct(rows, "metric")
        lines += means(rows, metrics)
        if result.study == "coin_world":
            lines += [*(f"- {describe(m).label}: {describe(m).about}" for m in metrics), ""]
    lines += figure(name, result)
    if result.timings:
        lines += table(["one chunk", "calls", "GFLOP", "ms, median (10 to 90 %)"], _chunk_costs(result))
    verdicts = judged(result.verdicts)
    told = counted([v.verdict for v in result.verdicts])
    return lines + (folded(f"{len(result.verdicts)} verdicts", verdicts) if len(result.verdicts) > _FEW else verdicts) + [f"Together: {told}.", ""] * bool(told)  # fmt: skip


def _chunk_costs(result: Results) -> Iterable[list[str]]:
    """What a chunk of each model takes."""
    for t in result.timings:
        cost = result.cost.get(t.model)
        counts = [str(cost["calls"]), f"{cost['flops'] / 1e9:.2f}"] if cost else ["", ""]
        yield [f"{label(t.model)}, batch {t.batch}", *counts, f"{t.median:.1f} ({t.low:.1f} to {t.high:.1f})"]
