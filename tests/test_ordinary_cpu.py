"""A CPU without bf16 instructions: nothing that foreact does by itself multiplies in half precision, which is emulated there."""

import re

import pytest
import torch
import transformers
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from foreact.cli import main
from foreact.core import machine, precision
from foreact.core.pretrained import load_model
from foreact.dreams.fast import FastWorldModel
from foreact.encoders.loading import load_encoder
from foreact.recordings.token_cache import encode_frames
from foreact.training.muon import orthogonalise

HALVES = (torch.bfloat16, torch.float16)
PRODUCT = re.compile(r"mm|mv|dot|matmul|linear|conv|attention|einsum")


class Products(TorchDispatchMode):
    """Counts products, those in half precision apart."""

    def __init__(self):
        super().__init__()
        self.whole, self.halved = 0, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        if PRODUCT.search(func.name()):
            tensors = [t for t in tree_leaves((args, kwargs, found)) if isinstance(t, torch.Tensor)]
            if any(t.dtype in HALVES for t in tensors):
                self.halved.append(func.name())
            else:
                self.whole += 1
        return found

    def assert_in_float32(self):
        """There are products, and none of them in half precision."""
        assert self.whole > 0
        assert not self.halved


@pytest.fixture(autouse=True)
def no_bf16(monkeypatch):
    """The probe finds bf16 slower, as on a CPU that emulates it."""
    monkeypatch.setattr(precision, "_seconds", lambda a: 3.0 if a.dtype == torch.bfloat16 else 1.0)
    precision.bf16_pays.cache_clear()
    machine.matmul_rate.cache_clear()
    yield
    precision.bf16_pays.cache_clear()
    machine.matmul_rate.cache_clear()


@pytest.fixture
def products(monkeypatch):
    """What is multiplied in the test; the rate of large products is measured on small ones."""
    monkeypatch.setattr(machine.matmul_rate.__wrapped__, "__kwdefaults__", {"size": 64, "repeats": 1})
    with Products() as counted:
        yield counted


def test_the_count_sees_products_in_half_precision():
    with Products() as counted:
        orthogonalise(torch.ones(2, 3), bf16=True)
        torch.nn.functional.conv2d(torch.ones(1, 1, 3, 3).half(), torch.ones(1, 1, 2, 2).half())
        torch.ones(2, 2) @ torch.ones(2, 2)
    assert len(counted.halved) >= 5
    assert counted.whole == 1


@pytest.mark.parametrize("model", ["rla", "rla-wm", "image-decoder"])
def test_training(place, tmp_path, products, model):
    root, common = place
    options = [*common[:2], "--encoder", str(root / "encoder"), "--cache", str(tmp_path / "cache"), "--batch-size", "4"]
    options += ["--rla", str(root / "runs/rla")] if model == "rla-wm" else []
    main(["train", model, *options, "--out", str(tmp_path / model), "--steps", "1"])
    products.assert_in_float32()


def test_imagination(place, products):
    model = load_model(place[0] / "runs/rla-wm")
    tokens, config = model.config.tokens, model.config
    start, actions = torch.zeros(2, tokens.count, tokens.channels), torch.zeros(2, config.horizon, config.action_dim)
    noise = model.draw_noise(2, torch.Generator())
    FastWorldModel(model).predict(start, actions, torch.full((2,), 3), noise)
    products.assert_in_float32()


@pytest.mark.parametrize("stored", [torch.float32, *HALVES])
def test_encoders_whatever_their_weights_are_stored_in(tmp_path, products, stored):
    sizes = {"hidden_size": 24, "intermediate_size": 28, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.Dinov2Config(**sizes, patch_size=14, image_size=42)
    transformers.Dinov2Model(config).to(stored).save_pretrained(tmp_path)
    for encoder in (load_encoder("tiny", image_size=32), load_encoder(str(tmp_path), image_size=42)):
        encode_frames(encoder, torch.zeros(2, 40, 40, 3, dtype=torch.uint8).numpy())
    products.assert_in_float32()


def test_evaluation_with_its_probe_and_timing(place, tmp_path, products):
    root, common = place
    runs = [str(root / "runs" / name) for name in ("rla-wm", "dino-wm")]
    main(["evaluate", *runs, *common[:4], "--out", str(tmp_path / "results.json"), "--starts", "1", "--samples", "2"])
    products.assert_in_float32()


def test_the_rate_of_the_machine(products):
    assert machine.matmul_rate(torch.device("cpu")) > 0
    products.assert_in_float32()
