"""The image decoder: shapes, what it learns, sizes that do not fit."""

import pytest
import torch

from foreact.core.batch import FrameBatch
from foreact.core.pretrained import meta_build
from foreact.core.token_spec import TokenSpec
from foreact.decoders.unet import ImageDecoderConfig

TOKENS = TokenSpec(grid=(5, 5), channels=24, fingerprint="test@0", encoder="tiny", image_size=20)
CONFIG = ImageDecoderConfig(tokens=TOKENS, channels=(16, 8), blocks=1)
DINOV2 = TokenSpec(grid=(9, 9), channels=24, fingerprint="test@0", encoder="dinov2", image_size=126)


def test_each_stage_doubles_the_resolution():
    decoder, sides = CONFIG.build(), []
    for layer in decoder.body:
        layer.register_forward_hook(lambda _, __, out: sides.append(out.shape[2:]))
    images = decoder.decode(torch.randn(2, 25, 24))
    assert list(dict.fromkeys(sides)) == [(5, 5), (10, 10), (20, 20)]
    assert images.shape == (2, 20, 20, 3)
    assert CONFIG.image_size == (20, 20)
    assert images.min() >= 0
    assert images.max() <= 1


def test_patches_of_another_size_are_drawn_and_scaled_to_the_frames():
    """DINOv2's patches have 14 pixels; four stages draw 16 for each."""
    decoder, drawn = ImageDecoderConfig(tokens=DINOV2, channels=(8, 8, 8, 8), blocks=1).build(), []
    with torch.no_grad():
        decoder.out.weight.normal_(std=0.2)
    decoder.out.register_forward_hook(lambda _, __, out: drawn.append(0.5 + out))
    tokens = torch.randn(2, 81, 24)
    images = decoder.decode(tokens)
    assert drawn[0].shape == (2, 3, 144, 144)
    assert images.shape == (2, 126, 126, 3)
    inner = slice(1, -1)  # the same place in both pictures, but for less than a pixel
    places = ((torch.arange(126) + 0.5) * 144 / 126).long()
    near = drawn[0].clamp(0, 1).permute(0, 2, 3, 1)[:, places][:, :, places]
    both = torch.stack([images[:, inner, inner].flatten(), near[:, inner, inner].flatten()])
    assert torch.corrcoef(both.detach())[0, 1] > 0.8
    frames = torch.randint(0, 256, (2, 126, 126, 3), dtype=torch.uint8)
    decoder.loss(FrameBatch(frames=frames, tokens=tokens), torch.Generator())["loss"].backward()
    assert decoder.out.weight.grad.abs().sum() > 0


def test_it_learns_to_draw_what_the_tokens_say():
    torch.manual_seed(0)
    decoder = CONFIG.build()
    tokens = torch.randn(16, 25, 24)
    bright = (tokens[..., 0] > 0).float().view(16, 5, 5, 1).repeat_interleave(4, 1).repeat_interleave(4, 2)
    frames = (bright.expand(-1, -1, -1, 3) * 255).to(torch.uint8)
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=5e-3)
    first = None
    for _ in range(60):
        scalars = decoder.loss(FrameBatch(frames=frames, tokens=tokens), torch.Generator())
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
