"""How parameters, memory and time grow with tokens, width and batch, for one optimiser step of RLA-WM and of RLA.

    python benchmarks/scaling.py --out scaling.json

One factor is varied at a time around 256 tokens, width 256, batch 4 and depth 2; every row is also measured with activation
checkpointing. Beside the measured rows stands the arithmetic of the `paper` preset: bytes of weights, gradients, AdamW's
moments and the moving average in float32, and activations extrapolated from the measured bytes per token, block and width.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import record
import torch
from rich.console import Console
from rich.table import Table

from foreact.core.batch import Batch
from foreact.core.cards import DataSpec
from foreact.core.machine import peak_memory
from foreact.core.precision import bf16_pays
from foreact.core.presets import paper
from foreact.core.pretrained import PretrainedModel, meta_build
from foreact.core.token_spec import TokenSpec
from foreact.encoders.meta import meta_encoder
from foreact.latent_actions.rla import RLAConfig
from foreact.training.activations import checkpoint_activations
from foreact.world_models.rla_wm import RLAWorldModelConfig
from foreact.world_models.rla_wm_training import RLAWMTraining

CHANNELS, ACTION_DIM, HORIZON, DEPTH = 192, 8, 15, 2
CENTRE = {"tokens": 256, "width": 256, "batch": 4}
VARIED = {"tokens": (64, 256, 576, 1024), "width": (128, 256, 512), "batch": (1, 4, 16)}
BYTES_PER_WEIGHT = 4 * 5  # weight, gradient, two moments, moving average, all float32


def configs(tokens: int, width: int) -> dict[str, RLAConfig | RLAWorldModelConfig]:
    """Both models at a square grid of that many tokens."""
    side = round(tokens**0.5)
    spec = TokenSpec(grid=(side, side), channels=CHANNELS, fingerprint="scaling", encoder="tiny", image_size=16 * side)
    rla = RLAConfig(tokens=spec, dim=width, depth=DEPTH, heads=width // 32, latent_tokens=16, latent_channels=16)
    world_model = RLAWorldModelConfig(
        rla=rla, action_dim=ACTION_DIM, horizon=HORIZON, dim=width, heads=width // 32, condition_depth=DEPTH, flow_depth=DEPTH
    )  # fmt: skip
    return {"rla": rla, "rla_wm": world_model}


def measure(config: Any, batch: int, *, lean: bool) -> dict[str, Any]:
    """Parameters, peak bytes and median seconds of forward and backward passes."""
    torch.manual_seed(0)
    model = config.build()
    if lean:
        checkpoint_activations(model)
    tokens, generator = config.tokens, torch.Generator().manual_seed(0)
    s_t, s_th = (torch.randn(batch, tokens.count, tokens.channels) for _ in range(2))
    actions, lengths = torch.randn(batch, HORIZON, ACTION_DIM), torch.full((batch,), HORIZON)
    data = Batch(tokens_t=s_t, tokens_th=s_th, lengths=lengths, actions=actions)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16_pays("cpu")):
            model.loss(data, generator)["loss"].backward()
        model.zero_grad(set_to_none=True)

    step()
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return {
        "parameters": model.num_parameters(trainable_only=True),
        "memory": peak_memory(step, torch.device("cpu")),
        "seconds": sorted(seconds)[2],
    }


def rows() -> list[dict[str, Any]]:
    """The grid: one factor varied at a time."""
    found: list[dict[str, Any]] = []
    points = [CENTRE | {factor: value} for factor, values in VARIED.items() for value in values]
    unique = [p for i, p in enumerate(points) if p not in points[:i]]
    for point in unique:
        for name, config in configs(point["tokens"], point["width"]).items():
            for lean in (False, True):
                found.append(
                    {"model": name, **point, "checkpointed": lean, **measure(config, point["batch"], lean=lean)}
                )
                print({k: v if isinstance(v, str | bool) else round(v, 4) for k, v in found[-1].items()}, flush=True)
    return found


def paper_needs(measured: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the `paper` preset takes per GPU on 1, 4 and 8 of them: states (the same on each), activations of its share of the batch."""
    preset = paper()
    _, tokens, _ = meta_encoder(preset.encoder, image_size=preset.image_size)
    config = RLAWMTraining().configure(preset, DataSpec(tokens=tokens, action_dim=ACTION_DIM))
    models: dict[str, tuple[PretrainedModel, int, int]] = {
        "rla": (meta_build(config.rla), 2 * preset.latent_depth, preset.train_latent.batch_size),
        "rla_wm": (meta_build(config), preset.condition_depth, preset.train.batch_size),
    }
    found = []
    for name, (model, blocks, batch) in models.items():
        trained = model.num_parameters(trainable_only=True)
        frozen = model.num_parameters() - trained
        for lean in (False, True):
            per_sample = activation_bytes(measured, name, lean=lean) * tokens.count * preset.dim * blocks
            for gpus in (1, 4, 8):
                states = trained * BYTES_PER_WEIGHT + frozen * 4
                found.append(
                    {
                        "model": name,
                        "checkpointed": lean,
                        "gpus": gpus,
                        "states": states,
                        "activations": per_sample * batch / gpus,
                    }
                )
    return found


