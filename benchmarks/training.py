"""A training step's rate beside what a large matrix product, in bf16 where that pays, reaches on the same machine in the same run.

    python benchmarks/training.py --preset small --compile --data DATASET --out training.json

Every model, whole optimiser steps of its preset on random tokens: time and the optimiser's share of it, samples/s, FLOP/s and
their share of the product's, peak memory of one step beyond weights and optimiser state. With --data, each model is also trained for a moment on recordings
whose tokens are cached, by `foreact train`'s own loop: data-wait is the share of time in which it waited for its batches.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import record
import torch
from torch import Tensor, nn

from foreact.core.batch import Batch, FrameBatch
from foreact.core.cards import DataSpec, ModelTraining, RobotSpec, option_names
from foreact.core.machine import matmul_rate, peak_memory, step_flops, synchronise
from foreact.core.precision import bf16_pays, use_bf16
from foreact.core.presets import PRESETS, Preset
from foreact.core.progress import progress_bar
from foreact.core.recipe import TrainConfig
from foreact.core.registry import card, trainable
from foreact.core.token_spec import TokenSpec
from foreact.core.trainable import TrainableModel
from foreact.data.lerobot import ACTION, STATE
from foreact.encoders.class_token import PREFIX
from foreact.encoders.meta import meta_encoder
from foreact.encoders.pixels import PixelEncoder
from foreact.recordings.recording import IMAGES
from foreact.recordings.windows import WindowBatch
from foreact.training.optimizers import build_optimizers
from foreact.training.run import TrainRequest, default_options, run_training

Loss = Callable[[], dict[str, Tensor]]
_ACTIONS, _STATES = 8, 9
MODELS = (
    *(card(kind).name for role in ("latent_action", "world_model", "image_decoder") for kind in trainable(role)),
    "bc",
)


def tokens_of(training: ModelTraining, preset: Preset) -> TokenSpec:
    """What a model sees, without its encoder's weights."""
    encoder, size = training.frames(preset)
    if encoder == "pixels":
        return PixelEncoder(size).spec
    spec = meta_encoder(encoder.removeprefix(PREFIX), image_size=size)[1]
    return dataclasses.replace(spec, grid=(1, 1 + spec.count)) if encoder.startswith(PREFIX) else spec


def prepare(
    name: str, preset: Preset, device: torch.device, *, tokens: TokenSpec | None = None, batch_size: int | None = None
) -> tuple[nn.Module, TrainConfig, Loss]:
    """A model, how it is trained, and the loss of one random batch of it; on other tokens or of another size where asked for."""
    options = default_options(card(name))
    tokens, generator = tokens or tokens_of(options, preset), torch.Generator()
    camera = f"{IMAGES}.front"
    robot = RobotSpec(
        camera=camera,
        cameras={camera: (tokens.image_size, tokens.image_size)},
        action=tuple(map(str, range(_ACTIONS))),
        state=tuple(map(str, range(_STATES))),
        fps=10.0,
    )
    data = DataSpec(tokens=tokens, action_dim=_ACTIONS, state_dim=_STATES, robots=(robot,))
    model: Any = options.configure(preset, data).build().to(device)
    config = options.recipe(preset)
    config = dataclasses.replace(config, batch_size=batch_size or config.batch_size)
    batch = batch_of(model, tokens, config.batch_size, device)
    return model, config, lambda: model.loss(batch, generator)


