"""The image decoder: shapes, what it learns, sizes that do not fit."""

import pytest
import torch

from foreact.core.pretrained import meta_build
from foreact.core.token_spec import TokenSpec
from foreact.decoders.unet import ImageDecoderConfig

TOKENS = TokenSpec(grid=(3, 5), channels=24, fingerprint="test@0", encoder="tiny", image_size=48)
CONFIG = ImageDecoderConfig(tokens=TOKENS, channels=(16, 8), blocks=1)


def test_each_stage_doubles_the_resolution():
    decoder = CONFIG.build()
    images = decoder.decode(torch.randn(2, 15, 24))
    assert images.shape == (2, 12, 20, 3)
    assert CONFIG.image_size == (12, 20)
    assert images.min() >= 0
    assert images.max() <= 1


def test_it_learns_to_draw_what_the_tokens_say():
    torch.manual_seed(0)
    decoder = CONFIG.build()
    tokens = torch.randn(16, 15, 24)
    bright = (tokens[..., 0] > 0).float().view(16, 3, 5, 1).repeat_interleave(4, 1).repeat_interleave(4, 2)
    frames = (bright.expand(-1, -1, -1, 3) * 255).to(torch.uint8)
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=5e-3)
    first = None
    for _ in range(60):
        scalars = decoder.loss(tokens, frames)
        first = first or scalars["l1"].item()
        optimizer.zero_grad()
        scalars["loss"].backward()
        optimizer.step()
    assert first == pytest.approx(0.5, abs=0.02)  # it starts grey
    assert scalars["l1"] < 0.1


def test_paper_decoder_ends_at_the_frames_size():
    tokens = TokenSpec(grid=(32, 32), channels=1024, fingerprint="", encoder="", image_size=512)
    config = ImageDecoderConfig(tokens=tokens)
    assert config.image_size == (512, 512)
    assert meta_build(config).num_parameters() == pytest.approx(71e6, rel=0.02)
