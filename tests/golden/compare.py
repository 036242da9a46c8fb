"""Evaluation, claims and studies at their smallest, and costs, by the command line, compared with what was stored.

    python tests/golden/compare.py [--tolerance 1e-4] [--only cost]

It takes minutes, so it is no test. What follows from sampled futures is compared, too, but only told: another order of
draws gives other noise, and is no error.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from foreact.cli import main
from foreact.core import presets
from foreact.core.recipe import PairSampling, TrainConfig
from foreact.decoders import unet
from foreact.latent_actions import lawm
from foreact.training import optimizers
from foreact.world_models import rae, rla_wm_training, video_diffusion

HERE = Path(__file__).parent
INPUTS, STUDIES, COSTS = HERE / "studies", HERE / "studies.json", HERE / "costs.json"
SAMPLED = (
    "rla_wm",
    "rae",
    "video_diffusion",
    "plain",
    "merged",
    "merged-condition",
    "student",
    "student-shallow",
    "rla-wm",
)
"""Models and runs whose rows depend on sampling noise."""

STEPS = "20"
_WHERE = ["--data", "data", "--cache", "cache"]
_TOKENS = ["--encoder", "encoder", "--image-size", "32"]
_STUDY = [*_WHERE, *_TOKENS, "--seeds", "1", "--steps", STEPS, "--batch-size", "4"]
TRAININGS = ("rla", "rla-wm", "dino-wm", "fm-wm", "image-decoder")
COMMANDS: dict[str, list[str]] = {
    "evaluate": [
        "evaluate", "runs/rla-wm", "runs/dino-wm", "runs/fm-wm", *_WHERE, "--out", "evaluate/results.json", "--starts",
        "2", "--samples", "2",
    ],
    "claims": [
        "claims", "runs/rla", *_WHERE, "--results", "evaluate/results.json", "--pairs", "40", "--unseen", "data",
    ],
    "samplers": ["benchmark", "samplers", "--runs", "runs/rla-wm", *_WHERE, "--out", "samplers"],
    "world-models": ["benchmark", "world-models", *_STUDY, "--out", "world-models"],
    "latent-actions": [
        "benchmark", "latent-actions", *_STUDY, "--out", "latent-actions", "--latents", "2x3", "--pairs", "24",
        "--seconds", "0.5", "--unseen", "data",
    ],
    "cheaper": ["benchmark", "cheaper", *_STUDY, "--out", "cheaper", "--merged-steps", "25"],
    "coin-world": [
        "benchmark", "coin-world", "--seeds", "1", "--steps", "4", "--out", "coin-world", "--models", "rla-wm",
        "dino-wm", "fm-wm", "fm-wm-trap", "rae",
    ],
}  # fmt: skip


def measure_studies(work: Path) -> dict[str, Any]:
    """Train what is needed in an empty folder and measure: the rows by study.

    The preset `tiny` is replaced by a smaller one, products are made in float32 on whichever machine, and Muon is the
    one that the stored rows were trained with.
    """
    for name in ("data", "encoder", "cache"):
        shutil.copytree(INPUTS / name, work / name)
    (work / "evaluate").mkdir()
    found: dict[str, Any] = {}
    with contextlib.chdir(work), contextlib.ExitStack() as patches:
        patches.enter_context(mock.patch.dict(presets.PRESETS, {"tiny": small_preset}))
        for choices, chosen in CHOICES:
            patches.enter_context(mock.patch.dict(choices, {"tiny": chosen}))
        patches.enter_context(mock.patch("foreact.core.precision._seconds", return_value=1.0))
        patches.enter_context(mock.patch.object(optimizers, "Muon", old_muon))
        for model in TRAININGS:
            main(["train", model, *_WHERE, *_TOKENS, "--out", f"runs/{model}", "--steps", STEPS])
        for name, command in COMMANDS.items():
            main(command)
            if name != "claims":
                found[name] = _rows(json.loads(Path(name, "results.json").read_text()))
    return found


def old_muon(matrices: Any, learning_rate: float, *, weight_decay: float) -> torch.optim.Optimizer:
    """PyTorch's, in bf16."""
    return torch.optim.Muon(list(matrices), lr=learning_rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")


def small_preset() -> presets.Preset:
    """Stands in the place of the preset `tiny`, so that the studies take seconds."""
    learner = TrainConfig(
        steps=6, batch_size=4, optimizer="muon", learning_rate=1e-2, warmup=2, schedule="cosine", ema=0.9,
        precision="no", save_every=3, log_every=1,
    )  # fmt: skip
    return replace(
        presets.tiny(),
        dim=16,
        heads=2,
        latent_depth=1,
        condition_depth=1,
        latent_tokens=2,
        latent_channels=4,
        pairs=PairSampling(law="beta"),
        train_latent=learner,
        train=replace(learner, optimizer="adamw"),
    )


_EXTRAS = {"draws": 2, "mean_weight": 1.0, "token_weight": 1.0}
CHOICES: tuple[tuple[dict[str, Any], Any], ...] = (
    (rla_wm_training._FLOW_DEPTH, 1),
    (rla_wm_training._EXTRAS, _EXTRAS),
    (lawm._ENCODER_DEPTH, 1),
    (rae._HEAD, 32),
    (video_diffusion._WIDTHS, (8, 16)),
    (video_diffusion._STEPS, 2),
    (unet._CHANNELS, (16, 8, 8, 8)),
    (unet._RECIPES, replace(small_preset().train)),
)
"""What single models choose for the preset."""


def _rows(results: dict[str, Any]) -> dict[str, Any]:
    """Mean and interval of every row, by what tells rows apart; of sampled ones the mean alone.

    Rows of a study with one subset, chunk or sampler were stored without it: they are found without it, too.
    """
    found: dict[str, Any] = {}
    for row in results["rows"]:
        name = row.get("run", row.get("model"))
        values = [row["mean"]] if name in SAMPLED else [row["mean"], row["low"], row["high"]]
        sampler, metric = [row.get("solver"), row.get("steps")], row["metric"]
        for parts in (
            [name, *sampler, metric],
            [name, metric],
            [name, *sampler, metric, row.get("chunk")],
            [name, *sampler, metric, row.get("chunk"), row.get("subset")],
        ):
            found.setdefault("/".join(str(part) for part in parts if part is not None), values)
    return found


def costs_of_preset(preset: str, variant: str) -> dict[str, Any]:
    """What `foreact cost --json` prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        main(["cost", "--preset", preset, "--variant", variant, "--json"])
    return dict(json.loads(printed.getvalue()))


def differences(stored: Any, found: Any, tolerance: float) -> Iterator[tuple[str, Any, Any, bool]]:
    """What differs: study and row, stored value, present value, and whether it depends on sampling noise."""
    for study, rows in stored.items():
        for key, old in rows.items():
            new = found[study].get(key)
            if not key.endswith(": flops") and not _same(old, new, tolerance):
                yield f"{study}: {key}", old, new, re.split("[/:]", key)[0] in SAMPLED


def _same(old: Any, new: Any, tolerance: float) -> bool:
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(_same(a, b, tolerance) for a, b in zip(old, new, strict=True))
    if isinstance(old, float) and isinstance(new, float | int):
        return math.isclose(old, new, rel_tol=tolerance, abs_tol=tolerance) or (math.isnan(old) and math.isnan(new))
    return bool(old == new)


def _compare() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tolerance", type=float, default=1e-4, help="of numbers, relative and absolute")
    parser.add_argument("--only", choices=("cost", "studies"), help="leave out the rest")
    asked = parser.parse_args()
    stored: dict[str, Any] = {}
    found: dict[str, Any] = {}
    if asked.only != "studies":
        stored["cost"] = json.loads(COSTS.read_text())
        found["cost"] = {name: costs_of_preset(*name.split("/")) for name in stored["cost"]}
    if asked.only != "cost":
        stored |= json.loads(STUDIES.read_text())["results"]
        stored.pop("claims")  # their tables hold values now, of other control pairs
        with tempfile.TemporaryDirectory() as scratch:
            found |= measure_studies(Path(scratch))
    wrong = 0
    for row, old, new, sampled in differences(stored, found, asked.tolerance):
        wrong += not sampled
        print(f"{'sampled' if sampled else 'DIFFERS'}  {row}: {old} -> {new}")
    print(f"{sum(map(len, stored.values()))} rows compared, {wrong} differ that must not")
    return int(wrong > 0)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    sys.exit(_compare())
