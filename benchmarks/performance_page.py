"""docs/performance.md from the benchmarks' results; see pages.py."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from imagination import SHALLOW, STUDENT
from page_parts import AnyResult, Result, judged, made_by, table, typed, where
from performance_summary import summary

from foreact.evaluation.figures import label
from foreact.evaluation.metrics import describe
from foreact.evaluation.results import Results
from foreact.evaluation.rows import distinct, select


def performance(results: dict[str, AnyResult]) -> str:
    """docs/performance.md."""
    lines = ["# Performance", "", made_by("performance.md"), "", *summary(results)]
    sections: dict[str, Callable[[str, Any], list[str]]] = {
        "samplers": _samplers, "cheaper": _cheaper, "imagination": _imagination, "demo": _demo, "training": _training, "muon": _muon, "loading": _loading, "scaling": _scaling,
    }  # fmt: skip
    for kind, section in sections.items():
        for name, result in results.items():
            if kind == (result.study if isinstance(result, Results) else result["benchmark"]):
                lines += section(name, result)
    return "\n".join(lines).rstrip() + "\n"


def _samplers(name: str, result: Results) -> list[str]:
    first = result.rows[0]
    return [
        f"## Samplers ({name})", "",
        f"Trained RLA-WMs sampled with other solvers and steps: {first.n} held-out episodes of {result.dataset['name']}, 30 steps, the same noise for all. "
        f"In brackets the 95 % interval of the paired difference to {first['run']} with 30 Euler steps. FLOPs are of one chunk, tokens to tokens. {typed(result)}", "",
        *_variants(result),
    ]  # fmt: skip


def _cheaper(name: str, result: Results) -> list[str]:
    diverged = [f"{m}: training seeds {s} diverged." for m, s in result.diverged.items()]
    asked = result.settings
    return [
        f"## What cheaper imagination costs ({name})", "",
        f"{len(result.seeds)} training seeds, preset {asked['preset']}, {asked['steps']} steps of each model, {asked['merged_steps']} of those with merged tokens, {result.rows[0].n} held-out episodes of "
        f"{result.dataset['name']}, 30 steps. `merged-condition`: squares of 2 x 2 patches are one token of the condition network; `merged`: of RLA's decoder, too; "
        f"`student`: distilled from it for one step. In brackets the 95 % interval, over seeds and episodes, of the paired difference to "
        f"{asked['reference']}. FLOPs are of one chunk, tokens to tokens. {typed(result)}", *diverged, "",
        *_variants(result),
        *judged(result.verdicts),
    ]  # fmt: skip


def _variants(result: Results) -> list[str]:
    """One line per run and sampler."""
    metrics = distinct(result.rows, "metric")

    def cells(model: str) -> list[str]:
        first = select(result.rows, model=model)[0]
        found = [first["run"], first["solver"] or "", str(first["steps"]), f"{result.cost[model]['flops'] / 1e9:.2f}"]
        for metric in metrics:
            (row,), (to,) = (select(rows, model=model, metric=metric) for rows in (result.rows, result.paired))
            gap = "" if to.low is None or to.low == to.high else f" ({to.low:+.4f} to {to.high:+.4f})"
            found.append(f"{row.mean:.4f}{gap}")
        return found

    headings = ["run", "solver", "steps", "GFLOP", *(describe(m).label for m in metrics)]
    return table(headings, map(cells, distinct(result.rows, "model")))


def _imagination(name: str, result: Result) -> list[str]:
    def cells(r: Result) -> list[str]:
        way = r["precision"] + (", compiled" if r["compiled"] else "")
        return [
            r["model"], way, str(r["batch"]), f"{r['rate']:,.1f}", f"{r['p50_ms']:.2f}", f"{r['p95_ms']:.2f}", f"{r['flops'] / 1e9:.2f}",
            f"{r['memory'] / 2**20:.1f}", *("" if r[k] is None else f"{r[k]:.2f}" for k in ("to_released", "to_regression")),
        ]  # fmt: skip

    return [
        f"## Imagination, preset {result['preset']} ({name})", "",
        f"One chunk, tokens to tokens. (a) is the released code's variant with 30 steps in float32, (b) DINO-WM in the same precision. {where(result)}", "",
        *table(["variant", "way", "batch", "chunks/s", "p50 ms", "p95 ms", "GFLOP", "peak MiB", "speed to (a)", "speed to (b)"], map(cells, result["rows"])),
        "", _cheapest(result["rows"]), "",
    ]  # fmt: skip


def _cheapest(rows: list[Result]) -> str:
    """Of the variants with one midpoint step, which the samplers' study of Push-T does not tell apart from 30 Euler steps, and the students."""
    good = [r for r in rows if "midpoint" in r["model"] or r["model"] in (STUDENT, SHALLOW)]
    cheap = min(good, key=lambda r: r["flops"])
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
            label(r["model"].replace("-", "_")), "compiled" if r["compiled"] else "plain", str(r["batch"]), r["optimizer"], spread, _percent(r.get("optimizer_share"), 0), f"{r['samples_per_second']:.1f}",
            f"{r['flop_rate'] / 1e9:.0f}", f"{r['share']:.0%}", f"{r['memory'] / 2**20:,.0f}", _percent(r.get("data_wait")),
        ]  # fmt: skip

    return [
        f"## Training, preset {result['preset']} ({name})", "",
        f"Whole optimiser steps (median, 10 to 90 %). A large {result.get('product', 'bf16')} matrix product reaches {result['peak'] / 1e9:,.0f} GFLOP/s here. {where(result)}", "",
        *table(["model", "way", "batch", "optimiser", "ms per step", "its share", "samples/s", "GFLOP/s", "share of the product", "peak MiB", "data-wait"], map(cells, result["rows"])),
    ]  # fmt: skip


