"""On a GPU everything comes out as on a CPU, but for rounding: models, losses, gradients, fast paths, training, several GPUs."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lively import lively
from small_models import CONFIGS, FAST, batch_of, inputs, seeded

from foreact.core.batch import Batch, FrameBatch
from foreact.core.token_spec import TokenSpec
from foreact.decoders.unet import ImageDecoderConfig
from foreact.dreams.fast import FastWorldModel
from foreact.encoders.tiny import TinyEncoderConfig
from foreact.latent_actions.adaworld import AdaWorldConfig
from foreact.latent_actions.dino_cls import DinoCLSConfig
from foreact.latent_actions.lawm import LaWMConfig
from foreact.latent_actions.rla import RLAConfig
from foreact.latent_actions.univla import UniVLAConfig
from foreact.training.journal import read_log
from foreact.training.optimizers import build_optimizers

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")

GPU = "cuda"
CLOSE = {"atol": 1e-3, "rtol": 1e-3}  # float32 sums in another order
ROUNDED = 0.03  # of a prediction's change, what bf16 may add
TOY = [str(Path(__file__).parent / "training" / "toy.py")]
ALL = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)

SPEC = TokenSpec(grid=(3, 5), channels=7, fingerprint="test@0", encoder="tiny", image_size=48)
WITH_CLASS = TokenSpec(grid=(1, 10), channels=7, fingerprint="cls/test@0", encoder="cls:tiny", image_size=48)
SIZES: dict[str, Any] = {"dim": 44, "heads": 11}
LATENT_ACTIONS = {
    "rla": RLAConfig(tokens=SPEC, **SIZES, depth=2, latent_tokens=13, latent_channels=17, standardise=True),
    "univla": UniVLAConfig(tokens=SPEC, **SIZES, depth=2, latent_tokens=3, latent_channels=13, codes=5),
    "adaworld": AdaWorldConfig(tokens=SPEC, **SIZES, depth=2, latent_channels=13),
    "lawm": LaWMConfig(tokens=SPEC, dim=48, heads=4, encoder_depth=2, decoder_depth=2, latent_channels=11),
    "dino-cls": DinoCLSConfig(tokens=WITH_CLASS, **SIZES, depth=2),
}


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions in float32; matrix products are by default."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def on(device: str, tensors: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(t.to(device) for t in tensors)


def predict(model: Any, arguments: tuple[torch.Tensor, ...], *, device: str, seed: int = 0) -> torch.Tensor:
    """On a device from the CPU's noise, back on the CPU."""
    noise = model.draw_noise(len(arguments[0]), seeded(seed))
    with torch.no_grad():
        return model.predict(*on(device, (*arguments, noise))).cpu()


def moved(model: torch.nn.Module) -> Any:
    there = copy.deepcopy(model).to(GPU)
    assert {t.device.type for t in (*there.parameters(), *there.buffers())} == {GPU}
    return there


@ALL
def test_world_models_predict_what_they_predict_on_a_cpu(config: Any) -> None:
    model, arguments = lively(config), inputs(config=config)
    wanted = predict(model, arguments, device="cpu")
    torch.testing.assert_close(predict(moved(model), arguments, device=GPU), wanted, **CLOSE)


@ALL
def test_losses_and_gradients_of_world_models(config: Any) -> None:
    assert_same_gradients(lively(config).train(), batch_of(*inputs(config=config)))


@pytest.mark.parametrize("name", LATENT_ACTIONS)
def test_learners_of_latent_actions(name: str) -> None:
    config = LATENT_ACTIONS[name]
    model, shape = lively(config), (2, config.tokens.count, config.tokens.channels)
    s_t, s_th = torch.rand(shape, generator=seeded(1)), torch.rand(shape, generator=seeded(2))
    there = moved(model)
    with torch.no_grad():
        z, latent = model.infer(s_t, s_th), there.infer(*on(GPU, (s_t, s_th)))
        torch.testing.assert_close(latent.cpu(), z, **CLOSE)
        future = there.decode(s_t.to(GPU), latent).cpu()
        torch.testing.assert_close(future, model.decode(s_t, z), **CLOSE)
    assert_same_gradients(model.train(), Batch(tokens_t=s_t, tokens_th=s_th, lengths=torch.ones(2).long()))


