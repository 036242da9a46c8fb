from __future__ import annotations

import os

import pytest
import torch

from foreact.core.contracts import Encoder
from foreact.core.errors import ForeactError
from foreact.core.pretrained import meta_build, state_hash
from foreact.encoders.base import BUNDLED, check_size, resize
from foreact.encoders.loading import load_encoder
from foreact.encoders.tiny import TinyEncoder, TinyEncoderConfig

SMALL = TinyEncoderConfig(stem=(5, 7, 11), dim=12, depth=2, heads=3, image_size=48)


@pytest.fixture
def frames():
    return torch.randint(0, 256, (3, 53, 71, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_tokens_are_normalised_and_free_of_gradients(frames):
    encoder = SMALL.build()
    tokens = encoder.encode(frames)
    assert isinstance(encoder, Encoder)
    assert tokens.shape == (3, 9, 12) == (3, encoder.spec.count, encoder.spec.channels)
    assert not tokens.requires_grad
    torch.testing.assert_close(tokens.mean(-1), torch.zeros(3, 9), atol=1e-5, rtol=0)
    torch.testing.assert_close(tokens.var(-1, unbiased=False), torch.ones(3, 9), atol=1e-2, rtol=0)


def test_each_frame_is_encoded_by_itself(frames):
    encoder = SMALL.build()
    alone = torch.cat([encoder.encode(frame[None]) for frame in frames])
    torch.testing.assert_close(encoder.encode(frames), alone, atol=1e-5, rtol=1e-5)


def test_masked_patches_start_as_the_mask_token():
    encoder = SMALL.build()
    images = torch.randn(2, 3, 48, 48)
    everything, token = torch.ones(2, 9, dtype=torch.bool), torch.randn(12)
    hidden = encoder(images, everything, token)
    torch.testing.assert_close(hidden[0], hidden[1])
    assert not torch.allclose(encoder(images)[0], encoder(images)[1])


def test_a_saved_encoder_loads_by_folder_with_the_same_fingerprint(tmp_path, frames):
    encoder = SMALL.build()
    encoder.save_pretrained(tmp_path, half=True)
    loaded = load_encoder(str(tmp_path), image_size=48)
    assert loaded.spec == encoder.spec
    assert loaded.spec.encoder == str(tmp_path)
    torch.testing.assert_close(loaded.encode(frames), encoder.encode(frames), atol=2e-2, rtol=2e-2)
    assert not any(p.requires_grad for p in loaded.parameters())


def test_fingerprint_follows_weights_and_size():
    encoder = SMALL.build()
    first = encoder.spec.fingerprint
    assert first == f"tiny@{state_hash(encoder)}/last-ln/48"
    with torch.no_grad():
        encoder.stem[0].weight[0, 0, 0, 0] += 1
    assert encoder.spec.fingerprint != first
    encoder.image_size = 64
    assert encoder.spec.fingerprint.endswith("/64")
    assert encoder.spec.grid == (4, 4)


def test_another_model_is_no_encoder(tmp_path):
    (tmp_path / "config.json").write_text('{"schema": 1, "kind": "rla", "config": {}}')
    with pytest.raises(ForeactError):
        load_encoder(str(tmp_path), image_size=48)


def test_sizes_and_frames_that_do_not_fit(frames):
    with pytest.raises(
        ForeactError, match="image size 100 is not a multiple of tiny's patch of 16 px: use for instance 96"
    ):
        load_encoder("tiny", image_size=100)
    with pytest.raises(ForeactError, match="use for instance 16"):
        check_size(0, 16, "x")
    with pytest.raises(ValueError, match="uint8"):
        resize(frames.float(), 48)
    with pytest.raises(ValueError, match="uint8"):
        resize(frames.permute(0, 3, 1, 2), 48)


def test_resize_squashes_and_leaves_fitting_frames_alone(frames):
    assert resize(frames, 32).shape == (3, 3, 32, 32)
    square = frames[:, :48, :48]
    torch.testing.assert_close(resize(square, 48), square.permute(0, 3, 1, 2) / 255)
    grey = torch.full((1, 60, 90, 3), 77, dtype=torch.uint8)
    torch.testing.assert_close(resize(grey, 48), torch.full((1, 3, 48, 48), 77 / 255))


def test_the_architecture_is_as_small_as_promised():
    assert meta_build(TinyEncoderConfig()).num_parameters() <= 3_000_000


def test_the_bundled_weights():
    encoder = load_encoder("tiny", image_size=96)
    assert isinstance(encoder, TinyEncoder)
    assert os.path.getsize(BUNDLED / "tiny" / "model.safetensors") <= 6_000_000
    assert encoder.spec.grid == (6, 6)
    assert encoder.spec.encoder == "tiny"
    black_and_white = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 96, 96, 3)
    tokens = encoder.encode(black_and_white)
    assert tokens.isfinite().all()
    assert (tokens[0] - tokens[1]).abs().mean() > 0.1