def _demo(name: str, result: Result) -> list[str]:
    here, other = ({s["stage"]: s for s in result[kind]["stages"]} for kind in ("here", "without_bf16"))
    taken = {stage: seconds / 60 for stage, seconds in result["taken"].items()}

    def cells(stage: str) -> list[str]:
        return [
            stage,
            *(f"{s[stage]['count']:,} {s[stage]['unit']}, {s[stage]['seconds']:.0f} s" for s in (here, other)),
        ]

    sums = (f"**{sum(s['seconds'] for s in found.values()) / 60:.1f} min**" for found in (here, other))
    imitated = ", ".join(f"`{k}={v}`" for k, v in result["imitated"].items())
    return [
        f"## The demo ({name})", "",
        f"`make demo` without the installation took {sum(taken.values()):.1f} minutes here: {taken['collect']:.1f} to record, {taken['fit']:.1f} for `foreact fit`, which was given "
        f"{result['minutes']:g} and chose the steps of its trainings by the rates that it had measured. The table is what it foresaw: on this CPU, and on one without bf16 "
        f"instructions, imitated by {imitated}. {where(result)}", "",
        *table(["stage", "with bf16" if result["here"]["bf16"] else "here", "AVX2 only"], [*map(cells, here), ["all", *sums]]),
    ]  # fmt: skip


def _muon(name: str, result: Result) -> list[str]:
    ways = list(dict.fromkeys(r["way"] for r in result["costs"]))
    points = list(dict.fromkeys((r["bf16"], r["tokens"], r["model"], r["passes_ms"]) for r in result["costs"]))
    costs = {(r["bf16"], r["tokens"], r["model"], r["way"]): r for r in result["costs"]}
    differences = {(r["model"], r["way"]): r for r in result["differences"]}
    models, reference = list(dict.fromkeys(m for m, _ in differences)), result["reference"]

    def cost(point: tuple[Any, ...]) -> list[str]:
        bf16, tokens, model, passes = point
        found = [costs[bf16, tokens, model, way] for way in ways]
        shown = [f"{r['optimiser_ms']:,.0f} ({r['share']:.0%})" for r in found]
        return ["bf16" if bf16 else "float32", tokens, label(model.replace("-", "_")), f"{passes:,.0f}", *shown]

    def difference(r: Result) -> str:
        return f"{r['relative']:+.1%} [{r['low']:+.1%}, {r['high']:+.1%}]" if "relative" in r else f"{r['loss']:.4g}"

    imitated = ", ".join(f"`{k}={v}`" for k, v in result["imitated"].items())
    return [
        f"## Muon ({name})", "",
        f"CPU milliseconds of a `tiny` step of batch 32 on one thread (median of {result['cost_steps']}): of its forward and backward pass, and of the optimisers (their share of the step), "
        f"on a CPU with bf16 instructions and on one without, imitated by {imitated}. `ours` is what is trained with. {where(result)}", "",
        *table(["products", "tokens", "model", "passes", *ways], map(cost, points)),
        f"Held-out loss after {result['train_steps']} steps on {result['dataset']} relative to {reference} (whose loss is given), paired by {result['seeds']} seeds, with Student's 95 % intervals: "
        "fewer iterations, or each direction for two steps, learn less per step.", "",
        *table(["way", *(label(m.replace("-", "_")) for m in models)], ([way, *(difference(differences[m, way]) for m in models)] for way in ways)),
    ]  # fmt: skip


def _percent(share: float | None, digits: int = 2) -> str:
    return "" if share is None else f"{share:.{digits}%}"


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
        f"{' x '.join(map(str, data['stored']))} px; mean of three (least to most); the factor is against LeRobot's way of reading, one open, seek and decode per sample. {where(result)}", "",
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
        f"One forward and backward pass in {result.get('product', 'bf16')}, one factor varied at a time around {centre}. {where(result)}", "",
        *table(["model", "tokens", "width", "batch", "checkpointed", "parameters", "peak MiB", "ms"], map(cells, result["rows"])),
        "What the `paper` preset takes, in GiB per GPU, by arithmetic: weights, gradients, AdamW's moments and the moving average in float32; activations "
        "from the measured bytes per token, block and width. The states fit on any GPU of 12 GB, so nothing is gained by sharding them (FSDP is refused); what decides "
        "is activations, and RLA at batch 128 on one GPU needs `--checkpoint-activations`.", "",
        *table(["model", "checkpointed", "GPUs", "states", "activations", "together"], map(needs, result["paper"])),
    ]  # fmt: skip
