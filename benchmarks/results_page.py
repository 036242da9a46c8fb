"""docs/results.md: the evaluations of trained world models; and what is the same in docs/lab_notes.md; see pages.py."""

from __future__ import annotations

from page_parts import AnyResult, counted, figure, made_by, means, number, table

from foreact.evaluation.figures import label
from foreact.evaluation.metrics import describe
from foreact.evaluation.report import claim_table
from foreact.evaluation.results import Results
from foreact.evaluation.rows import Row, select
from foreact.evaluation.summary import details, verdict

SHOWN = {
    "pusht_tiny": (
        "Push-T, preset `tiny`: the demo",
        "The data and models of `make demo`, with the 450 steps per model of version 0.1; the demo of version 0.2 trains for up to 800 "
        "([lab notes](lab_notes.md)). An agent pushes a T-shaped block.\n\n"
        "![Two held-out Push-T episodes, as the models of the demo of version 0.2 imagine them](film_strip.png)",
        "make demo",
    ),
    "maniskill_small": (
        "A Panda arm, preset `small`",
        "Four ManiSkill tasks in which a Panda arm moves an object; trained on one CPU core.",
        "foreact train rla           --data DATASET --preset small --batch-size 32 --steps 2000 --out runs/panda/rla\n"
        "foreact train rla-wm        --data DATASET --preset small --batch-size 32 --steps 2000 --out runs/panda/rla-wm\n"
        "foreact train dino-wm       --data DATASET --preset small --batch-size 32 --steps 2000 --out runs/panda/dino-wm\n"
        "foreact train image-decoder --data DATASET --preset small --steps 1000 --out runs/panda/image-decoder\n"
        "foreact evaluate runs/panda/rla-wm runs/panda/dino-wm --data DATASET --out runs/panda/results.json",
    ),
    "pusht_small": (
        "Push-T, preset `small`",
        "1200 episodes of Push-T, four hours on one CPU core.",
        "foreact collect pusht --episodes 1200 --seed 0 --image-size 128 --out data/pusht\n"
        "foreact train rla           --data data/pusht --preset small --batch-size 32 --steps 3500 --out runs/pusht/rla\n"
        "foreact train rla-wm        --data data/pusht --preset small --batch-size 32 --steps 14000 --out runs/pusht/rla-wm\n"
        "foreact train dino-wm       --data data/pusht --preset small --batch-size 32 --steps 14000 --out runs/pusht/dino-wm\n"
        "foreact train image-decoder --data data/pusht --preset small --steps 1000 --out runs/pusht/image-decoder\n"
        "foreact evaluate runs/pusht/rla-wm runs/pusht/dino-wm --data data/pusht --out runs/pusht/results.json",
    ),
}
"""Result file -> title, what it is, and the commands."""
_SKILL = ("token_l1_skill", "token_energy_score", "token_energy_score_local", "token_l1_of_mean", "ssim")
_POSES = ("_error_px", "_error_mm")


def results_page(files: dict[str, AnyResult]) -> str:
    """docs/results.md."""
    results = {name: result for name, result in files.items() if isinstance(result, Results)}
    lines = ["# Results", "", made_by("results.md"), ""]
    lines += [
        "World models that were trained here, on held-out episodes. [Concepts](concepts.md) says what each row and each number is. Numbers "
        "are means over episodes, in brackets their 95 % intervals; all are taken after the last of 30 steps, in windows in which the object "
        "moves. The sentence under each title is computed from the table.",
        "",
    ]
    for name, (title, about, commands) in SHOWN.items():
        if name in results:
            lines += [f"## {title}", "", f"**{verdict(results[name])}**", "", f"{about}", ""]
            lines += evaluation(name, results[name])
            lines += ["```sh", commands, "```", ""]
    if "pusht_small" in results:
        lines += _gap(results["pusht_small"])
    lines += _z(results)
    lines += ["## Studies", "", "Several models, learners or samplers side by side; tables are in [Evidence](evidence.md) and, of `cheaper` and `samplers`, in [Performance](performance.md).", ""]  # fmt: skip
    studies = {name: result for name, result in results.items() if result.verdicts}
    lines += table(["study", "training seeds", "verdicts"], ([f"`{name}`", str(len(r.seeds)), counted([v.verdict for v in r.verdicts])] for name, r in studies.items()))  # fmt: skip
    return "\n".join(lines).rstrip() + "\n"


