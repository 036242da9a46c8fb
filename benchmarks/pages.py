"""docs/evidence.md, docs/performance.md and docs/figures, made from the result files of benchmarks/results and from nothing else.

python benchmarks/pages.py            # write both pages
python benchmarks/pages.py --check    # only say whether they are what the result files give (exit status 1 if not)
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import figures

from foreact.evaluation.figures import label
from foreact.evaluation.metrics import describe
from foreact.studies.coin_scores import METRICS as COIN_METRICS
from foreact.studies.latent_claims import markdown

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
CLAIMS = ROOT / "benchmarks" / "claims.json"
Result = dict[str, Any]

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
    lines = ["# Evidence", "", _made_by("evidence.md"), ""]
    lines += [
        "Numbers are means with 95 % bootstrap intervals; over held-out episodes for one training seed, over training seeds and episodes "
        "where there are several. A verdict says what the interval says: *holds* and *does not hold* exclude the other, *undecided* does "
        "not. Persistence copies the first frame, the oracle decodes the true z. A *dressed* regression is its one answer with its own "
        "errors of other held-out episodes added: a control of the energy score, which any spread of the right size improves. The energy "
        "score of each token, averaged, sees whether samples spread where the truth is uncertain, but not how tokens hang together.",
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


def performance(results: dict[str, Result]) -> str:
    """docs/performance.md."""
    lines = ["# Performance", "", _made_by("performance.md"), ""]
    sections: dict[str, Callable[[str, Result], list[str]]] = {
        "samplers": _samplers, "cheaper": _cheaper, "imagination": _imagination, "training": _training, "loading": _loading, "scaling": _scaling,
        "tried": _tried,
    }  # fmt: skip
    for kind, section in sections.items():
        for name, result in results.items():
            if kind in (result.get("benchmark"), result.get("study")):
                lines += section(name, result)
    return "\n".join(lines).rstrip() + "\n"


def drawings(results: dict[str, Result]) -> dict[str, str]:
    """The files of docs/figures and their text."""
    drawn = {f"{name}.svg": _drawing(result) for name, result in results.items()}
    return {name: text for name, text in drawn.items() if text}


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table, and an empty line after it."""
    body = [f"| {' | '.join(row)} |" for row in (headings, ["---"] * len(headings), *rows)]
    return [*body, ""]


def _made_by(page: str) -> str:
    return f"<!-- {page} is written by `python benchmarks/pages.py` from benchmarks/results/*.json; edit those or the script. -->"


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
        f"## {data['name']} ({name})",
        "",
        f"{protocol['moving_episodes'] if subset == 'moving' else protocol['episodes']} held-out episodes of {data['episodes']}, "
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
        f"{len(result['seeds'])} training seeds; {', '.join(map(str, kept))}.{_typed(result)}",
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


def _typed(result: Result) -> str:
    return f" `{result['command']}`" if "command" in result else ""


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


def _where(result: Result) -> str:
    machine, versions = result["machine"], result["versions"]
    software = ", ".join(f"{k} {v}" for k, v in versions.items())
    return (
        f"`{result['command']}` on {machine['device']} ({machine['platform']}, {machine['cores']} cores, {machine['threads']} threads used, load "
        f"before {machine['load_before']}); {software}."
    )


def _samplers(name: str, result: Result) -> list[str]:
    rows = result["rows"]
    return [
        f"## Samplers ({name})", "",
        f"Trained RLA-WMs sampled with other solvers and steps: {rows[0]['n']} held-out episodes of {result['dataset']}, 30 steps, the same noise for all. "
        f"In brackets the 95 % interval of the paired difference to {rows[0]['run']} with 30 Euler steps. FLOPs are of one chunk, tokens to tokens.", "",
        *_ways(rows),
    ]  # fmt: skip


