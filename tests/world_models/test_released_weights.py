"""Weights that RLA-WM's authors released: models made of them say what a twin of the released networks says, or are refused."""

from __future__ import annotations

import pickle
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import released_twin as twin
import safetensors.torch
import torch

from foreact.cli import main
from foreact.core.pretrained import load_model
from foreact.core.token_spec import TokenSpec
from foreact.dreams.imagination import load
from foreact.encoders.tiny import TinyEncoderConfig
from foreact.world_models.released_weights import make_image_decoder, make_rla, make_world_model

TOKENS = TokenSpec(grid=(2, 2), channels=twin.C, fingerprint="test@0", encoder="tiny", image_size=32)
CLOSE = {"rtol": 1e-6, "atol": 1e-5}
"""Near enough that GELU and its approximation are told apart."""
ENCODER, DECODER = twin.transformer(twin.Z), twin.transformer(twin.C) | twin.linear("token_proj", twin.Z, twin.D)
H = 6


def parts(tokens: int = twin.C) -> dict[str, dict[str, torch.Tensor]]:
    shapes = {
        "encoder": ENCODER,
        "decoder": DECODER,
        "flow_model": twin.world_model(tokens),
        "image": twin.image_decoder(),
    }
    return {name: twin.checkpoint(shape, seed) for seed, (name, shape) in enumerate(shapes.items())}


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.fixture
def seen(tmp_path):
    """Folders as the authors released them, and an encoder whose tokens fit; the options that name these."""
    TinyEncoderConfig(stem=(4, 4, 4), dim=twin.C, depth=1, heads=2).build().save_pretrained(tmp_path / "eyes")
    there = parts()
    for folder, names in {"rla": ("encoder", "decoder"), "wm": ("flow_model",), "image": ("decoder",)}.items():
        (tmp_path / folder / "ckpts").mkdir(parents=True)
        for name in names:
            weights = there["image" if folder == "image" else name]
            torch.save(weights, tmp_path / folder / f"ckpts/{name}_step0000200.pt")
    return ["--encoder", str(tmp_path / "eyes"), "--image-size", "32", "--heads", str(twin.HEADS), "--horizon", str(H)]


def words(folder: Path, seen: list[str], *names: str) -> list[str]:
    given = {"rla": "rla", "rla-wm": "wm", "image-decoder": "image"}
    sources = [word for name in names for word in (f"--{name}", str(folder / given[name]))]
    return ["import-weights", *sources, *seen, "--out", str(folder / "out")]


@torch.no_grad()
def test_imported_models_say_what_the_released_networks_say(seen, tmp_path):
    """From their files to ours, from disk; the last step counts."""
    torch.save({"tokens": torch.zeros(1)}, tmp_path / "rla/ckpts/encoder_step0000100.pt")
    torch.save({"tokens": torch.zeros(1)}, tmp_path / "rla/ckpts/encoder_step0000300.pt")  # without its decoder
    main(words(tmp_path, seen, "rla", "rla-wm", "image-decoder"))
    there, out = parts(), tmp_path / "out"
    rla, world, images = (load_model(out / name).double() for name in ("rla", "rla-wm-released", "image-decoder"))
    s_t, s_th, noise = random(2, 4, twin.C), random(3, 4, twin.C)[:2], random(2, twin.Q, twin.Z)
    actions, lengths = random(2, H, twin.A), torch.tensor([2, H])
    z = twin.encode(there["encoder"], s_th - s_t)
    torch.testing.assert_close(rla.infer(s_t, s_th), z, **CLOSE)
    torch.testing.assert_close(world.infer_latent(s_t, s_th), z / 10, **CLOSE)
    torch.testing.assert_close(rla.decode(s_t, z), twin.decode(there["decoder"], s_t, z), **CLOSE)
    sampled = twin.sample(there["flow_model"], s_t, actions, lengths, noise)
    found = world.transport(s_t, actions, lengths, noise, steps=twin.STEPS)
    torch.testing.assert_close(10 * found, sampled, **CLOSE)
    torch.testing.assert_close(world.decode_latent(s_t, found), twin.decode(there["decoder"], s_t, sampled), **CLOSE)
    torch.testing.assert_close(images(s_t).double(), twin.draw(there["image"], s_t, (2, 2)), **CLOSE)
    assert (world.config.steps, world.config.time_law, world.config.extras.l1_weight) == (30, "logit_normal", 1.0)
    assert (world.config.horizon, world.config.action_dim) == (H, twin.A)


