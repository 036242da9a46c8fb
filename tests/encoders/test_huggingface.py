from __future__ import annotations

import io
import json
import logging as stdlib_logging

import pytest
import torch
import transformers

from foreact.core.errors import ForeactError
from foreact.encoders.huggingface import IMAGENET, HuggingFaceEncoder
from foreact.encoders.loading import load_encoder

SMALL = {"hidden_size": 24, "intermediate_size": 28, "num_hidden_layers": 2, "num_attention_heads": 2}


def _models():
    convnext = {"hidden_sizes": [8, 12, 16, 24], "depths": [1, 1, 1, 1]}
    return {
        "dinov3": transformers.DINOv3ViTModel(
            transformers.DINOv3ViTConfig(**SMALL, patch_size=16, num_register_tokens=4, image_size=48)
        ),
        "dinov2": transformers.Dinov2Model(transformers.Dinov2Config(**SMALL, patch_size=14, image_size=42)),
        "dinov2_registers": transformers.Dinov2WithRegistersModel(
            transformers.Dinov2WithRegistersConfig(**SMALL, patch_size=14, image_size=42, num_register_tokens=3)
        ),
        "vit": transformers.ViTModel(transformers.ViTConfig(**SMALL, patch_size=8, image_size=24)),
        "siglip": transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**SMALL, patch_size=8, image_size=24)),
        "dinov3_convnext": transformers.DINOv3ConvNextModel(transformers.DINOv3ConvNextConfig(**convnext)),
        "swin": transformers.SwinModel(
            transformers.SwinConfig(
                embed_dim=12, depths=[1, 1], num_heads=[1, 2], patch_size=4, window_size=3, image_size=48
            )
        ),
        "resnet": transformers.ResNetModel(
            transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic")
        ),
    }


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("checkpoints")
    for name, model in _models().items():
        model.save_pretrained(root / name)
    return root


@pytest.fixture
def frames():
    return torch.randint(0, 256, (3, 50, 71, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("name", "size", "grid", "dropped"),
    [
        ("dinov3", 80, 5, 5),
        ("dinov2", 70, 5, 1),
        ("dinov2_registers", 42, 3, 4),
        ("vit", 40, 5, 1),
        ("siglip", 40, 5, 0),
        ("dinov3_convnext", 96, 3, 1),
        ("swin", 48, 6, 0),
    ],
)
def test_tokens_are_the_patches_of_the_models_last_hidden_state(folders, frames, name, size, grid, dropped):
    encoder = load_encoder(str(folders / name), image_size=size)
    tokens = encoder.encode(frames)
    assert encoder.spec.grid == (grid, grid)
    assert tokens.shape == (3, grid * grid, 24) == (3, encoder.spec.count, encoder.spec.channels)

    images = torch.nn.functional.interpolate(
        frames.permute(0, 3, 1, 2) / 255, (size, size), mode="bilinear", antialias=True, align_corners=False
    )
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in IMAGENET)
    model = transformers.AutoModel.from_pretrained(folders / name).eval()
    options = {"interpolate_pos_encoding": True} if name in ("vit", "siglip", "swin") else {}
    with torch.no_grad():
        hidden = model(pixel_values=(images - mean) / std, **options).last_hidden_state
    assert hidden.shape[1] == dropped + grid * grid
    torch.testing.assert_close(tokens, hidden[:, dropped:], rtol=1e-4, atol=1e-5)


def test_feature_maps_become_tokens_in_row_major_order(folders, frames):
    encoder = load_encoder(str(folders / "resnet"), image_size=64)
    tokens = encoder.encode(frames)
    rows = encoder.spec.grid[0]
    assert tokens.shape == (3, rows * rows, 12)
    one = frames.clone()
    one[:, :, 36:] = 0  # blacken the right half: the first token of the first row stays the most alike
    change = (encoder.encode(one) - tokens).abs().mean((0, 2)).view(rows, rows).mean(0)
    assert change[0] < change[-1]


def test_dinov3_large_has_32_by_32_tokens_at_512_pixels():
    config = transformers.DINOv3ViTConfig(**SMALL, patch_size=16, num_register_tokens=4)
    encoder = HuggingFaceEncoder(transformers.DINOv3ViTModel(config), name="a/b", image_size=512)
    assert encoder.spec.grid == (32, 32)


def test_fingerprint_changes_with_weights_size_and_normalisation(folders, tmp_path):
    path = str(folders / "dinov3")
    spec = load_encoder(path, image_size=48).spec
    assert spec.fingerprint == load_encoder(path, image_size=48).spec.fingerprint
    seen = {spec.fingerprint, load_encoder(path, image_size=64).spec.fingerprint}
    other = transformers.AutoModel.from_pretrained(path)
    other.save_pretrained(tmp_path / "dinov3")
    assert load_encoder(str(tmp_path / "dinov3"), image_size=48).spec == spec
    (tmp_path / "dinov3" / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.5] * 3, "image_std": [0.5] * 3})
    )
    seen.add(load_encoder(str(tmp_path / "dinov3"), image_size=48).spec.fingerprint)
    with torch.no_grad():
        other.norm.bias[0] += 1
    other.save_pretrained(tmp_path / "changed" / "dinov3")
    seen.add(load_encoder(str(tmp_path / "changed" / "dinov3"), image_size=48).spec.fingerprint)
    assert len(seen) == 4


