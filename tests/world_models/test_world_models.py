"""All world models and both variants of RLA-WM: shapes, padding, seeds, chunks, paper sizes."""

import dataclasses

import pytest
import torch
from fake_data import FakeTrainingData
from lively import lively
from small_models import (
    BRIDGE,
    CONFIGS,
    FAST,
    FAST_REGRESSION,
    NOISE_FLOW,
    PAPER,
    PRESENT_FLOW,
    RELEASED,
    RLA,
    TAUGHT,
    TOKENS,
    VIDEO,
    A,
    B,
    H,
    batch_of,
    inputs,
    predict,
    seeded,
    with_extras,
)  # fmt: skip

from foreact.core.batch import Batch
from foreact.core.pretrained import meta_build
from foreact.core.token_spec import TokenSpec
from foreact.latent_actions.rla import RLAConfig
from foreact.world_models.rla_wm import RLAWorldModelConfig
from foreact.world_models.rla_wm_released import released

PAPER_TOKENS = TokenSpec(grid=(32, 32), channels=1024, fingerprint="", encoder="", image_size=512)
ALL = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


@ALL
def test_shapes_and_every_horizon(config):
    model, (tokens, actions, lengths) = lively(config), inputs(H, config)
    assert predict(model, tokens, actions, lengths).shape == tokens.shape


@ALL
def test_padding_never_reaches_the_result_but_valid_actions_and_lengths_do(config):
    model, (tokens, actions, lengths) = lively(config), inputs(config=config)
    expected = predict(model, tokens, actions, lengths)
    padded = actions.clone()
    for row, length in enumerate(lengths):
        padded[row, length:] = float("nan")
    torch.testing.assert_close(predict(model, tokens, padded, lengths), expected)
    changed = actions.clone()
    changed[:, 0] += 1
    assert not torch.allclose(predict(model, tokens, changed, lengths), expected, atol=1e-4)
    assert not torch.allclose(predict(model, tokens, actions, lengths + 1), expected, atol=1e-4)


@ALL
def test_same_seed_same_future_and_another_seed_another_one_where_stochastic(config):
    model, (tokens, actions, lengths) = lively(config), inputs(config=config)
    one = predict(model, tokens, actions, lengths, seed=1)
    assert torch.equal(one, predict(model, tokens, actions, lengths, seed=1))
    assert torch.allclose(one, predict(model, tokens, actions, lengths, seed=2), atol=1e-4) != model.stochastic


@ALL
def test_loss_trains_what_is_trainable(config):
    model, (tokens, actions, lengths) = lively(config), inputs(config=config)
    model.loss(batch_of(tokens, actions, lengths), seeded())["loss"].backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    if hasattr(model, "rla"):
        assert not any(p.requires_grad for p in model.rla.parameters())


def share_left(model, batch, metric, *, steps):
    """A loss after some steps on one batch, as a share of what it was."""
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    first = model.loss(batch, seeded())[metric].item()
    for step in range(steps):
        optimizer.zero_grad()
        model.loss(batch, seeded(step))["loss"].backward()
        optimizer.step()
    return model.loss(batch, seeded())[metric].item() / first


def test_the_regression_beside_the_flow_learns_z_and_belongs_to_the_papers_variant():
    model, (tokens, actions, lengths) = lively(with_extras(FAST, mean_weight=1e6)), inputs()
    batch = Batch(tokens_t=tokens, tokens_th=tokens + 1, lengths=lengths, actions=actions)
    assert share_left(model, batch, "mean", steps=60) < 0.2
    with pytest.raises(ValueError, match="paper's variant"):
        with_extras(RELEASED, mean_weight=1.0).build()


def test_the_condition_networks_patches_learn_the_future_in_their_place():
    even = dataclasses.replace(RLA, tokens=dataclasses.replace(TOKENS, grid=(4, 6)))
    config = with_extras(dataclasses.replace(TAUGHT, rla=even), token_weight=1e6, condition_merge=2)
    model, generator = lively(config), seeded()
    tokens = torch.randn(B, 24, 7, generator=generator)
    future = tokens + torch.arange(24).view(1, 24, 1) / 10  # each patch has a change of its own
    batch = Batch(tokens_t=tokens, tokens_th=future, lengths=inputs()[2], actions=inputs()[1])
    assert share_left(model, batch, "tokens", steps=100) < 0.1
    with pytest.raises(ValueError, match="paper's variant"):
        with_extras(RELEASED, token_weight=1.0).build()


def test_spread_actions_reach_every_patch_before_the_first_block():
    model, (tokens, actions, lengths) = lively(FAST_REGRESSION), inputs()
    seen = []
    model.network.blocks[0].register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    predict(model, tokens, actions, lengths)
    predict(model, tokens, actions + 1, lengths)
    assert (seen[0] - seen[1]).abs().amax(dim=2).min() > 1e-3