def test_imported_models_imagine_together(seen, tmp_path):
    main(words(tmp_path, seen, "rla", "rla-wm", "image-decoder"))
    future = load(tmp_path / "out").imagine(np.zeros((32, 32, 3), np.uint8), np.zeros((4, twin.A)), chunk=2)
    assert future.frames.shape == (2, 32, 32, 3)


def test_half_precision_safetensors_and_a_wrapped_state_dict_are_read(seen, tmp_path):
    halves = {name: tensor.half() for name, tensor in parts()["image"].items()}
    safetensors.torch.save_file(halves, tmp_path / "image.safetensors")
    torch.save({"model_state_dict": parts()["image"]}, tmp_path / "image.pt")
    found = []
    for file in ("image.safetensors", "image.pt"):
        out = tmp_path / file.replace(".", "-")
        main(["import-weights", "--image-decoder", str(tmp_path / file), *seen, "--out", str(out)])
        found.append(load_model(out / "image-decoder")(random(1, 4, twin.C).float()))
    torch.testing.assert_close(*found, rtol=0, atol=0.05)


@torch.no_grad()
def test_tokens_as_wide_as_the_network_are_not_projected():
    there, tokens = parts(twin.D), replace(TOKENS, channels=twin.D)
    wide = {"input_layer.weight": (twin.D, twin.D)}
    encoder = twin.checkpoint(ENCODER | wide, 0)
    decoder = twin.checkpoint(DECODER | wide | twin.linear("out_layer", twin.D, twin.D), 1)
    world = make_world_model(there["flow_model"], make_rla(encoder, decoder, tokens, heads=4), heads=4, horizon=H)
    s_t, actions, lengths = random(2, 4, twin.D), random(2, H, twin.A), torch.tensor([1, H])
    expected = twin.condition(there["flow_model"], s_t, actions, lengths)
    torch.testing.assert_close(world.double().condition_tokens(s_t, actions, lengths), expected, **CLOSE)


@torch.no_grad()
def said(there: dict[str, dict[str, torch.Tensor]]) -> torch.Tensor:
    """By the models made of these parts, all in one row."""
    rla = make_rla(there["encoder"], there["decoder"], TOKENS, heads=4)
    world = make_world_model(there["flow_model"], rla, heads=4, horizon=H)
    s_t, actions, noise = random(1, 4, twin.C), random(1, H, twin.A), random(1, twin.Q, twin.Z)
    z = rla.double().infer(s_t, random(2, 4, twin.C)[:1])
    future = world.double().transport(s_t, actions, torch.tensor([H]), noise, steps=2)
    images = make_image_decoder(there["image"], TOKENS).double()(s_t)
    return torch.cat([x.flatten() for x in (z, rla.decode(s_t, z), future, images.double())])


@pytest.mark.parametrize(
    ("part", "one", "other"),
    [
        ("encoder", "blocks.0.attn.in_proj_weight", "blocks.1.attn.in_proj_weight"),
        ("decoder", "blocks.0.mlp.2.bias", "norm_out.bias"),
        ("flow_model", "cond_blocks.0.cond_proj.weight", "cond_blocks.0.attn.out_proj.weight"),
        ("flow_model", "flow_blocks.0.self_attn.in_proj_weight", "flow_blocks.0.cross_attn.in_proj_weight"),
        ("flow_model", "flow_blocks.1.norm2.weight", "flow_norm_out.weight"),
        ("image", "up4.resblock.1.conv2.weight", "out_conv.0.conv1.weight"),
    ],
)
def test_two_tensors_that_change_places_are_noticed(part, one, other):
    """So the comparison with the twin would find a wrong line in the tables."""
    there = parts()
    expected = said(there)
    there[part][one], there[part][other] = there[part][other], there[part][one]
    assert (said(there) - expected).abs().max() > 100 * CLOSE["atol"]


class Code:
    """A pickle of it would run something."""

    def __reduce__(self):
        return print, ("run",)


def edited(part: str, *, add: dict[str, torch.Tensor] | None = None, drop: str = ""):
    """Changes a checkpoint: puts tensors in, or takes out those whose names begin alike."""

    def fault(root: Path) -> None:
        path = next(root.glob(f"*/ckpts/{part}_step*.pt"))
        weights = {name: tensor for name, tensor in torch.load(path).items() if not drop or not name.startswith(drop)}
        torch.save(weights | (add or {}), path)

    return fault


def written(content: bytes):
    return lambda root: (root / "wm/ckpts/flow_model_step0000200.pt").write_bytes(content)


def nothing(root: Path) -> None:
    """The fault is in the options."""