def batch_of(
    model: TrainableModel, tokens: TokenSpec, size: int, device: torch.device
) -> Batch | FrameBatch | WindowBatch:
    """Random frames, pairs or windows with all that the model asks of them."""

    def draw(*shape: int) -> Tensor:
        return torch.randn(size, *shape, device=device)

    shape, columns = (tokens.count, tokens.channels), model.columns

    def pictures(*shape: int) -> Tensor:
        side = tokens.image_size
        return torch.randint(0, 256, (size, *shape, side, side, 3), dtype=torch.uint8, device=device)

    if model.learns_from == "windows":
        widths = {ACTION: _ACTIONS, STATE: _STATES}
        window = {
            name: draw(len(times), widths[name]) if name in widths else pictures(len(times))
            for name, times in model.window.items()
        }
        inside = {name: torch.ones(rows.shape[:2], dtype=torch.bool, device=device) for name, rows in window.items()}
        return WindowBatch(columns=window, inside=inside, task=(), embodiment=torch.ones(size))
    if model.learns_from == "frames":
        frames = pictures()
        return FrameBatch(frames=frames, tokens=draw(*shape))
    H, stride = columns.actions or 1, columns.clip_stride
    return Batch(
        tokens_t=draw(*shape),
        tokens_th=draw(*shape),
        lengths=torch.randint(1, H + 1, (size,), device=device),
        actions=draw(H, _ACTIONS),
        clip=draw(-(-H // stride), *shape) if stride else None,
        state_t=draw(_STATES) if columns.states else None,
        state_th=draw(_STATES) if columns.states else None,
        embodiment=torch.ones(size, dtype=torch.int64, device=device) if columns.states else None,
    )


def data_wait(preset: str, data: Path, models: Sequence[str], *, steps: int) -> dict[str, float]:
    """Share of time that each model waits for its batches, in the last `steps` of twice as many on cached tokens."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in models:
            run = Path(folder) / name
            overrides = {"steps": 2 * steps, "log_every": steps}
            kind = card(name)
            plain = {"augment": False} if "augment" in option_names(type(default_options(kind))) else {}
            options = type(default_options(kind))(**plain)
            request = TrainRequest(
                kind=name, options=options, data=data, out=run, preset=preset, overrides=overrides, cache=Path(folder)
            )
            run_training(request, progress_bar)
            found[name] = json.loads((run / "log.jsonl").read_text().splitlines()[-1])["data_wait"]
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

    def passes() -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=use_bf16(config.precision, device.type)):
            value = run()["loss"]
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.clip)

    def update() -> None:
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def step() -> None:
        passes()
        update()

    seconds, updating = [], []
    for _ in range(steps + 3):
        spent = [_seconds(part, device) for part in (passes, update)]
        seconds.append(sum(spent))
        updating.append(spent[1])
    kept = sorted(seconds[3:])
    median = kept[len(kept) // 2]
    return {
        "seconds": median,
        "low": kept[len(kept) // 10],
        "high": kept[-1 - len(kept) // 10],
        "samples_per_second": config.batch_size / median,
        "flops": flops,
        "flop_rate": flops / median,
        "optimizer_share": statistics.median(updating[3:]) / median,
        "memory": peak_memory(step, device),
    }


def _seconds(call: Callable[[], None], device: torch.device) -> float:
    synchronise(device)
    start = time.perf_counter()
    call()
    synchronise(device)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="tiny")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--batch-size", type=int, help="instead of the preset's, for a small machine")
    parser.add_argument(
        "--steps",
        type=int,
        default=20,
        help="measured steps of each model; with --data as many more in the loop itself",
    )
    parser.add_argument("--compile", action="store_true", help="measure compiled steps too")
    parser.add_argument("--data", type=Path, help="a dataset, to measure data-wait on")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    results = {"benchmark": "training", **record.about(device)}
    peak = matmul_rate(device)
    product = "bf16" if bf16_pays(device.type) else "float32"
    print(f"large {product} product: {peak / 1e9:,.0f} GFLOP/s on {device} with {torch.get_num_threads()} threads")
    preset, rows = PRESETS[options.preset](), []
    waits = data_wait(options.preset, options.data, options.models, steps=options.steps) if options.data else {}
    for compiled in (False, True) if options.compile else (False,):
        for name in options.models:
            size = {"steps": options.steps, "batch_size": options.batch_size}
            row = measured(name, preset, device, compiled=compiled, **size)
            if row is not None:
                row |= {"share": row["flop_rate"] / peak, "data_wait": waits.get(name)}
                rows.append(row)
                show(row)
    if not rows:
        parser.exit(2, f"not enough memory for any model of preset {options.preset}: take a smaller --batch-size\n")
    results |= {"preset": options.preset, "peak": peak, "product": product, "rows": rows}
    record.write(results, options.out)


def measured(
    name: str, preset: Preset, device: torch.device, *, steps: int, compiled: bool, batch_size: int | None = None
) -> dict[str, Any] | None:
    """One row; None, and said, where the memory is too small."""
    try:
        with contextlib.ExitStack() as stack:
            stack.callback(torch.compiler.reset)
            model, config, loss = prepare(name, preset, device, batch_size=batch_size)
            row = {"model": name, "batch": config.batch_size, "optimizer": config.optimizer, "compiled": compiled}
            return row | measure(model, config, loss, device, steps=steps, compiled=compiled)
    except (RuntimeError, MemoryError) as error:
        if not record.out_of_memory(error):
            raise
        print(f"{name}: not enough memory, left out (a smaller --batch-size fits)", flush=True)
        return None


def show(row: dict[str, Any]) -> None:
    """One line."""
    wait = "" if row["data_wait"] is None else f"  data-wait {row['data_wait']:.2%}"
    print(
        f"{row['model']:16} {'compiled' if row['compiled'] else 'plain':9} batch {row['batch']:4}  {1e3 * row['seconds']:8.1f} ms/step, optimiser {row['optimizer_share']:4.0%}  "
        f"{row['samples_per_second']:8.1f} samples/s  {row['flop_rate'] / 1e9:8.1f} GFLOP/s = {row['share']:.0%}  "
        f"{row['memory'] / 2**20:,.0f} MiB{wait}",
        flush=True,
    )


if __name__ == "__main__":
    main()