def test_the_preprocessors_normalisation_is_used(folders, frames, tmp_path):
    model = transformers.AutoModel.from_pretrained(folders / "vit").eval()
    model.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.25] * 3}))
    small = frames[:, :24, :24]
    with torch.no_grad():
        wanted = model(pixel_values=(small.permute(0, 3, 1, 2) / 255 - 0.5) / 0.25).last_hidden_state[:, 1:]
    torch.testing.assert_close(load_encoder(str(tmp_path), image_size=24).encode(small), wanted, rtol=1e-4, atol=1e-5)


def test_a_size_that_is_no_multiple_of_the_patch_is_one_clear_error(folders):
    with pytest.raises(
        ForeactError, match=r"image size 100 is not a multiple of .*dinov3's patch of 16 px: use for instance 96"
    ):
        load_encoder(str(folders / "dinov3"), image_size=100)


def test_a_classifiers_checkpoint_without_pooler_has_a_stable_fingerprint(tmp_path):
    transformers.ViTForImageClassification(
        transformers.ViTConfig(**SMALL, patch_size=8, image_size=24)
    ).save_pretrained(tmp_path)
    first, second = (load_encoder(str(tmp_path), image_size=24).spec for _ in range(2))
    assert first.fingerprint == second.fingerprint


def test_loading_is_silent_and_leaves_the_users_settings(tmp_path, capfd):
    from transformers.utils import logging

    config = transformers.ViTConfig(**SMALL, patch_size=8, image_size=24)
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path)  # lacks a pooler, has a head too many

    def said(load):
        """What `load` writes by itself, and what it logs, with bars on and warnings wanted."""
        handler = stdlib_logging.StreamHandler(log := io.StringIO())
        logging.add_handler(handler)
        try:
            capfd.readouterr()
            load()
        finally:
            logging.remove_handler(handler)
        return "".join(capfd.readouterr()), log.getvalue()

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_info()
    logging.enable_progress_bar()
    try:
        bars, warnings = said(lambda: transformers.AutoModel.from_pretrained(tmp_path))
        assert "Loading weights" in bars
        assert "pooler" in warnings
        assert said(lambda: load_encoder(str(tmp_path), image_size=24)) == ("", "")
        (tmp_path / "model.safetensors").unlink()
        with pytest.raises(ForeactError):
            load_encoder(str(tmp_path), image_size=24)
        assert logging.get_verbosity() == logging.INFO
        assert logging.is_progress_bar_enabled()
    finally:
        logging.set_verbosity(before[0])
        if not before[1]:
            logging.disable_progress_bar()


def test_missing_weights_and_pickles_are_refused(folders, tmp_path):
    (tmp_path / "config.json").write_text((folders / "dinov3" / "config.json").read_text())
    with pytest.raises(ForeactError, match="cannot be loaded as a vision model"):
        load_encoder(str(tmp_path), image_size=48)
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ForeactError, match=r"model\.safetensors"):
        load_encoder(str(tmp_path), image_size=48)


def test_a_model_of_text_is_refused(tmp_path):
    config = transformers.BertConfig(**SMALL, vocab_size=11)
    transformers.BertModel(config).save_pretrained(tmp_path)
    with pytest.raises(ForeactError, match="takes no images"):
        load_encoder(str(tmp_path), image_size=48)


def test_incomplete_weights_are_refused(folders, tmp_path):
    import safetensors.torch

    (tmp_path / "config.json").write_text((folders / "dinov3" / "config.json").read_text())
    state = safetensors.torch.load_file(folders / "dinov3" / "model.safetensors")
    state.pop(sorted(state)[-1])
    safetensors.torch.save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ForeactError, match="1 weights are missing"):
        load_encoder(str(tmp_path), image_size=48)


@pytest.mark.parametrize("name", ["nowhere", "./no/such/folder", "/no/such"])
def test_names_that_are_neither_folder_nor_hub_id(name):
    with pytest.raises(ForeactError, match="no such encoder"):
        load_encoder(name, image_size=48)


def test_a_layout_that_is_no_square_grid_is_refused():
    class Odd(torch.nn.Module):
        config = transformers.ViTConfig(**SMALL, patch_size=8)

        def forward(self, pixel_values):
            return transformers.modeling_outputs.BaseModelOutput(
                last_hidden_state=torch.zeros(len(pixel_values), 31, 24)
            )

    with pytest.raises(ForeactError, match="a/b: 31 tokens at 40 px are no square grid"):
        HuggingFaceEncoder(Odd(), name="a/b", image_size=40)


def test_gated_weights_say_what_to_do(monkeypatch):
    from huggingface_hub.errors import GatedRepoError

    def refuse(*args, **kwargs):
        raise OSError("cannot access\nand more") from GatedRepoError.__new__(GatedRepoError)

    monkeypatch.setattr(transformers.AutoModel, "from_pretrained", refuse)
    with pytest.raises(
        ForeactError, match=r"owner/model: its weights are gated: accept its licence .* `hf auth login`"
    ) as caught:
        load_encoder("owner/model", image_size=48)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "own"), [("dinov3", True), ("dinov2_registers", True), ("siglip", False)])
def test_the_class_token_or_the_mean_of_the_patches_comes_first(folders, frames, name, own):
    size = {"dinov3": 48, "dinov2_registers": 42, "siglip": 24}[name]
    plain, encoder = (load_encoder(f"{p}{folders / name}", image_size=size) for p in ("", "cls:"))
    tokens, patches = encoder.encode(frames), plain.encode(frames)
    torch.testing.assert_close(tokens[:, 1:], patches)
    assert torch.allclose(tokens[:, 0], patches.mean(dim=1), atol=1e-5) is not own
    assert encoder.spec.count == tokens.shape[1]
    assert encoder.spec != plain.spec
