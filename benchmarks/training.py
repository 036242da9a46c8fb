"""A training step's rate beside what a large bf16 matrix product reaches on the same machine in the same run.

    python benchmarks/training.py --preset small --out training.json

Every model, whole optimiser steps of its preset on random tokens: time, samples/s, FLOP/s and their share of the product's,
peak memory of one step beyond weights and optimiser state. Data-wait is in the logs of real runs (`log.jsonl`): it depends on
how the data lie, which `benchmarks/loading.py` measures.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import record
import torch
from torch import Tensor, nn

from foreact.contracts import Batch
from foreact.encoders.meta import meta_encoder
from foreact.presets import PRESETS, Preset
from foreact.training.loop import TrainConfig
from foreact.training.machine import matmul_rate, peak_memory, step_flops, synchronise
from foreact.training.optimizers import build_optimizers

Loss = Callable[[], dict[str, Tensor]]
_ACTION_DIM = 8


def models(preset: Preset, device: torch.device) -> dict[str, tuple[nn.Module, TrainConfig, Loss]]:
    """Each model with how it is trained and the loss of one random batch of it."""
    _, tokens, _ = meta_encoder(preset.encoder, image_size=preset.image_size)
    rla = preset.rla(tokens).build().to(device)
    rla_wm = preset.rla_wm(rla.config, _ACTION_DIM).build().to(device)
    baselines = {n: preset.baseline(n, tokens, _ACTION_DIM).build().to(device) for n in ("dino_wm", "fm_wm", "rae")}
    decoder = preset.image_decoder(tokens).build().to(device)
    generator = torch.Generator()

    def pairs(size: int) -> Batch:
        s_t, s_th = (torch.randn(size, tokens.count, tokens.channels, device=device) for _ in range(2))
        actions = torch.randn(size, preset.horizon, _ACTION_DIM, device=device)
        lengths = torch.randint(1, preset.horizon + 1, (size,), device=device)
        return Batch(tokens_t=s_t, tokens_th=s_th, lengths=lengths, actions=actions)

    found: dict[str, tuple[nn.Module, TrainConfig, Loss]] = {}
    for name, model, config in (
        ("rla", rla, preset.train_rla),
        ("rla_wm", rla_wm, preset.train_world_model),
        *((name, model, preset.train_world_model) for name, model in baselines.items()),
    ):
        batch = pairs(config.batch_size)
        found[name] = (model, config, lambda m=model, b=batch: m.loss(b, generator))  # type: ignore[misc]
    size = preset.train_image_decoder.batch_size
    drawn = torch.randn(size, tokens.count, tokens.channels, device=device)
    frames = torch.randint(0, 256, (size, preset.image_size, preset.image_size, 3), dtype=torch.uint8, device=device)
    found["image_decoder"] = (decoder, preset.train_image_decoder, lambda: decoder.loss(drawn, frames))
    return found


def measure(
    model: nn.Module, config: TrainConfig, loss: Loss, device: torch.device, *, steps: int, compiled: bool
) -> dict[str, float]:
    """Median seconds of a whole optimiser step, its rate and FLOPs."""
    flops = step_flops(loss)
    model.zero_grad(set_to_none=True)
    run = torch.compile(loss) if compiled else loss
    optimizers = build_optimizers(
        model, config.optimizer, learning_rate=config.learning_rate, weight_decay=config.weight_decay
    )

    def step() -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=config.precision == "bf16"):
            value = run()["loss"]
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    seconds = []
    for _ in range(steps + 3):
        synchronise(device)
        start = time.perf_counter()
        step()
        synchronise(device)
        seconds.append(time.perf_counter() - start)
    kept = sorted(seconds[3:])
    median = kept[len(kept) // 2]
    return {
        "seconds": median,
        "low": kept[len(kept) // 10],
        "high": kept[-1 - len(kept) // 10],
        "samples_per_second": config.batch_size / median,
        "flops": flops,
        "flop_rate": flops / median,
        "memory": peak_memory(step, device),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="tiny")
    parser.add_argument("--steps", type=int, default=20, help="measured steps of each model")
    parser.add_argument("--compile", action="store_true", help="measure compiled steps too")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    results = {"benchmark": "training", **record.about(device)}
    peak = matmul_rate(device)
    print(f"large bf16 product: {peak / 1e9:,.0f} GFLOP/s on {device} with {torch.get_num_threads()} threads")
    rows = []
    for compiled in (False, True) if options.compile else (False,):
        for name, (model, config, loss) in models(PRESETS[options.preset](), device).items():
            row = {"model": name, "batch": config.batch_size, "optimizer": config.optimizer, "compiled": compiled}
            row |= measure(model, config, loss, device, steps=options.steps, compiled=compiled)
            row["share"] = row["flop_rate"] / peak
            rows.append(row)
            print(
                f"{name:14} {'compiled' if compiled else 'plain':9} batch {config.batch_size:4}  {1e3 * row['seconds']:8.1f} ms/step  "
                f"{row['samples_per_second']:8.1f} samples/s  {row['flop_rate'] / 1e9:8.1f} GFLOP/s = {row['share']:.0%}  "
                f"{row['memory'] / 2**20:,.0f} MiB",
                flush=True,
            )
    results |= {"preset": options.preset, "peak": peak, "rows": rows}
    record.write(results, options.out)


if __name__ == "__main__":
    main()