def test_the_image_decoder_and_the_encoder() -> None:
    spec = TokenSpec(grid=(5, 5), channels=24, fingerprint="test@0", encoder="tiny", image_size=20)
    decoder, tokens = lively(ImageDecoderConfig(tokens=spec, channels=(16, 8), blocks=1)), torch.randn(2, 25, 24)
    frames = torch.randint(256, (2, 48, 64, 3), dtype=torch.uint8, generator=seeded())
    encoder = lively(TinyEncoderConfig(stem=(8, 8, 8), dim=24, depth=1, heads=3))
    with torch.no_grad():
        torch.testing.assert_close(moved(decoder).decode(tokens.to(GPU)).cpu(), decoder.decode(tokens), **CLOSE)
        torch.testing.assert_close(moved(encoder).encode(frames).cpu().float(), encoder.encode(frames).float(), **CLOSE)
    assert_same_gradients(decoder.train(), FrameBatch(frames=frames[:, :20, :20], tokens=tokens))


def assert_same_gradients(model: Any, batch: Any) -> None:
    """Of a loss whose noise is the CPU's on both."""
    there = moved(model)
    losses = [m.loss(batch.to(torch.device(device)), seeded())["loss"] for m, device in ((model, "cpu"), (there, GPU))]
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(losses[1].cpu(), losses[0], **CLOSE)
    here, far = (
        torch.cat([p.grad.flatten().cpu() for p in m.parameters() if p.grad is not None]) for m in (model, there)
    )
    assert (far - here).norm() < 2e-3 * here.norm()


@ALL
def test_the_fast_model_in_bf16(config: Any) -> None:
    model, arguments = moved(lively(config)), inputs(config=config)
    plain = predict(model, arguments, device=GPU)
    fast = predict(FastWorldModel(model, precision="bf16"), arguments, device=GPU)
    assert 0 < (fast - plain).norm() < ROUNDED * (plain - arguments[0]).norm()


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@pytest.mark.parametrize("name", ["fast", "released", "dino_wm", "fm_wm"])
def test_compiled_and_replayed_as_cuda_graphs(name: str, backend: str) -> None:
    """Inductor's graphs are CUDA graphs (mode reduce-overhead): a replay reads new inputs and leaves earlier outputs alone."""
    model = moved(lively(CONFIGS[name]))
    fast = FastWorldModel(model, precision="no", compile_for=2, backend=backend)
    batches = [inputs(), tuple(t.flip(0) for t in inputs())]
    wanted = [predict(model, batch, device=GPU, seed=k) for k, batch in enumerate(batches)]
    for _ in range(3):  # warm-up, recording, replay
        noises = [fast.draw_noise(2, seeded(k)) for k in range(2)]
        found = [fast.predict(*on(GPU, (*batch, noise))) for batch, noise in zip(batches, noises)]
        for ours, plain in zip(found, wanted):
            torch.testing.assert_close(ours.cpu(), plain, **CLOSE)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_few_steps_of_training_go_the_cpus_way(optimizer: Any) -> None:
    """Muon's products are in bf16 where that pays, as on a GPU."""
    losses = {}
    for device in ("cpu", GPU):
        model = lively(FAST).train().to(device)
        optimizers = build_optimizers(model, optimizer, learning_rate=3e-3, weight_decay=0.0)
        losses[device] = []
        for step in range(4):
            loss = model.loss(batch_of(*inputs(8)).to(torch.device(device)), seeded(step))["loss"]
            loss.backward()
            for each in optimizers:
                each.step()
                each.zero_grad()
            losses[device].append(loss.item())
    np.testing.assert_allclose(losses[GPU], losses["cpu"], rtol=0.02 if optimizer == "muon" else 2e-3)
    assert losses[GPU][-1] != losses[GPU][0]


def toy_losses(run: Path, *launcher: str, devices: str) -> list[float]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": devices}
    subprocess.run([sys.executable, *launcher, *TOY, str(run)], check=True, env=environment, timeout=300)
    return [line["loss"] for line in read_log(run)]


def test_the_training_loop(tmp_path: Path) -> None:
    one = toy_losses(tmp_path / "gpu", devices="0")
    np.testing.assert_allclose(one, toy_losses(tmp_path / "cpu", devices=""), rtol=1e-3)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU here")
def test_two_gpus_follow_one_with_twice_the_batch(tmp_path: Path) -> None:
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    two = toy_losses(tmp_path / "two", *launcher, devices="0,1")
    np.testing.assert_allclose(two, toy_losses(tmp_path / "one", devices="0"), rtol=1e-3)
    assert len(two) == 60
