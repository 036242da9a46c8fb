"""docs/evidence.md, docs/performance.md and docs/figures, made from the result files of benchmarks/results and from nothing else.

python benchmarks/pages.py            # write both pages
python benchmarks/pages.py --check    # only say whether they are what the result files give (exit status 1 if not)
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import figures
from performance_page import Result, made_by, performance, table, typed

from foreact.evaluation.figures import label
from foreact.evaluation.metrics import describe
from foreact.studies.coin_scores import METRICS as COIN_METRICS
from foreact.studies.latent_claims import markdown

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
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
        "Every learner on one dataset, with controls: what z says and what it does not.",
    ),
}
SKILL = ("token_l1_skill", "token_energy_score", "token_energy_score_local", "token_l1_of_mean", "ssim")
POSES = ("_error_px", "_error_mm")


def evidence(results: dict[str, Result]) -> str:
    """docs/evidence.md."""
    lines = ["# Evidence", "", made_by("evidence.md"), ""]
    lines += [
        "Numbers are means with 95 % bootstrap intervals; over held-out episodes for one training seed, over training seeds and episodes "
        "where there are several. A verdict says what the interval says: *holds* and *does not hold* exclude the other, *undecided* does "
        "not. Persistence copies the first frame, the oracle decodes the true z. A *dressed* regression is its one answer with its own "
        "errors of other held-out episodes added: a control of the energy score, which any spread of the right size improves. The energy "
        "score of each token, averaged, sees whether samples spread where the truth is uncertain, but not how tokens hang together. "
        "Since version 0.2 every sample draws noise of its own, where these files' windows drew it together: the same commands give "
        "other numbers in rows that sample, once, and the same ones in all others.",
        "",
    ]
    lines += ["## What the papers claim", "", *claims(results)]
    for name, result in results.items():
        if _is_evaluation(result):
            lines += _evaluation(name, result)
    for name, result in results.items():
        if result.get("study") in STUDIES:
            lines += _study(name, result)
    return "\n".join(lines).rstrip() + "\n"


def claims(results: dict[str, Result]) -> list[str]:
    """The papers' claims with the verdicts of the studies that bear on them, counted."""
    rows = []
    for entry in json.loads(CLAIMS.read_text()):
        told = [
            verdict["verdict"]
            for name, patterns in entry["results"].items()
            for verdict in results.get(name, {}).get("verdicts", [])
            if any(re.search(pattern, verdict["claim"]) for pattern in patterns)
        ]
        counted = ", ".join(
            f"*{kind}* {told.count(kind)}" for kind in ("holds", "undecided", "does not hold") if kind in told
        )
        measured = ", ".join(name for name in entry["results"] if name in results)
        rows.append([entry["claim"], entry["source"], counted or "not measured", measured, entry["reason"]])
    return table(["claim", "source", "verdicts", "study", "why"], rows)


def drawings(results: dict[str, Result]) -> dict[str, str]:
    """The files of docs/figures and their text."""
    drawn = {f"{name}.svg": _drawing(result) for name, result in results.items()}
    return {name: text for name, text in drawn.items() if text}


def _is_evaluation(result: Result) -> bool:
    return "paired" in result


def _drawing(result: Result) -> str | None:
    if _is_evaluation(result) or result.get("study") == "world_models":
        return figures.drift(result)
    return figures.latents(result) if result.get("study") == "latent_actions" else None


def _evaluation(name: str, result: Result) -> list[str]:
    data, protocol = result["dataset"], result["protocol"]
    last = max(row["chunk"] for row in result["rows"])
    subset = figures.subset(result)
    rows = [r for r in result["rows"] if r["chunk"] == last and r["subset"] == subset]
    metrics = [m for m in SKILL if any(r["metric"] == m for r in rows)]
    metrics += sorted({r["metric"] for r in rows if r["metric"].endswith(POSES)})
    lines = [
        f"## One evaluation ({name})",
        "",
        f"Dataset {data['name']}: {protocol['moving_episodes'] if subset == 'moving' else protocol['episodes']} held-out episodes of {data['episodes']}, "
        f"{protocol['steps']} steps in chunks of {protocol['chunk']}, {protocol['samples']} samples, split {result['split_hash']}, "
        f"one training seed; encoder {result['encoder']}. Result file: `benchmarks/results/{name}.json`.",
        "",
    ]
    lines += table(
        ["", *(describe(m).label for m in metrics)],
        (
            [label(model), *(_cell(rows, model, m) for m in metrics)]
            for model in dict.fromkeys(r["model"] for r in rows)
        ),
    )
    lines += _figure(name, _drawing(result))
    pairs = [
        p for p in result["paired"]
        if p["chunk"] == last and p["subset"] == subset and p["metric"] in metrics
        and (p["model"], p["reference"]) in (("rla_wm", "dino_wm"), ("rla_wm", "dino_wm_dressed"), ("rla_wm", "persistence"))
    ]  # fmt: skip
    return lines + table(
        ["paired difference", *(describe(m).label for m in metrics)],
        (
            [f"{label(a)} - {label(b)}", *(_difference(pairs, a, b, m) for m in metrics)]
            for a, b in dict.fromkeys((p["model"], p["reference"]) for p in pairs)
        ),
    )