def evaluation(name: str, result: Results) -> list[str]:
    """What an evaluation says: sentences, its table, its drift, its paired differences."""
    data, protocol, last, subset = result.dataset, result.protocol, result.last_chunk, result.headline_subset
    rows = select(result.rows, chunk=last, subset=subset)
    metrics = [m for m in _SKILL if m in result.metrics()]
    metrics += sorted(m for m in result.metrics() if m.endswith(_POSES))
    held_out = protocol["moving_episodes"] if subset == "moving" else protocol["episodes"]
    lines = [
        *(f"- {sentence}" for sentence in details(result)),
        "",
        *means(rows, metrics),
        *figure(name, result),
        "Differences, paired by window: negative is in favour of the first where lower is better, positive where higher is.",
        "",
    ]
    compared = [("rla_wm", rival) for rival in ("dino_wm", "dino_wm_dressed", "persistence")]
    known = {(p["model"], p["reference"]) for p in select(result.paired, chunk=last, subset=subset)}
    pairs = [pair for pair in compared if pair in known]
    shown = [m for m in metrics if any(_pair(result, *pair, m) for pair in pairs)]
    lines += table(
        ["paired difference", *(describe(m).label for m in shown)],
        ([f"{label(a)} - {label(b)}", *(number(_pair(result, a, b, m), m, sign="+") for m in shown)] for a, b in pairs),
    )
    return [
        *lines,
        f"Dataset {data['name']}: {held_out} held-out episodes of {data['episodes']}, {protocol['steps']} steps in chunks of "
        f"{protocol['chunk']}, {protocol['samples']} futures of RLA-WM per window, split {result.split_hash}, one training seed; encoder "
        f"{result.encoder}; foreact {result.versions['foreact']}. Result file: `benchmarks/results/{name}.json`.",
        "",
    ]


def _pair(result: Results, model: str, reference: str, metric: str) -> Row | None:
    return result.difference(model, reference, metric, result.last_chunk, result.headline_subset)


def _gap(result: Results) -> list[str]:
    """How much of RLA-WM's distance to DINO-WM in L1 is that its futures vary."""
    keys = {"chunk": result.last_chunk, "subset": result.headline_subset}
    found = {key: result.row(*key, **keys) for key in (("rla_wm", "token_l1"), ("rla_wm", "token_l1_of_mean"), ("dino_wm", "token_l1"))}  # fmt: skip
    if None in found.values():
        return []
    one, mean, regression = (row.mean for row in found.values() if row is not None)
    share = (one - mean) / (one - regression)
    return [
        f"L1 rewards a blurred mean: one future of RLA-WM has a token L1 of {one:.4f}, the mean of {result.protocol['samples']} futures "
        f"{mean:.4f}, DINO-WM {regression:.4f}. So {share:.0%} of the distance is that futures vary; the rest is that z, a few tokens for the "
        "whole scene, generalises worse than a token in its place.",
        "",
    ]


def _z(results: dict[str, Results]) -> list[str]:
    """What `make claims` measured on the demo's data."""
    if "pusht_tiny_claims" not in results:
        return []
    lines = [
        "## What z holds, on the demo's data",
        "",
        "`make claims`, after the demo, measures the three claims of RLA-WM about z (450 steps per model). \\|z\\| is how many numbers z has; "
        "skill is that of the frame decoded from the current frame and z, against a copy of the current frame. A few dozen numbers hold a "
        "good part of what happens in a scene that the autoencoder knows. Trained on one look, it does not know another.",
        "",
    ]
    for claim in results["pusht_tiny_claims"].claims["figures"]:
        shown = claim_table(claim)
        rows = [[str(cell).replace("|", "\\|") for cell in row] for row in shown["rows"]]
        title = claim["title"].replace("|z|", "the size of z").removesuffix(": unseen")
        headings = [heading.replace("|", "\\|") for heading in shown["header"]]
        lines += [f"### {title}", "", claim["caption"].replace("|", "\\|"), "", *table(headings, rows)]
    return lines
