"""LaWM: the released sizes, what sees what, position codes, the posterior, the state head, and that z carries a change."""

import dataclasses

import pytest
import torch
from fake_data import FakeTrainingData
from lively import lively

from foreact.core.batch import Batch
from foreact.core.cards import DataSpec
from foreact.core.presets import preset
from foreact.core.pretrained import load_model, meta_build
from foreact.core.token_spec import TokenSpec
from foreact.latent_actions.lawm import LaWMConfig, LaWMTraining
from foreact.latent_actions.lawm_networks import space_time_codes

TOKENS = TokenSpec(grid=(3, 5), channels=7, fingerprint="test@0", encoder="tiny", image_size=48)
CONFIG = LaWMConfig(
    tokens=TOKENS, dim=48, encoder_depth=2, decoder_depth=2, heads=4, latent_channels=11, state_dim=13, embodiments=3
)
B = 2


def tokens(seed, batch=B):
    return torch.randn(batch, 15, 7, generator=torch.Generator().manual_seed(seed))


def test_parameters_are_the_released_models():
    patches = TokenSpec(grid=(16, 16), channels=768, fingerprint="", encoder="", image_size=256)
    model = meta_build(LaWMConfig(tokens=patches, state_dim=14))
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    assert count == {
        "encoder": 309_432_352, "posterior": 2_176, "decoder": 228_286_720, "state_head": 101_713_344
    }  # fmt: skip


def test_the_papers_preset_is_the_released_model_and_its_horizon_is_in_seconds():
    paper, training = preset("paper"), LaWMTraining()
    assert training.frames(paper) == ("facebook/dinov3-vitb16-pretrain-lvd1689m", 256)
    assert training.law(paper).gap(fps=30) == 36
    patches = TokenSpec(grid=(16, 16), channels=768, fingerprint="", encoder="", image_size=256)
    released = meta_build(LaWMConfig(tokens=patches, state_dim=14)).num_parameters()
    assert meta_build(training.configure(paper, DataSpec(tokens=patches, state_dim=14))).num_parameters() == released