def _cheaper(name: str, result: Result) -> list[str]:
    diverged = [f"{m}: training seeds {s} diverged." for m, s in result["diverged"].items()]
    return [
        f"## What cheaper imagination costs ({name})", "",
        f"{len(result['seeds'])} training seeds, preset {result['preset']}, {result['steps']} steps of each model, {result['rows'][0]['n']} held-out episodes of "
        f"{result['dataset']}, 30 steps. `merged-condition`: squares of 2 x 2 patches are one token of the condition network; `merged`: of RLA's decoder, too; "
        f"`student-1` and `student-2`: distilled from it for one and two steps. In brackets the 95 % interval, over seeds and episodes, of the paired difference to "
        f"{result['reference']}. FLOPs are of one chunk, tokens to tokens.{_typed(result)}", *diverged, "",
        *_ways(result["rows"]),
        *table(["claim", "verdict", "measured"], ([v["claim"], f"*{v['verdict']}*", v["numbers"]] for v in result["verdicts"])),
    ]  # fmt: skip


def _ways(rows: list[Result]) -> list[str]:
    """One line per run and sampler."""
    ways = dict.fromkeys((r["run"], r["solver"], r["steps"], r["flops"]) for r in rows)
    metrics = list(dict.fromkeys(r["metric"] for r in rows))

    def cells(way: tuple[Any, ...]) -> list[str]:
        found = []
        for metric in metrics:
            row = next(
                r for r in rows if (r["run"], r["solver"], r["steps"], r["flops"]) == way and r["metric"] == metric
            )
            to = row["to_reference"]
            gap = "" if to["low"] is None or to["low"] == to["high"] else f" ({to['low']:+.4f} to {to['high']:+.4f})"
            found.append(f"{row['mean']:.4f}{gap}")
        return found

    return table(
        ["run", "solver", "steps", "GFLOP", *(describe(m).label for m in metrics)],
        ([w[0], w[1] or "", str(w[2]), f"{w[3] / 1e9:.2f}", *cells(w)] for w in ways),
    )


def _imagination(name: str, result: Result) -> list[str]:
    def cells(r: Result) -> list[str]:
        way = r["precision"] + (", compiled" if r["compiled"] else "")
        return [
            r["model"], way, str(r["batch"]), f"{r['rate']:,.1f}", f"{r['p50_ms']:.2f}", f"{r['p95_ms']:.2f}", f"{r['flops'] / 1e9:.2f}",
            f"{r['memory'] / 2**20:.1f}", *("" if r[k] is None else f"{r[k]:.2f}" for k in ("to_released", "to_regression")),
        ]  # fmt: skip

    return [
        f"## Imagination, preset {result['preset']} ({name})", "",
        f"One chunk, tokens to tokens. (a) is the released code's variant with 30 steps in float32, (b) DINO-WM in the same precision. {_where(result)}", "",
        *table(["variant", "way", "batch", "chunks/s", "p50 ms", "p95 ms", "GFLOP", "peak MiB", "speed to (a)", "speed to (b)"], map(cells, result["rows"])),
        "", _cheapest(result["rows"]),
    ]  # fmt: skip


def _cheapest(rows: list[Result]) -> str:
    """Of the variants with one midpoint step, which the samplers' study does not tell apart from 30 Euler steps."""
    cheap = min((r for r in rows if "midpoint" in r["model"]), key=lambda r: r["flops"])
    regression = next(r for r in rows if r["model"] == "DINO-WM")
    said = [
        f"{r['to_released']:.1f} times as fast as (a) and {r['to_regression']:.2f} times as fast as (b) at batch {r['batch']}"
        for r in rows
        if r["model"] == cheap["model"]
        and (r["precision"], r["compiled"]) == (rows[-1]["precision"], rows[-1]["compiled"])
    ]
    flops = f"{cheap['flops'] / 1e9:.2f} GFLOP where DINO-WM takes {regression['flops'] / 1e9:.2f}"
    return f"In short: {cheap['model']} takes {flops}; it is {', '.join(said)}."


