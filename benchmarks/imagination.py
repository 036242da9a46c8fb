"""How fast, how small, how cheap: one imagined chunk (tokens and actions in, tokens out) of each way to imagine.

    python benchmarks/imagination.py --preset small --batch 64 --out imagination.json

Weights are random: speed does not depend on them. Every variant is measured at batch 1 and at the full batch, in this one
run: chunks per second, median and 95th percentile of the latency, FLOPs per chunk, peak memory beyond the weights, and the
ratios to (a) the released code's variant with 30 Euler steps, plain, and (b) DINO-WM treated the same way (precision,
compilation).
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import record
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from foreact.core.cards import DataSpec
from foreact.core.config import ModelConfig
from foreact.core.cost import total_flops
from foreact.core.machine import matmul_rate, peak_memory, synchronise
from foreact.core.precision import bf16_pays
from foreact.core.presets import PRESETS, Preset
from foreact.core.token_spec import TokenSpec
from foreact.dreams.fast import FastWorldModel
from foreact.encoders.meta import meta_encoder
from foreact.evaluation.cost import model_cost
from foreact.world_models.dino_wm import DinoWMTraining
from foreact.world_models.rla_wm_training import RLAWMTraining

ACTION_DIM = 8
_FEWEST_CALLS = 5
RELEASED, REGRESSION = "released code, 30 steps", "DINO-WM"
FASTEST = "RLA-WM, merged 2 x 2 in the decoder, too, 1 midpoint step"
STUDENT = "RLA-WM, merged 2 x 2 in the decoder, too, 1 step"
SHALLOW = f"{STUDENT}, 1 flow block"


def variants(preset: Preset, tokens: TokenSpec) -> dict[str, ModelConfig]:
    """The models by name: the released code's, the paper's with fewer and fewer steps, merged tokens, and regression."""
    spec = DataSpec(tokens=tokens, action_dim=ACTION_DIM)
    plain, merged_condition, released = (
        RLAWMTraining(flow_steps=30, **options).configure(preset, spec)
        for options in ({}, {"merge": 2}, {"variant": "released"})
    )
    found: dict[str, ModelConfig] = {RELEASED: released, "RLA-WM, 30 steps": plain}
    for steps in (16, 8, 4, 2, 1):
        found[f"RLA-WM, {steps} step{'s' * (steps > 1)}"] = dataclasses.replace(plain, steps=steps)
    for steps in (4, 2, 1):
        name = f"RLA-WM, merged 2 x 2, {steps} step{'s' * (steps > 1)}"
        found[name] = dataclasses.replace(merged_condition, steps=steps)
    found["RLA-WM, 1 midpoint step"] = dataclasses.replace(plain, steps=1, solver="midpoint")
    merged = dataclasses.replace(merged_condition, steps=1, solver="midpoint")
    found["RLA-WM, merged 2 x 2, 1 midpoint step"] = merged
    found[FASTEST] = dataclasses.replace(merged, rla=dataclasses.replace(merged.rla, decoder_merge=2))
    found[STUDENT] = dataclasses.replace(found[FASTEST], solver="euler")  # what `foreact train rla-wm --teacher` makes
    found[SHALLOW] = dataclasses.replace(found[STUDENT], flow_depth=1)
    return found | {REGRESSION: DinoWMTraining().configure(preset, spec)}


def inputs(tokens: TokenSpec, horizon: int, batch: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Random s_t (B, N, C), actions (B, H, A) and their lengths (B,)."""
    s_t = torch.randn(batch, tokens.count, tokens.channels, device=device)
    return s_t, torch.randn(batch, horizon, ACTION_DIM, device=device), torch.full((batch,), horizon, device=device)


def _predict(fast: FastWorldModel, arguments: tuple[Tensor, ...], generator: torch.Generator) -> Tensor:
    return fast.predict(*arguments, fast.draw_noise(len(arguments[0]), generator))


def measure(call: Callable[[], Any], batch: int, device: torch.device, *, seconds: float) -> dict[str, Any]:
    """Rates of one variant at one batch size, after two calls that warm it up or compile it."""
    for _ in range(2):
        call()
    memory = peak_memory(call, device)
    times: list[float] = []
    while len(times) < _FEWEST_CALLS or (sum(times) < seconds and len(times) < 1000):
        synchronise(device)
        begin = time.perf_counter()
        call()
        synchronise(device)
        times.append(time.perf_counter() - begin)
    p50, p95 = np.quantile(times, [0.5, 0.95])
    return {
        "batch": batch,
        "rate": batch / p50,
        "p50_ms": 1e3 * p50,
        "p95_ms": 1e3 * p95,
        "calls": len(times),
        "memory": memory,
    }