def test_shapes_and_normalised_tokens():
    model = lively(CONFIG)
    z = model.infer(tokens(0), tokens(1))
    assert z.shape == (B, 1, 11)
    out = model.decode(tokens(0), z)
    assert out.shape == (B, 15, 7)
    torch.testing.assert_close(model.decode(5 * tokens(0) + 3, z), out, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(model.decode(tokens(0), z + 1), out, atol=1e-3)


def test_patches_do_not_see_the_query():
    model = lively(CONFIG)
    seen = []
    model.encoder.blocks.register_forward_hook(lambda _, __, out: seen.append(out))
    one = model.infer(tokens(0), tokens(1))
    with torch.no_grad():
        model.encoder.query += 1
    other = model.infer(tokens(0), tokens(1))
    torch.testing.assert_close(seen[0][:, :-1], seen[1][:, :-1])
    assert not torch.allclose(one, other, atol=1e-3)


def test_every_place_and_frame_has_its_own_code():
    codes = space_time_codes((4, 4), 32)
    assert torch.cdist(codes, codes).fill_diagonal_(1).min() > 0.1
    row_column = codes[:16].view(4, 4, 32)
    assert (row_column - row_column.transpose(0, 1)).abs().amax(dim=2)[0, 1] > 0.1  # (0, 1) is not (1, 0)


def test_kl_is_that_of_a_gaussian_and_the_noise_is_in_training_alone():
    model = lively(dataclasses.replace(CONFIG, kl_weight=1.0))
    batch = Batch(tokens_t=tokens(0), tokens_th=tokens(1), lengths=torch.ones(B).long())
    losses = [model.loss(batch, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert losses[0]["loss"] == losses[1]["loss"] != losses[2]["loss"]
    mean, log_variance = model._posterior(tokens(0), tokens(1))
    posterior = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    expected = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum(dim=(1, 2)).mean()
    torch.testing.assert_close(losses[0]["kl"], expected)
    torch.testing.assert_close(losses[0]["loss"], losses[0]["error"] + losses[0]["kl"])
    torch.testing.assert_close(model.infer(tokens(0), tokens(1)), mean)


def test_the_state_head_counts_known_dimensions_of_robots():
    model = lively(CONFIG)
    z, state, change = torch.randn(4, 1, 11), torch.randn(4, 13), torch.rand(4, 13)
    known = torch.ones(4, 13, dtype=torch.bool)
    known[:, 9:] = False
    robots, humans = torch.tensor([1, 2, 1, 2]), torch.zeros(4).long()
    loss = model.state_loss(z, state, change, known, robots)
    beyond = change.clone()
    beyond[:, 9:] += 7
    torch.testing.assert_close(model.state_loss(z, state, beyond, known, robots), loss)
    assert model.state_loss(z, state, change, known, humans) == 0
    swapped = model.state_loss(z, state, change, known, 3 - robots)
    assert not torch.isclose(swapped, loss)
    with pytest.raises(ValueError, match="without a state head"):
        lively(dataclasses.replace(CONFIG, state_dim=0)).state_loss(z, state, change, known, robots)


def with_states(**changes):
    state = torch.rand(B, 5, generator=torch.Generator().manual_seed(3))
    given = {"state_t": 100 * state, "state_th": 100 * state + 20, "embodiment": torch.tensor([1, 2])}
    return Batch(tokens_t=tokens(0), tokens_th=tokens(1), lengths=torch.ones(B).long(), **(given | changes))


def test_states_join_the_loss_in_units_of_their_range_and_unknown_ones_do_not_count():
    model = lively(CONFIG)
    states = torch.tensor([[0.0] * 5, [200.0] * 5, [float("nan")] * 5])
    model.fit(FakeTrainingData(tokens(0), tokens(1), all_states={1: states, 2: states}))
    run = lambda batch: model.loss(batch, torch.Generator().manual_seed(0))  # noqa: E731
    scalars, plain = run(with_states()), run(with_states(state_t=None))
    torch.testing.assert_close(scalars["loss"], plain["loss"] + scalars["state"])
    state, change, known, _ = model._states(with_states())
    torch.testing.assert_close(change[known], torch.full((10,), 0.1))
    torch.testing.assert_close(state[:, :5], with_states().state_t / 200)
    assert known.sum() == 10  # of 2 x 13
    hole = with_states().state_th.clone()
    hole[:, 3] = float("nan")
    assert torch.isfinite(run(with_states(state_th=hole))["loss"])
    assert model._states(with_states(state_th=hole))[2].sum() == 8
    humans = with_states(embodiment=torch.zeros(B).long())
    assert run(humans)["state"] == 0


def test_z_is_inferred_from_one_view_and_decoded_in_the_other():
    model = lively(CONFIG)
    seen = {"seen_t": tokens(5), "seen_th": tokens(6)}
    apart = model.loss(with_states(state_t=None, **seen), torch.Generator().manual_seed(0))
    mean, log_variance = model._posterior(tokens(5), tokens(6))
    noise = torch.randn(B, 1, 11, generator=torch.Generator().manual_seed(0))
    z = mean + (0.5 * log_variance).exp() * noise
    wanted = torch.nn.functional.smooth_l1_loss(model.decode(tokens(0), z), model.layer_normalise(tokens(1)), beta=0.1)
    torch.testing.assert_close(apart["error"], wanted.detach())


def test_a_residual_decoder_starts_at_the_copy_of_the_current_frame():
    model = dataclasses.replace(CONFIG, residual_output=True).build()
    torch.testing.assert_close(model.decode(tokens(0), torch.randn(B, 1, 11)), model.layer_normalise(tokens(0)))


def test_the_posterior_begins_as_narrow_as_asked():
    torch.manual_seed(0)
    wide, narrow = CONFIG.build(), dataclasses.replace(CONFIG, log_variance=-4.0).build()
    pairs = tokens(0, 32), tokens(1, 32)
    begins = [model._posterior(*pairs)[1].mean().item() for model in (wide, narrow)]
    assert begins == pytest.approx([0.0, -4.0], abs=0.5)


@pytest.mark.parametrize("residual", [False, True])
def test_it_learns_to_carry_a_change_through_z(residual):
    torch.manual_seed(0)
    model = dataclasses.replace(CONFIG, encoder_depth=1, decoder_depth=1, state_dim=0, residual_output=residual).build()
    s_t = tokens(0, 32)
    s_th = s_t + 2 * torch.randn(32, 1, 1, generator=torch.Generator().manual_seed(5)) * tokens(1, 1)
    batch = Batch(tokens_t=s_t, tokens_th=s_th, lengths=torch.ones(32).long())
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(200):
        optimizer.zero_grad()
        model.loss(batch, torch.Generator().manual_seed(step))["loss"].backward()
        optimizer.step()
    target, z = model.layer_normalise(s_th), model.infer(s_t, s_th)
    with torch.no_grad():
        right = (model.decode(s_t, z) - target).abs().mean()
        wrong = (model.decode(s_t, z.roll(1, 0)) - target).abs().mean()
        still = (model.layer_normalise(s_t) - target).abs().mean()
    assert right < 0.5 * still
    assert right < 0.6 * wrong


def test_round_trip(tmp_path):
    model = lively(CONFIG)
    model.save_pretrained(tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.config == CONFIG
    torch.testing.assert_close(loaded.infer(tokens(0), tokens(1)), model.infer(tokens(0), tokens(1)))