@pytest.mark.parametrize(
    "config",
    [PAPER, RELEASED, with_extras(PAPER, draws=5), FAST, PRESENT_FLOW, BRIDGE, NOISE_FLOW, VIDEO],
    ids=["paper", "released", "draws", "fast", "fm_wm", "bridge", "rae", "video_diffusion"],
)
def test_two_shards_draw_the_noise_of_one_batch(config):
    model, rows = lively(config), inputs(4, config)
    whole = batch_of(*rows)
    parts = [batch_of(*(x[i : i + 2] for x in rows), shard=(i // 2, 2)) for i in (0, 2)]
    expected = model.loss(whole, seeded())["loss"]
    halves = [model.loss(part, seeded())["loss"] for part in parts]
    torch.testing.assert_close(sum(halves) / 2, expected)


def test_several_draws_run_the_condition_network_once_and_keep_the_expected_loss():
    model, (tokens, actions, lengths) = lively(PAPER), inputs()
    many = lively(with_extras(PAPER, draws=300))
    batch = Batch(tokens_t=tokens, tokens_th=tokens + 1, lengths=lengths, actions=actions)
    calls = []
    many.condition.blocks[0].register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        one_by_one = torch.stack([model.loss(batch, seeded(s))["loss"] for s in range(300)]).mean()
        together = many.loss(batch, seeded(0))["loss"]
    assert len(calls) == 1
    torch.testing.assert_close(together, one_by_one, rtol=0.1, atol=0)


def test_released_flow_projects_its_context_once_per_chunk():
    model, (tokens, actions, lengths) = lively(RELEASED), inputs()
    calls = []
    for block in model.flow.blocks:
        block.cross.kv.register_forward_hook(lambda *_: calls.append(1))
    cached = predict(model, tokens, actions, lengths)
    assert len(calls) == len(model.flow.blocks)
    plain_flow = model.flow.forward
    condition = model.condition(tokens, *model.normalise(actions, lengths))
    model.flow.forward = lambda z, t, _: plain_flow(z, t, model.flow.prepare(condition))
    torch.testing.assert_close(predict(model, tokens, actions, lengths), cached)


def test_flow_without_slots_is_equivariant_to_the_order_of_latent_tokens_and_with_slots_it_is_not():
    z, time = torch.randn(B, 13, 17), torch.rand(B)
    for config, equivariant in ((RELEASED, True), (with_extras(RELEASED, slots=True), False)):
        flow, context = lively(config).flow, torch.randn(B, 15, 52)
        one = flow(z.flip(1), time, flow.prepare(context)).flip(1)
        assert torch.allclose(one, flow(z, time, flow.prepare(context)), atol=1e-4) == equivariant


def test_latents_are_standardised_per_dimension_and_come_back():
    model, (tokens, _, _) = lively(PAPER), inputs(200)
    other = tokens + torch.randn(tokens.shape, generator=seeded())
    model.fit(FakeTrainingData(tokens, other, torch.zeros(A), torch.ones(A)))
    standard = model.infer_latent(tokens, other)
    torch.testing.assert_close(standard.mean(0), torch.zeros(13, 17), atol=1e-3, rtol=0)
    torch.testing.assert_close(standard.std(0), torch.ones(13, 17), atol=1e-3, rtol=0)
    latent = model.rla.infer(tokens, other)
    torch.testing.assert_close(standard * model.latent_std + model.latent_mean, latent, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        model.decode_latent(tokens, standard), model.rla.decode(tokens, latent), atol=1e-4, rtol=1e-4
    )


@ALL
def test_actions_are_standardised_with_the_fitted_statistics(config):
    model, (tokens, actions, lengths) = lively(config), inputs(config=config)
    expected = predict(model, tokens, actions, lengths)
    model.normalise.fit(torch.full((A,), 10.0), torch.full((A,), 4.0))
    torch.testing.assert_close(predict(model, tokens, actions * 4 + 10, lengths), expected, atol=1e-4, rtol=1e-4)


@ALL
def test_chunks_of_another_shape_are_refused(config):
    model, (tokens, actions, lengths) = lively(config), inputs(config=config)
    with pytest.raises(ValueError, match="pad chunks to the horizon"):
        predict(model, tokens, actions[:, :5], lengths)


def test_paper_sizes():
    """Released 8 + 8 variant: about 345 M parameters, known from its weights; condition block 20 M, flow block 23 M."""
    rla = RLAConfig(tokens=PAPER_TOKENS, position_scale=0.0)
    model = meta_build(released(RLAWorldModelConfig(rla=rla, action_dim=9)))
    assert model.num_parameters(trainable_only=True) == pytest.approx(345e6, rel=0.02)
