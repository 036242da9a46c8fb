"""What Muon costs on both kinds of CPU, and what cheaper ways of it lose in accuracy per step.

    foreact collect pusht --episodes 500 --max-steps 55 --seed 0 --image-size 96 --out runs/muon/pusht
    python benchmarks/muon.py runs/muon/pusht --out muon.json

Cost: CPU seconds of the forward and backward pass and of the optimisers, of `tiny`'s RLA and RLA-WM on random tokens, one
thread. A CPU without bf16 instructions is imitated in a process of its own: oneDNN, MKL and PyTorch are told to use AVX2.

Accuracy: the same models trained on the dataset, each way with the same seeds: the same weights, batches and noise at the
start. RLA-WM stands on one RLA for all ways. Losses are of held-out episodes; a difference is paired by seed, its interval
Student's over seeds. Runs that the result file holds are not made again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import record
import torch
import training
from torch import Tensor, nn

from foreact.core.precision import bf16_pays
from foreact.core.presets import tiny
from foreact.core.registry import card
from foreact.core.token_spec import TokenSpec
from foreact.training import loop, optimizers
from foreact.training.muon import NEWTON_SCHULZ, Muon
from foreact.training.run import TrainRequest, default_options, run_training

AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
MODELS, SIDE = ("rla", "rla-wm"), 96
TOKENS = {  # what the cost is measured on: the demo's, the preset's, those of DINOv2-S at 126 px
    "tiny, 96 px": TokenSpec(grid=(6, 6), channels=192, fingerprint="", encoder="tiny", image_size=96),
    "tiny, 128 px": TokenSpec(grid=(8, 8), channels=192, fingerprint="", encoder="tiny", image_size=128),
    "DINOv2-S, 126 px": TokenSpec(grid=(9, 9), channels=384, fingerprint="", encoder="dinov2", image_size=126),
}
HELD_OUT = {"rla": "held_out_l1", "rla-wm": "held_out_mean"}  # of tokens, and of z as it is expected
HELD_OUT_BATCHES = 48
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 8: 2.365, 10: 2.262}  # seeds -> 97.5 % quantile
REFERENCE = "torch.optim.Muon"


class EverySecond(Muon):
    """Goes along the direction of the step before in every second one."""

    def direction(self, parameter: nn.Parameter, momentum: float) -> Tensor:
        """See `Muon.direction`; the momentum is kept in all steps."""
        state, gradient = self.state[parameter], parameter.grad
        if (kept := state.pop("direction", None)) is None:
            state["direction"] = super().direction(parameter, momentum)
            return state["direction"]
        state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        return kept


def ways() -> dict[str, Callable[..., torch.optim.Optimizer]]:
    """What takes (matrices, learning rate, weight_decay=) by name; five iterations where nothing else is said."""

    def ours(kind: type[Muon] = Muon, **choices: Any) -> Callable[..., torch.optim.Optimizer]:
        return lambda matrices, lr, **given: kind(matrices, lr, **given, **choices)

    found: dict[str, Callable[..., torch.optim.Optimizer]] = {
        "ours": ours(),
        "ours, float32": ours(bf16=False),
        "4 iterations": ours(coefficients=NEWTON_SCHULZ[:4]),
        "3 iterations": ours(coefficients=NEWTON_SCHULZ[:3]),
        "every second step": ours(EverySecond),
    }
    if hasattr(torch.optim, "Muon"):  # PyTorch 2.9 or newer
        scale = {"adjust_lr_fn": "match_rms_adamw"}
        found = {REFERENCE: lambda matrices, lr, **given: torch.optim.Muon(matrices, lr, **given, **scale)} | found
    return found


@contextlib.contextmanager
def used(way: Callable[..., torch.optim.Optimizer]) -> Iterator[None]:
    """Trains the matrices in that way."""
    with mock.patch.object(optimizers, "Muon", way), mock.patch.object(loop, "_HELD_OUT_BATCHES", HELD_OUT_BATCHES):
        yield


def costs(*, steps: int) -> list[dict[str, Any]]:
    """CPU milliseconds of a step's parts: of the forward and backward pass (median), and of each way's optimisers."""
    device, rows = torch.device("cpu"), []
    torch.set_num_threads(1)
    for seen, tokens in TOKENS.items():
        for name in MODELS:
            model, config, loss = training.prepare(name, tiny(), device, tokens=tokens)
            made = {}
            for way, make in ways().items():
                with used(make):
                    made[way] = optimizers.build_optimizers(model, "muon", learning_rate=1e-6, weight_decay=0.0)
            spent = parts(model, loss, made, steps)
            row = {"model": name, "tokens": seen, "batch": config.batch_size, "bf16": bf16_pays("cpu")}
            both = {k: 1e3 * statistics.median(v) for k, v in spent.items()}
            rows += [
                row | {"way": way, "passes_ms": both["passes"], "optimiser_ms": both[way], "share": both[way] / (both["passes"] + both[way])}
                for way in made
            ]  # fmt: skip
    return rows


def parts(
    model: nn.Module, loss: training.Loss, made: Mapping[str, list[torch.optim.Optimizer]], steps: int
) -> dict[str, list[float]]:
    """CPU seconds of each part in each of `steps` steps; the ways take turns, all on the same gradients."""
    spent: dict[str, list[float]] = {"passes": [], **{way: [] for way in made}}
    for step in range(-2, steps):
        model.zero_grad(set_to_none=True)
        begin = time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16_pays("cpu")):
            value = loss()["loss"]
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        ends = [begin, time.process_time()]
        for both in made.values():
            for optimizer in both:
                optimizer.step()
            ends.append(time.process_time())
        if step >= 0:  # the first two fill caches and states
            for name, before, after in zip(spent, ends, ends[1:]):
                spent[name].append(after - before)
    return spent


def imitated(steps: int) -> list[dict[str, Any]]:
    """`costs` where products of bf16 are emulated."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "costs.json"
        command = [sys.executable, __file__, "--steps", str(steps), "--costs", str(out)]
        subprocess.run(command, env=os.environ | AVX2, check=True)
        return json.loads(out.read_text())