def run(
    preset: Preset,
    batches: tuple[int, ...],
    ways: list[tuple[str, bool]],
    device: torch.device,
    seconds: float,
    *,
    chosen: Collection[str] = (),
) -> list[dict[str, Any]]:
    """One row per variant, way (precision, compiled) and batch size; what the memory is too small for is said and left out.

    `chosen` are variants beside (a) and (b), all of them if empty.
    """
    _, tokens, _ = meta_encoder(preset.encoder, image_size=preset.image_size)
    configs = variants(preset, tokens)
    if chosen:
        configs = {name: config for name, config in configs.items() if name in {*chosen, RELEASED, REGRESSION}}
    flops = {name: total_flops(model_cost(config), drawn=False) for name, config in configs.items()}
    rows = []
    for precision, compiled in ways:
        for name, config in configs.items():
            for batch in batches:
                torch.manual_seed(0)
                model: Any = config.build().to(device)
                weights = sum(p.numel() * p.element_size() for p in model.parameters())
                fast = FastWorldModel(
                    model,
                    precision="no" if precision == "float32" else precision,
                    compile_for=batch if compiled else None,
                )
                arguments, generator = inputs(tokens, preset.horizon, batch, device), torch.Generator(device)
                try:
                    row = measure(partial(_predict, fast, arguments, generator), batch, device, seconds=seconds)
                except (RuntimeError, MemoryError) as error:
                    if not record.out_of_memory(error):
                        raise
                    print(f"{name}: not enough memory at batch {batch}, left out (a smaller --batch fits)", flush=True)
                    continue
                row |= {
                    "model": name,
                    "precision": precision,
                    "compiled": compiled,
                    "flops": flops[name],
                    "weights": weights,
                }
                rows.append(row)
                print(
                    f"{name:34} {precision:8} {'compiled' if compiled else 'plain':9} batch {batch:4} {row['p50_ms']:9.2f} ms",
                    flush=True,
                )
    return with_ratios(rows)


def with_ratios(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Speed relative to (a) and (b)."""

    def ratio(row: dict[str, Any], model: str, **way: Any) -> float | None:
        wanted = {"model": model, "batch": row["batch"], **way}
        found = [r["rate"] for r in rows if all(r[k] == v for k, v in wanted.items())]
        return row["rate"] / found[0] if found else None

    for row in rows:
        row["to_released"] = ratio(row, RELEASED, precision="float32", compiled=False)
        row["to_regression"] = ratio(row, REGRESSION, precision=row["precision"], compiled=row["compiled"])
    return rows


def show(rows: list[dict[str, Any]], preset: str) -> None:
    """The rows as a table."""
    table = Table(title=f"Imagination, preset {preset}: one chunk, tokens to tokens")
    for heading in ("variant", "way", "batch", "chunks/s", "p50 ms", "p95 ms", "GFLOP", "MiB", "to (a)", "to (b)"):
        table.add_column(heading, justify="left" if heading in ("variant", "way") else "right")
    for row in rows:
        way = row["precision"] + (" compiled" if row["compiled"] else "")
        table.add_row(
            row["model"], way, str(row["batch"]), f"{row['rate']:,.1f}", f"{row['p50_ms']:,.2f}", f"{row['p95_ms']:,.2f}",
            f"{row['flops'] / 1e9:,.2f}", f"{row['memory'] / 2**20:,.1f}", *("" if row[k] is None else f"{row[k]:.2f}" for k in ("to_released", "to_regression")),
        )  # fmt: skip
    Console(width=150).print(table)


def _names() -> set[str]:
    preset = PRESETS["tiny"]()
    return set(variants(preset, meta_encoder(preset.encoder, image_size=preset.image_size)[1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="tiny")
    parser.add_argument("--batch", type=int, default=64, help="the full batch")
    parser.add_argument("--compile", action="store_true", help="measure compiled models too")
    parser.add_argument("--variants", nargs="+", default=(), help="by their names in the table; all by default")
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    if options.batch < 1:
        parser.error(f"--batch must be at least 1, not {options.batch}")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    results = {"benchmark": "imagination", **record.about(device)}
    fastest = "bf16" if bf16_pays(device.type) else "float32"
    ways = list(dict.fromkeys([("float32", False), (fastest, False), *([(fastest, True)] if options.compile else [])]))
    batches = tuple(sorted({1, options.batch}))
    unknown = set(options.variants) - _names()
    if unknown:
        parser.error(f"unknown variant {sorted(unknown)[0]!r}: choose among {', '.join(sorted(_names()))}")
    rows = run(PRESETS[options.preset](), batches, ways, device, options.seconds, chosen=options.variants)
    if not rows:
        parser.exit(2, f"not enough memory for any model of preset {options.preset}\n")
    show(rows, options.preset)
    results |= {"preset": options.preset, "peak": matmul_rate(device), "rows": rows}
    record.write(results, options.out)


if __name__ == "__main__":
    main()
