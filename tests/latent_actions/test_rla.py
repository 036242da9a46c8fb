"""The RLA autoencoder: shapes, start of training, what its position and slot codes are for, a small overfit."""

import dataclasses

import pytest
import torch

from foreact.core.batch import Batch
from foreact.core.pretrained import meta_build
from foreact.core.token_spec import TokenSpec
from foreact.latent_actions.rla import RLA, RLAConfig

TOKENS = TokenSpec(grid=(3, 5), channels=7, fingerprint="test@0", encoder="tiny", image_size=48)
CONFIG = RLAConfig(tokens=TOKENS, dim=44, depth=2, heads=11, latent_tokens=13, latent_channels=17)
BATCH = 2


def tokens(batch=BATCH):
    return torch.randn(batch, TOKENS.count, TOKENS.channels)


def trained_looking(config):
    torch.manual_seed(0)
    model = config.build()
    torch.nn.init.normal_(model.decoder.out.weight, std=0.1)
    return model


def test_shapes_with_all_dimensions_different():
    model, s_t, s_th = CONFIG.build(), tokens(), tokens()
    z = model.infer(s_t, s_th)
    assert z.shape == (BATCH, 13, 17)
    assert model.decode(s_t, z).shape == s_t.shape


@pytest.mark.parametrize("residual", [False, True])
def test_training_starts_at_zero_or_at_persistence(residual):
    model, s_t = dataclasses.replace(CONFIG, residual_output=residual).build(), tokens()
    start = model.decode(s_t, torch.randn(BATCH, 13, 17))
    torch.testing.assert_close(start, s_t if residual else torch.zeros_like(s_t))


def test_latent_depends_on_the_difference_of_the_frames_alone():
    model, s_t, s_th = CONFIG.build(), tokens(), tokens()
    torch.testing.assert_close(model.infer(s_t, s_th), model.infer(s_t + 3, s_th + 3), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(model.infer(s_t, s_th), model.infer(s_th, s_t), atol=1e-2)


def test_slots_and_places_are_told_apart():
    model, s_t, z = trained_looking(CONFIG), tokens(), torch.randn(BATCH, 13, 17)
    out = model.decode(s_t, z)
    assert not torch.allclose(out, model.decode(s_t, z.flip(1)), atol=1e-3)
    assert not torch.allclose(model.decode(s_t.flip(1), z).flip(1), out, atol=1e-3)


def test_without_positions_the_decoder_is_equivariant_to_places():
    model = trained_looking(dataclasses.replace(CONFIG, position_scale=0.0))
    s_t, z = tokens(), torch.randn(BATCH, 13, 17)
    torch.testing.assert_close(model.decode(s_t.flip(1), z).flip(1), model.decode(s_t, z), atol=1e-4, rtol=1e-4)


def test_it_learns_to_carry_a_change_through_z():
    torch.manual_seed(0)
    model = dataclasses.replace(CONFIG, dim=48, depth=1, heads=4).build()
    s_t = tokens(32)
    s_th = s_t + torch.randn(32, 1, 1) * torch.randn(TOKENS.count, TOKENS.channels)
    batch = Batch(tokens_t=s_t, tokens_th=s_th, lengths=torch.ones(32, dtype=torch.long))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(100):
        scalars = model.loss(batch, torch.Generator())
        optimizer.zero_grad()
        scalars["loss"].backward()
        optimizer.step()
    assert scalars["skill"] > 0.5
    with torch.no_grad():
        shuffled = model.decode(s_t, model.infer(s_t, s_th).roll(1, dims=0))
    assert (shuffled - s_th).abs().mean() > 2 * scalars["l1"]


def test_paper_sizes():
    paper = RLAConfig(tokens=TokenSpec(grid=(32, 32), channels=1024, fingerprint="", encoder="", image_size=512))
    model = meta_build(paper)
    assert isinstance(model, RLA)
    assert sum(p.numel() for p in model.encoder.parameters()) == pytest.approx(152e6, rel=0.01)
    assert sum(p.numel() for p in model.decoder.parameters()) == pytest.approx(153e6, rel=0.01)


def test_a_merging_decoder_draws_each_patch_in_its_own_place():
    grid = TokenSpec(grid=(4, 6), channels=7, fingerprint="test@0", encoder="tiny", image_size=96)
    model = trained_looking(dataclasses.replace(CONFIG, tokens=grid, decoder_merge=2))
    assert len(model.decoder.project(torch.randn(1, 24, 7))[0]) == 6
    for block in model.decoder.blocks:
        block.attention.forward = lambda x: torch.zeros_like(x)  # squares do not see each other
    s_t, z = torch.randn(1, 24, 7), torch.randn(1, 13, 17)
    plain = model.decode(s_t, z)
    for patch in (0, 8, 23):
        changed = s_t.clone()
        changed[:, patch] += 1
        moved = (model.decode(changed, z) - plain).abs().sum(dim=-1)[0] > 1e-6
        row, column = patch // 6 // 2, patch % 6 // 2
        own = [6 * r + c for r in (2 * row, 2 * row + 1) for c in (2 * column, 2 * column + 1)]
        assert moved.nonzero()[:, 0].tolist() == own
