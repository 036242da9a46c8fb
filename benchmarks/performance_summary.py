"""What docs/performance.md says first, and README's table of times and memory; see pages.py."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from imagination import REGRESSION, STUDENT
from page_parts import AnyResult, Result, table

_PLAIN, _SHORT = "RLA-WM, 30 steps", "RLA-WM, 1 midpoint step"


def summary(results: dict[str, AnyResult]) -> list[str]:
    """The reader's summary."""
    found: list[Callable[[dict[str, Any]], str]] = [_cheap, _cached]
    said = [f"- {sentence(results)}" for sentence in found if _has(results, sentence)]
    return [
        "How long things take, what memory they need, and what makes imagination cheaper. The tables below are for those who "
        "want to know more: each names its command, its machine and its versions.",
        "",
        *hardware(results),
        *said,
        "",
        "Words of this page ([Concepts](concepts.md) has the others):",
        "",
        "- *bf16*: products of matrices in 16 bits; quick on CPUs with AMX or AVX512-BF16 instructions and on GPUs. CPUs with AVX2 only work "
        "in float32: they were imitated by settings that forbid the others.",
        "- *chunk*: one prediction, tokens and up to 15 actions in, tokens out. *FLOP*: one operation with floating-point numbers; a multiply-add is two.",
        "- *solver* and *steps*: how RLA-WM gets from noise to z. *euler* asks its network once a step, *midpoint* and *heun* twice.",
        "- *merged*: squares of 2 x 2 patches are one token. *student*: a model that was trained to do in one step what its teacher does in many.",
        "- *p50*, *p95*: half of the calls, and 95 % of them, took no longer. *peak MiB*: memory beyond the weights.",
        "- *share of the product*: how fast a training step computes, relative to one large product of matrices. *data-wait*: the share of the time in which "
        "training waits for data.",
        "",
    ]


def hardware(results: dict[str, AnyResult]) -> list[str]:
    """Time and memory on both kinds of CPU, and on GPUs as far as it is known."""
    rows = [row for part in (_demo, _steps, _chunks, _paper) if _has(results, part) for row in part(results)]
    headings = ["what", "CPU with bf16 instructions", "CPU with AVX2 only", "memory"]
    return [
        *table(headings, rows),
        "Two cores, x86-64; steps of training on one thread. *Estimated*: on the same machine with the settings that forbid what the "
        "other kind of CPU lacks, from a few steps of everything. *By arithmetic*: never run. Memory is that beyond data and weights; no times on a GPU are "
        "recorded yet.",
        "",
    ]


def _has(results: dict[str, AnyResult], part: Callable[..., Any]) -> bool:
    """Whether the result files are there that a part is made of."""
    try:
        part(results)
    except (KeyError, StopIteration):
        return False
    return True


def _demo(results: dict[str, Any]) -> list[list[str]]:
    demo = results["demo"]
    collect, fit = demo["taken"]["collect"], demo["taken"]["fit"]
    foreseen = collect + sum(stage["seconds"] for stage in demo["without_bf16"]["stages"])
    times = [f"{(collect + fit) / 60:.1f} min", f"{foreseen / 60:.1f} min (estimated)"]
    return [["`make demo`, without the installation", *times, "not measured"]]


def _steps(results: dict[str, Any]) -> list[list[str]]:
    """One optimiser step of the models that `foreact fit` trains."""
    memory = {r["model"]: r["memory"] for r in results["training_tiny"]["rows"]}
    chosen = [r for r in results["muon"]["costs"] if (r["way"], r["tokens"]) == ("ours", "tiny, 128 px")]
    rows = []
    for model, name in (("rla", "RLA"), ("rla-wm", "RLA-WM")):
        times = {r["bf16"]: r["passes_ms"] + r["optimiser_ms"] for r in chosen if r["model"] == model}
        shown = [f"{times[True]:.0f} ms", f"{times[False]:.0f} ms (estimated)"]
        rows.append([f"a training step of {name}, `tiny`, batch 32", *shown, f"{memory[model] / 2**20:.0f} MiB"])
    return rows


def _chunks(results: dict[str, Any]) -> list[list[str]]:
    """One imagined chunk."""
    rows = []
    for model in (_PLAIN, _SHORT, REGRESSION):
        r = _imagined(results["imagination_small"], model, precision="bf16")
        rows.append([f"an imagined chunk of 15 actions: {model}, `small`", f"{r['p50_ms']:.1f} ms", "not measured", f"{r['memory'] / 2**20:.0f} MiB"])  # fmt: skip
    return rows


def _paper(results: dict[str, Any]) -> list[list[str]]:
    rows = results["scaling"]["paper"]

    def gib(gpus: int, lean: bool) -> str:
        r = next(r for r in rows if (r["model"], r["gpus"], r["checkpointed"]) == ("rla", gpus, lean))
        return f"{(r['states'] + r['activations']) / 2**30:.0f}"

    needs = f"{gib(1, False)} GiB on one GPU, {gib(1, True)} with `--checkpoint-activations`, {gib(8, True)} on each of 8 (by arithmetic)"
    return [["training RLA, `paper`, batch 128", "", "", needs]]


def _cheap(results: dict[str, Any]) -> str:
    rows = {r["model"]: r for r in results["imagination_paper"]["rows"] if (r["batch"], r["precision"]) == (1, "bf16")}
    plain, student, regression = rows[_PLAIN], rows[STUDENT], rows[REGRESSION]
    return (
        f"At the papers' size, a chunk of RLA-WM with 30 steps takes {plain['p50_ms'] / 1e3:.1f} s on two cores in bf16, of DINO-WM "
        f"{regression['p50_ms'] / 1e3:.1f} s, of a student of one step with merged tokens {student['p50_ms'] / 1e3:.1f} s: "
        f"{student['flops'] / 1e9:.0f} GFLOP instead of {plain['flops'] / 1e9:.0f}. What that costs in accuracy is in "
        "[What cheaper imagination costs](#what-cheaper-imagination-costs-cheaper_maniskill)."
    )


def _cached(results: dict[str, Any]) -> str:
    warm = {way: statistics.mean(rates["warm"]) for way, rates in results["loading_maniskill"]["ways"].items()}
    return (
        f"Frames are encoded once: training then reads {warm['token cache']:,.0f} samples a second from the cache; decoding video at random gives "
        f"{warm['decoding at random']:,.0f}, LeRobot {warm['LeRobot itself']:,.0f} on the same machine."
    )


def _imagined(result: Result, model: str, *, precision: str) -> Result:
    wanted = (model, precision, 1, False)
    return next(r for r in result["rows"] if (r["model"], r["precision"], r["batch"], r["compiled"]) == wanted)
