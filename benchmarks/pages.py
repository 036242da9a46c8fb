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
from performance_page import AnyResult, made_by, performance, table, typed

from foreact.evaluation.figures import label
from foreact.evaluation.metrics import describe
from foreact.evaluation.results import Results
from foreact.evaluation.rows import Row, distinct, select
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


def evidence(files: dict[str, AnyResult]) -> str:
    """docs/evidence.md."""
    results = {name: result for name, result in files.items() if isinstance(result, Results)}
    lines = ["# Evidence", "", made_by("evidence.md"), ""]
    lines += [
        "Numbers are means with 95 % bootstrap intervals; over held-out episodes for one training seed, over training seeds and episodes "
        "where there are several. A verdict says what the interval says: *holds* and *does not hold* exclude the other, *undecided* does "
        "not. Persistence copies the first frame, the oracle decodes the true z. A regression with *resampled residuals* (called dressed in "
        "older files) is its one answer with its own errors of other held-out episodes added: a control of the energy score, which any spread of the right size improves. The energy "
        "score of each token, averaged, sees whether samples spread where the truth is uncertain, but not how tokens hang together. "
        "Since version 0.2 every sample draws noise of its own, where these files' windows drew it together: the same commands give "
        "other numbers in rows that sample, once, and the same ones in all others.",
        "",
    ]
    lines += ["## What the papers claim", "", *claims(results)]
    for name, result in results.items():
        if result.paired and not result.study:
            lines += _evaluation(name, result)
    for name, result in results.items():
        if result.study in STUDIES:
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
        counted = ", ".join(
            f"*{kind}* {told.count(kind)}" for kind in ("holds", "undecided", "does not hold") if kind in told
        )
        measured = ", ".join(name for name in entry["results"] if name in results)
        rows.append([entry["claim"], entry["source"], counted or "not measured", measured, entry["reason"]])
    return table(["claim", "source", "verdicts", "study", "why"], rows)


def drawings(files: dict[str, AnyResult]) -> dict[str, str]:
    """The files of docs/figures and their text."""
    drawn = {f"{name}.svg": _drawing(result) for name, result in files.items() if isinstance(result, Results)}
    return {name: text for name, text in drawn.items() if text}


def _drawing(result: Results) -> str | None:
    if result.study in ("", "world_models"):
        return figures.drift(result)
    return figures.latents(result) if result.study == "latent_actions" else None


def _evaluation(name: str, result: Results) -> list[str]:
    data, protocol, last, subset = result.dataset, result.protocol, result.last_chunk, result.headline_subset
    rows = select(result.rows, chunk=last, subset=subset)
    metrics = [m for m in SKILL if m in result.metrics()]
    metrics += sorted(m for m in result.metrics() if m.endswith(POSES))
    lines = [
        f"## One evaluation ({name})",
        "",
        f"Dataset {data['name']}: {protocol['moving_episodes'] if subset == 'moving' else protocol['episodes']} held-out episodes of {data['episodes']}, "
        f"{protocol['steps']} steps in chunks of {protocol['chunk']}, {protocol['samples']} samples, split {result.split_hash}, "
        f"one training seed; encoder {result.encoder}. Result file: `benchmarks/results/{name}.json`.",
        "",
        *_means(rows, metrics),
        *_figure(name, _drawing(result)),
    ]
    compared = [("rla_wm", rival) for rival in ("dino_wm", "dino_wm_dressed", "persistence")]
    known = {(p["model"], p["reference"]) for p in select(result.paired, chunk=last, subset=subset)}
    return lines + table(
        ["paired difference", *(describe(m).label for m in metrics)],
        (
            [f"{label(a)} - {label(b)}", *(_text(_pair(result, a, b, m), m, sign="+") for m in metrics)]
            for a, b in compared
            if (a, b) in known
        ),
    )


def _pair(result: Results, model: str, reference: str, metric: str) -> Row | None:
    return result.difference(model, reference, metric, result.last_chunk, result.headline_subset)


def _means(rows: Sequence[Row], metrics: Sequence[str]) -> list[str]:
    """A line per model."""

    def cells(model: str) -> list[str]:
        return [_text(next(iter(select(rows, model=model, metric=m)), None), m) for m in metrics]

    models = distinct(rows, "model")
    return table(["", *(describe(m).label for m in metrics)], ([label(model), *cells(model)] for model in models))


def _study(name: str, result: Results) -> list[str]:
    title, about = STUDIES[result.study]
    diverged = [f"{label(m)}: training seeds {s} diverged." for m, s in result.diverged.items()]
    known = {"dataset": result.dataset.get("name"), "split_hash": result.split_hash, **result.settings}
    kept = [
        f"{key.replace('_', ' ')} {known[key]}"
        for key in ("dataset", "preset", "steps", "held_out", "split_hash", "subset")
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
    if result.study == "latent_actions":
        lines += [*markdown(result).splitlines()[2:], ""]
    else:
        rows = [row for row in result.rows if (row["chunk"] or 0) == result.last_chunk]
        lines += _means(rows, distinct(rows, "metric"))
    lines += _figure(name, _drawing(result))
    if result.timings:
        lines += table(["one chunk", "calls", "GFLOP", "ms, median (10 to 90 %)"], _chunk_costs(result))
    return lines + table(
        ["claim", "verdict", "measured"], ([v.claim, f"*{v.verdict}*", v.numbers] for v in result.verdicts)
    )


def _chunk_costs(result: Results) -> Iterable[list[str]]:
    """What a chunk of each model takes."""
    for t in result.timings:
        cost = result.cost.get(t.model)
        counted = [str(cost["calls"]), f"{cost['flops'] / 1e9:.2f}"] if cost else ["", ""]
        yield [f"{label(t.model)}, batch {t.batch}", *counted, f"{t.median:.1f} ({t.low:.1f} to {t.high:.1f})"]


def _figure(name: str, drawn: str | None) -> list[str]:
    """What is drawn from the result file, or the picture that lies beside it."""
    if (RESULTS / f"{name}.png").exists():
        return [f"![{name}](../{RESULTS.relative_to(ROOT)}/{name}.png)", ""]
    return [f"![{name}](figures/{name}.svg)", ""] if drawn else []


def _text(row: Row | None, metric: str, *, sign: str = "") -> str:
    """Mean and interval."""
    if row is None:
        return ""
    style = f"{sign}.{describe(metric).digits}f"
    span = "" if row.low is None or row.high is None else f" [{row.low:{style}}, {row.high:{style}}]"
    return f"{row.mean:{style}}{span}"


def load() -> dict[str, AnyResult]:
    """All result files by name: of evaluations and studies, and what benchmarks wrote."""
    found: dict[str, AnyResult] = {}
    for path in sorted(RESULTS.glob("*.json")):
        data = json.loads(path.read_text())
        found[path.stem] = data if "benchmark" in data else Results.load(path)
    return found


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
