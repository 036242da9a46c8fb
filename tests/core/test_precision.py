"""bf16 where it pays: asked once, followed by training, caches and the rate that training is measured against."""

import pytest
import torch

from foreact.core import machine, precision
from foreact.training import loop


def test_the_faster_product_is_chosen_and_measured_once(monkeypatch):
    asked = []

    def slow_bf16(a):
        asked.append(a.dtype)
        return 3.0 if a.dtype == torch.bfloat16 else 1.0

    monkeypatch.setattr(precision, "_seconds", slow_bf16)
    precision.bf16_pays.cache_clear()
    try:
        assert not precision.use_bf16("auto", "cpu")
        count = len(asked)
        assert not precision.use_bf16("auto", "cpu")
        assert len(asked) == count
        assert precision.use_bf16("bf16", "cpu")
        assert not precision.use_bf16("no", "cpu")
        monkeypatch.setattr(precision, "_seconds", lambda a: 1.0 if a.dtype == torch.bfloat16 else 3.0)
        precision.bf16_pays.cache_clear()
        assert precision.use_bf16("auto", "cpu")
    finally:
        precision.bf16_pays.cache_clear()


def test_asking_leaves_random_numbers_alone():
    precision.bf16_pays.cache_clear()
    torch.manual_seed(0)
    wanted = torch.rand(3)
    torch.manual_seed(0)
    precision.bf16_pays("cpu")
    assert torch.equal(torch.rand(3), wanted)


@pytest.mark.parametrize("pays", [False, True])
def test_the_rate_of_a_machine_without_bf16_is_that_of_float32(monkeypatch, pays):
    seen = []
    monkeypatch.setattr(machine, "bf16_pays", lambda device: pays)
    monkeypatch.setattr(machine, "synchronise", lambda device: seen.append(device))
    made = torch.randn
    dtypes = []

    def randn(*shape, device):
        tensor = made(*shape, device=device)
        tensor.to = lambda dtype: dtypes.append(dtype) or tensor.type(dtype)
        return tensor

    monkeypatch.setattr(machine.torch, "randn", randn)
    machine.matmul_rate.cache_clear()
    assert machine.matmul_rate(torch.device("cpu"), size=8, repeats=1) > 0
    assert set(dtypes) == {torch.bfloat16 if pays else torch.float32}
    assert seen


@pytest.mark.parametrize(("pays", "resolved"), [(False, "no"), (True, "bf16")])
def test_a_run_keeps_the_precision_that_it_was_trained_in(tmp_path, monkeypatch, pays, resolved):
    monkeypatch.setattr(loop, "use_bf16", lambda asked, device: pays)
    run = loop._Run(*toy(), tmp_path)
    assert run.about["train"]["precision"] == resolved
    assert run.loss._bf16 is pays


def toy():
    model = torch.nn.Linear(2, 1)
    task = loop.Task(
        model=model, loss=lambda m, b, g: {"loss": m(b).mean()}, batches=lambda *a: torch.zeros(2, 2), export=lambda folder: None, about={}
    )  # fmt: skip
    return task, loop.TrainConfig(steps=1, batch_size=2)
