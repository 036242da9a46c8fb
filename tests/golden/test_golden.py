"""Models and runs of before the rooms were moved (commit 8e8e883): they load, say the same numbers, and go on."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from foreact.core import presets
from foreact.core.batch import Batch, FrameBatch
from foreact.core.errors import ForeactError
from foreact.core.pretrained import load_model
from foreact.training.run import TrainRequest, run_training
from foreact.world_models import rla_wm_training
from foreact.world_models.rla_wm_training import RLAWMTraining

HERE = Path(__file__).parent
MODELS = sorted(folder.name for folder in (HERE / "models").iterdir())
OLD = {"rtol": 2e-5, "atol": 2e-5}
"""The same numbers to the bit on the machine that wrote them."""
ROUNDED = {"rae": 1e-4, "video_diffusion": 5e-4}
"""Samplers whose steps amplify the rounding of float32: how far the old numbers lie from those of double precision (5.9e-5 and
2.9e-4 were measured). Their predictions are made in double precision, which is the same on every machine."""


def said(model, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What a model says to the golden inputs."""
    if "frames" in inputs:
        frames = FrameBatch(frames=inputs["frames"], tokens=inputs["tokens_t"])
        found, losses = {"decode": model.decode(inputs["tokens_t"])}, model.loss(frames, torch.Generator())
    else:
        noise = inputs.pop("noise", None)
        batch, found = Batch(**inputs), {}
        losses = model.loss(batch, torch.Generator().manual_seed(7))
        if noise is None:
            found["infer"] = model.infer(batch.tokens_t, batch.tokens_th)
            found["decode"] = model.decode(batch.tokens_t, found["infer"])
        else:
            found["predict"] = model.predict(batch.tokens_t, batch.require_actions(), batch.lengths, noise)
    return found | {f"loss/{name}": value for name, value in losses.items()}


def predicted_exactly(model, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """A world model's prediction in double precision."""
    exact = {key: value.double() if value.is_floating_point() else value for key, value in inputs.items()}
    noise = exact.pop("noise")
    batch = Batch(**exact)
    return model.double().predict(batch.tokens_t, batch.require_actions(), batch.lengths, noise)


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_old_models_say_the_same(name):
    folder = HERE / "models" / name
    golden = safetensors.torch.load_file(folder / "golden.safetensors")
    inputs = {key.removeprefix("in/"): value for key, value in golden.items() if key.startswith("in/")}
    wanted = {key.removeprefix("out/"): value for key, value in golden.items() if key.startswith("out/")}
    found = said(load_model(folder), dict(inputs))
    assert found.keys() == wanted.keys()
    if name in ROUNDED:
        exact = predicted_exactly(load_model(folder), inputs)
        torch.testing.assert_close(exact, wanted.pop("predict").double(), rtol=0, atol=ROUNDED[name])
    for key, value in wanted.items():
        torch.testing.assert_close(found[key], value, **OLD, msg=lambda text, key=key: f"{name} {key}: {text}")


@pytest.fixture
def sizes(monkeypatch):
    """The preset that the old runs were made with."""
    old = presets.tiny()
    train = replace(
        old.train, steps=6, batch_size=4, save_every=3, log_every=1, optimizer="adamw", learning_rate=1e-3, warmup=2,
        precision="no", ema=0.9,
    )  # fmt: skip
    small = replace(
        old, dim=16, heads=2, latent_depth=1, condition_depth=1, latent_tokens=2, latent_channels=4, image_size=32,
        train=train, train_latent=train,
    )  # fmt: skip
    monkeypatch.setitem(presets.PRESETS, "tiny", lambda: small)
    monkeypatch.setitem(rla_wm_training._FLOW_DEPTH, "tiny", 1)


@contextmanager
def silent(title, unit):
    yield lambda done, total, values=None: None


def resume(kind: str, tmp_path: Path, rla: Path | None = None) -> Path:
    run = tmp_path / kind
    shutil.copytree(HERE / "runs" / "stopped" / kind, run)
    shutil.copytree(HERE / "runs" / "cache", tmp_path / "cache")  # encoded in bf16, which not every machine does
    options = RLAWMTraining(rla=rla) if rla else None
    request = TrainRequest(kind=kind, data=HERE / "data", out=run, options=options, cache=tmp_path / "cache")
    run_training(request, silent)
    return run


@pytest.mark.usefixtures("sizes")
@pytest.mark.parametrize("kind", ["rla", "rla-wm"])
def test_old_runs_go_on_as_they_would_have(kind, tmp_path):
    finished = HERE / "runs" / "finished" / kind
    run = resume(kind, tmp_path, HERE / "runs" / "finished" / "rla" if kind == "rla-wm" else None)
    then, now = ([json.loads(line) for line in (f / "log.jsonl").read_text().splitlines()] for f in (finished, run))
    assert [line["step"] for line in now] == [1, 2, 3, 4, 5, 6]
    for name in ("loss", "gradient_norm"):
        assert [line[name] for line in now] == pytest.approx([line[name] for line in then], rel=1e-4)
    assert now[-1]["held_out_loss"] == pytest.approx(then[-1]["held_out_loss"], rel=1e-4)
    old, new = load_model(finished).state_dict(), load_model(run).state_dict()
    assert old.keys() == new.keys()
    for key, value in old.items():
        noisy = key.endswith(
            "attention.qkv.bias"
        )  # a key's bias has no gradient but rounding, which AdamW makes steps of
        torch.testing.assert_close(new[key], value, rtol=1e-3, atol=1e-3 if noisy else 1e-5)


@pytest.mark.usefixtures("sizes")
def test_an_old_run_is_not_continued_over_another_rla(tmp_path):
    other = tmp_path / "other"
    shutil.copytree(HERE / "runs" / "finished" / "rla", other)
    weights = safetensors.torch.load_file(other / "model.safetensors")
    weights["encoder.out.bias"] += 0.1
    safetensors.torch.save_file(weights, other / "model.safetensors")
    with pytest.raises(ForeactError, match=r"begun with another rla.*--rla"):
        resume("rla-wm", tmp_path, other)