def train(model: str, seed: int, data: Path, out: Path, *, steps: int, rla: Path | None) -> float:
    """The held-out loss after one run."""
    overrides = {"steps": steps, "seed": seed, "save_every": steps, "log_every": steps}
    choices = {"rla": rla} if rla else {"image_size": SIDE}
    options = type(default_options(card(model)))(**choices)
    request = TrainRequest(kind=model, options=options, data=data, out=out, overrides=overrides)
    run_training(request, lambda title, unit: contextlib.nullcontext(lambda *progress: None))
    return json.loads((out / "log.jsonl").read_text().splitlines()[-1])[HELD_OUT[model]]


def accuracy(results: dict[str, Any], data: Path, out: Path | None, *, seeds: int, steps: int) -> None:
    """Adds a row to the results for each run, and writes them."""
    rows = results.setdefault("runs", [])
    held = {(r["model"], r["way"], r["seed"]) for r in rows}
    wanted = [(m, w, s) for s in range(seeds) for m in MODELS for w in ways() if (m, w, s) not in held]
    with tempfile.TemporaryDirectory() as folder:
        rla = Path(folder) / "rla"
        if wanted:
            train("rla", 1000, data, rla, steps=steps, rla=None)
        for model, way, seed in wanted:
            run = Path(folder) / f"{model}-{way}-{seed}"
            with used(ways()[way]):
                loss = train(model, seed, data, run, steps=steps, rla=rla if model == "rla-wm" else None)
            rows.append({"model": model, "way": way, "seed": seed, "loss": loss})
            print(f"{model:8} {way:20} seed {seed}  held-out loss {loss:.5f}", flush=True)
            record.write(results, out)


def differences(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per model and way the loss relative to the reference's with the same seed: mean, and its 95 % interval."""
    losses = {(r["model"], r["way"], r["seed"]): r["loss"] for r in runs}
    rows = []
    for model, way in dict.fromkeys((m, w) for m, w, _ in losses):
        seeds = [s for m, w, s in losses if (m, w) == (model, way) and (model, REFERENCE, s) in losses]
        ratios = [losses[model, way, s] / losses[model, REFERENCE, s] - 1 for s in seeds]
        row = {
            "model": model,
            "way": way,
            "seeds": len(seeds),
            "loss": statistics.mean(losses[model, way, s] for s in seeds),
        }
        if way != REFERENCE and len(seeds) in STUDENT:
            half = STUDENT[len(seeds)] * statistics.stdev(ratios) / len(seeds) ** 0.5
            middle = statistics.mean(ratios)
            row |= {"relative": middle, "low": middle - half, "high": middle + half}
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", help="dataset to train on; without it only costs are measured")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--train-steps", type=int, default=200)
    parser.add_argument("--steps", type=int, default=9, help="measured steps of each cost")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    parser.add_argument("--costs", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.costs:
        options.costs.write_text(json.dumps(costs(steps=options.steps)))
        return
    results = {"benchmark": "muon", **record.about(torch.device("cpu"))}
    results |= {"imitated": AVX2, "reference": REFERENCE, "cost_steps": options.steps}
    if options.out and options.out.exists():
        results["runs"] = json.loads(options.out.read_text()).get("runs", [])
    if options.data:
        results |= {"dataset": options.data.name, "seeds": options.seeds, "train_steps": options.train_steps}
        accuracy(results, options.data, options.out, seeds=options.seeds, steps=options.train_steps)
        results["differences"] = differences(results["runs"])
    results["costs"] = [*costs(steps=options.steps), *imitated(options.steps)]
    for row in (*results.get("differences", []), *results["costs"]):
        print({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()})
    record.write(results, options.out)


if __name__ == "__main__":
    main()