def _training(name: str, result: Result) -> list[str]:
    def cells(r: Result) -> list[str]:
        spread = f"{1e3 * r['seconds']:.1f} ({1e3 * r['low']:.1f} to {1e3 * r['high']:.1f})"
        return [
            label(r["model"].replace("-", "_")), "compiled" if r["compiled"] else "plain", str(r["batch"]), r["optimizer"], spread, f"{r['samples_per_second']:.1f}",
            f"{r['flop_rate'] / 1e9:.0f}", f"{r['share']:.0%}", f"{r['memory'] / 2**20:,.0f}", _percent(r.get("data_wait")),
        ]  # fmt: skip

    return [
        f"## Training, preset {result['preset']} ({name})", "",
        f"Whole optimiser steps (median, 10 to 90 %). A large bf16 matrix product reaches {result['peak'] / 1e9:,.0f} GFLOP/s here. {_where(result)}", "",
        *table(["model", "way", "batch", "optimiser", "ms per step", "samples/s", "GFLOP/s", "share of the product", "peak MiB", "data-wait"], map(cells, result["rows"])),
    ]  # fmt: skip


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.2%}"


def _loading(name: str, result: Result) -> list[str]:
    base = statistics.mean(result["ways"]["LeRobot's way, with PyAV"]["warm"])

    def cells(way: str, rates: dict[str, list[float]]) -> list[str]:
        shown = [
            f"{statistics.mean(rates[k]):,.0f} ({min(rates[k]):,.0f} to {max(rates[k]):,.0f})" for k in ("cold", "warm")
        ]
        return [way, *shown, f"{statistics.mean(rates['warm']) / base:.1f}"]

    data, setting = result["dataset"], result["setting"]
    return [
        f"## Loading, {data['name']} ({name})", "",
        f"Samples (pairs of frames {setting['horizon']} apart with their actions) per second, shuffled, batches of {setting['batch']}, {setting['image_size']} px from "
        f"{' x '.join(map(str, data['stored']))} px; mean of three (least to most); the factor is against LeRobot's way of reading, one open, seek and decode per sample. {_where(result)}", "",
        *table(["way", "cold", "warm", "factor, warm"], (cells(w, r) for w, r in result["ways"].items())),
    ]  # fmt: skip


def _scaling(name: str, result: Result) -> list[str]:
    centre = ", ".join(f"{k} {v}" for k, v in result["centre"].items())

    def cells(r: Result) -> list[str]:
        shown = [
            label(r["model"]),
            str(r["tokens"]),
            str(r["width"]),
            str(r["batch"]),
            "yes" if r["checkpointed"] else "no",
        ]
        return [*shown, f"{r['parameters'] / 1e6:.2f} M", f"{r['memory'] / 2**20:,.0f}", f"{1e3 * r['seconds']:,.0f}"]

    def needs(r: Result) -> list[str]:
        both = (r["states"], r["activations"], r["states"] + r["activations"])
        return [
            label(r["model"]),
            "yes" if r["checkpointed"] else "no",
            str(r["gpus"]),
            *(f"{b / 2**30:.1f}" for b in both),
        ]

    return [
        f"## Growth ({name})", "",
        f"One forward and backward pass in bf16, one factor varied at a time around {centre}. {_where(result)}", "",
        *table(["model", "tokens", "width", "batch", "checkpointed", "parameters", "peak MiB", "ms"], map(cells, result["rows"])),
        "What the `paper` preset takes, in GiB per GPU, by arithmetic: weights, gradients, AdamW's moments and the moving average in float32; activations "
        "from the measured bytes per token, block and width. The states fit on any GPU of 12 GB, so nothing is gained by sharding them (FSDP is refused); what decides "
        "is activations, and RLA at batch 128 on one GPU needs `--checkpoint-activations`.", "",
        *table(["model", "checkpointed", "GPUs", "states", "activations", "together"], map(needs, result["paper"])),
    ]  # fmt: skip


def _tried(name: str, result: Result) -> list[str]:
    lines = [f"- {t['what']}: {t['outcome']}" for t in result["tried"]]
    return [f"## Trials ({name})", "", result["setting"], "", *lines, ""]


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