def an_older_decoder_alone(root: Path) -> None:
    there = root / "rla/ckpts/decoder_step0000200.pt"
    there.rename(there.with_name("decoder_step0000100.pt"))


def a_model_where_one_is_to_be(root: Path) -> None:
    TinyEncoderConfig(stem=(4, 4, 4), dim=8, depth=1, heads=2).build().save_pretrained(root / "out/rla-wm-released")


FAULTS = {
    "missing": (edited("flow_model", drop="flow_blocks.1.norm2.bias"), [],
                r"flow_model_step0000200\.pt: world model: the checkpoint has no tensor that becomes flow\.blocks\.1\.norm_cross\.bias"),
    "missing sizes": (edited("encoder", drop="tokens"), [], "has no tokens: not the part"),
    "no blocks": (edited("encoder", drop="blocks"), [], "has no blocks"),
    "strange": (edited("flow_model", add={"centroid": torch.ones(3)}), [], "does not have, such as centroid: another model"),
    "deeper": (edited("encoder", add={"blocks.2.mlp.0.bias": torch.ones(64)}), [], "no tensor that becomes blocks"),
    "shape": (edited("encoder", add={"blocks.1.mlp.0.bias": torch.ones(65)}), [],
              r"encoder: what becomes blocks\.1\.mlp\.0\.bias has the shape \(65,\), not \(64,\)"),
    "two robots": (edited("flow_model", add={"qpos_encoders.7.gru.bias_hh_l0": torch.ones(48)}), [], r"of \['1', '7'\]"),
    "another z": (edited("flow_model", add={"flow_latent_proj.weight": torch.ones(16, 9)}), [], "z of 9 channels, its RLA has 5"),
    "more than tensors": (lambda root: torch.save({"step": 3}, root / "wm/ckpts/flow_model_step0000200.pt"), [],
                          "holds more than tensors by name"),
    "pickle": (written(pickle.dumps(Code())), [], "no checkpoint of tensors alone .* would run code is not opened"),
    "damaged": (written(b"PK\x03\x04"), [], "no checkpoint of tensors alone"),
    "steps": (an_older_decoder_alone, ["--rla", "ROOT/rla/ckpts"], "no folder with checkpoints such as .*, of one step"),
    "another part": (nothing, ["--image-decoder", "ROOT/rla"], "has no input_proj.0.weight: not the part"),
    "no folder": (nothing, ["--rla", "ROOT/none"], "none is no folder"),
    "encoder": (nothing, ["--encoder", "tiny"], "reads tokens of 8 channels, tiny gives 192"),
    "no encoder": (nothing, ["--encoder", "nowhere"], "nowhere: no such encoder.*--shapes-only"),
    "heads": (nothing, ["--heads", "5"], "width 16 is not a multiple of 5 heads; see --heads"),
    "taken": (a_model_where_one_is_to_be, [], "rla-wm-released holds a model already"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_fit_is_one_clear_error_and_nothing_is_written(fault, seen, tmp_path, capsys):
    spoil, options, said_of_it = FAULTS[fault]
    spoil(tmp_path)
    more = [word.replace("ROOT", str(tmp_path)) for word in options]
    with pytest.raises(SystemExit) as ended:
        main([*words(tmp_path, seen, "rla", "rla-wm", "image-decoder"), *more])
    captured = capsys.readouterr()
    assert ended.value.code == 2
    assert len(captured.err.splitlines()) == 1
    assert re.search(said_of_it, captured.err)
    assert "run" not in captured.out.split()
    assert not (tmp_path / "out/rla").exists()


@pytest.mark.parametrize("names", [(), ("rla-wm",), ("rla-wm", "image-decoder")])
def test_a_world_model_needs_its_autoencoder(names, seen, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(words(tmp_path, seen, *names))
    assert "name --rla" in capsys.readouterr().err


def test_shapes_are_enough_where_the_encoder_cannot_be_had(seen, tmp_path):
    """DINOv3's weights must be asked for; its sizes are known."""
    small = "facebook/dinov3-vits16-pretrain-lvd1689m"
    weights = twin.image_decoder() | twin.convolution("input_proj.0", 384, 128)
    torch.save(twin.checkpoint(weights, 0), tmp_path / "wide.pt")
    options = ["--image-decoder", str(tmp_path / "wide.pt"), "--encoder", small, "--image-size", "64", "--shapes-only"]
    main(["import-weights", *options, "--out", str(tmp_path / "out")])
    tokens = load_model(tmp_path / "out/image-decoder").config.tokens
    assert (tokens.grid, tokens.channels, tokens.encoder) == ((4, 4), 384, small)