def _study(name: str, result: Result) -> list[str]:
    title, about = STUDIES[result["study"]]
    diverged = [f"{label(m)}: training seeds {s} diverged." for m, s in result["diverged"].items()]
    kept = [
        f"{k.replace('_', ' ')} {result[k]['name'] if k == 'dataset' else result[k]}"
        for k in ("dataset", "preset", "steps", "held_out", "split_hash", "subset")
        if k in result
    ]
    lines = [
        f"## {title} ({name})",
        "",
        about,
        "",
        f"{len(result['seeds'])} training seeds; {', '.join(map(str, kept))}. {typed(result)}",
        *diverged,
        "",
    ]
    if result["study"] == "latent_actions":
        lines += [*markdown(result).splitlines()[2:], ""]
    else:
        rows = [r for r in result["rows"] if r.get("chunk") == result.get("chunk")]
        metrics = list(dict.fromkeys(r["metric"] for r in rows))
        lines += table(
            ["", *(COIN_METRICS.get(m) or describe(m).label for m in metrics)],
            (
                [label(model), *(_cell(rows, model, m) for m in metrics)]
                for model in dict.fromkeys(r["model"] for r in rows)
            ),
        )
    lines += _figure(name, _drawing(result))
    if "timings" in result:
        lines += table(["one chunk", "calls", "GFLOP", "ms, median (10 to 90 %)"], _chunk_costs(result))
    return lines + table(
        ["claim", "verdict", "measured"], ([v["claim"], f"*{v['verdict']}*", v["numbers"]] for v in result["verdicts"])
    )


def _chunk_costs(result: Result) -> Iterable[list[str]]:
    """What a chunk of each model takes."""
    for t in result["timings"]:
        cost = result["cost"].get(t["model"])
        counted = [str(cost["calls"]), f"{cost['flops'] / 1e9:.2f}"] if cost else ["", ""]
        yield [
            f"{label(t['model'])}, batch {t['batch']}",
            *counted,
            f"{t['median']:.1f} ({t['low']:.1f} to {t['high']:.1f})",
        ]


def _figure(name: str, drawn: str | None) -> list[str]:
    """What is drawn from the result file, or the picture that lies beside it."""
    if (RESULTS / f"{name}.png").exists():
        return [f"![{name}](../{RESULTS.relative_to(ROOT)}/{name}.png)", ""]
    return [f"![{name}](figures/{name}.svg)", ""] if drawn else []


def _cell(rows: Sequence[Result], model: str, metric: str) -> str:
    row = next((r for r in rows if r["model"] == model and r["metric"] == metric), None)
    if row is None:
        return ""
    digits = describe(metric).digits
    if row["low"] is None:
        return f"{row['mean']:.{digits}f}"
    return f"{row['mean']:.{digits}f} [{row['low']:.{digits}f}, {row['high']:.{digits}f}]"


def _difference(pairs: Sequence[Result], model: str, reference: str, metric: str) -> str:
    found = next((p for p in pairs if (p["model"], p["reference"], p["metric"]) == (model, reference, metric)), None)
    if found is None:
        return ""
    digits = describe(metric).digits
    return f"{found['mean']:+.{digits}f} [{found['low']:+.{digits}f}, {found['high']:+.{digits}f}]"


def load() -> dict[str, Result]:
    """All result files by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    results = load()
    files = {"evidence.md": evidence(results), "performance.md": performance(results)}
    files |= {f"figures/{name}": text for name, text in drawings(results).items()}
    stale = 0
    for name, text in files.items():
        path = ROOT / "docs" / name
        if options.check:
            current = path.exists() and path.read_text() == text
            stale += not current
            print(f"docs/{name}: {'up to date' if current else 'stale, run python benchmarks/pages.py'}")
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            print(f"docs/{name} written")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