def activation_bytes(measured: list[dict[str, Any]], model: str, *, lean: bool) -> float:
    """Bytes per sample, token, channel of width and deep block: the slope of peak memory over batches, at the centre's size.

    RLA has encoder and decoder blocks over all tokens; of RLA-WM only the condition network has (z is short).
    """
    chosen = [r for r in measured if r["model"] == model and r["checkpointed"] == lean]
    chosen = [r for r in chosen if r["tokens"] == CENTRE["tokens"] and r["width"] == CENTRE["width"]]
    first, last = (f(chosen, key=lambda r: r["batch"]) for f in (min, max))
    slope = (last["memory"] - first["memory"]) / (last["batch"] - first["batch"])
    blocks = DEPTH * (2 if model == "rla" else 1)
    return float(slope / (CENTRE["tokens"] * CENTRE["width"] * blocks))


def show(measured: list[dict[str, Any]], needs: list[dict[str, Any]]) -> None:
    """Both tables."""
    table = Table(title=f"one forward and backward pass in {'bf16' if bf16_pays('cpu') else 'float32'}")
    for heading in ("model", "tokens", "width", "batch", "checkpointed", "parameters", "peak MiB", "ms"):
        table.add_column(heading, justify="right")
    for r in measured:
        table.add_row(
            r["model"], str(r["tokens"]), str(r["width"]), str(r["batch"]), "yes" if r["checkpointed"] else "",
            f"{r['parameters'] / 1e6:.2f} M", f"{r['memory'] / 2**20:,.0f}", f"{1e3 * r['seconds']:,.0f}",
        )  # fmt: skip
    needed = Table(title="preset paper, GiB per GPU (arithmetic from the measured bytes)")
    for heading in ("model", "checkpointed", "GPUs", "states", "activations", "together"):
        needed.add_column(heading, justify="right")
    for r in needs:
        both = (r["states"], r["activations"], r["states"] + r["activations"])
        needed.add_row(
            r["model"], "yes" if r["checkpointed"] else "", str(r["gpus"]), *(f"{b / 2**30:.1f}" for b in both)
        )
    Console().print(table, needed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    results: dict[str, Any] = {"benchmark": "scaling", **record.about(torch.device("cpu"))}
    results |= {
        "centre": CENTRE | {"depth": DEPTH},
        "product": "bf16" if bf16_pays("cpu") else "float32",
        "rows": rows(),
    }
    results["paper"] = paper_needs(results["rows"])
    show(results["rows"], results["paper"])
    record.write(results, options.out)


if __name__ == "__main__":
    main()
