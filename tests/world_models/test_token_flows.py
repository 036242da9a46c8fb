"""FM-WM and RAE: the trap of conditioning on the source, the wide head, the shift, statistics per position."""

import dataclasses

import pytest
import torch
from fake_data import FakeTrainingData
from small_models import predict, seeded

from foreact.core.batch import Batch
from foreact.core.token_spec import TokenSpec
from foreact.nn.flow import shift_times
from foreact.world_models.fm_wm import FMWMConfig
from foreact.world_models.rae import RAEConfig

TOKENS = TokenSpec(grid=(2, 2), channels=24, fingerprint="test@0", encoder="tiny", image_size=32)
SIZES = {"tokens": TOKENS, "action_dim": 1, "horizon": 1, "dim": 48, "heads": 4, "depth": 2}


def push_and_coin(rows=64, *, seed=0):
    """The action pushes the first token; an unseen coin moves all tokens forth or back."""
    g = seeded(seed)
    s_t = torch.randn(rows, TOKENS.count, TOKENS.channels, generator=g)
    coin = torch.randint(2, (rows, 1, 1), generator=g) * 2 - 1
    action = torch.randn(rows, 1, 1, generator=g)
    first = (torch.arange(TOKENS.count) == 0).float()[:, None]
    return Batch(
        tokens_t=s_t, tokens_th=s_t + coin + 3 * action * first, lengths=torch.ones(rows).long(), actions=action
    )


def train(config, make_batch, steps, *, rate=3e-3):
    torch.manual_seed(0)
    model = config.build()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    for step in range(steps):
        optimizer.zero_grad()
        model.loss(make_batch(step), seeded(step))["loss"].backward()
        optimizer.step()
    return model.eval()


def test_a_flow_from_the_present_starts_at_persistence():
    model, batch = FMWMConfig(**SIZES, steps=2).build(), push_and_coin()
    assert torch.equal(predict(model, batch.tokens_t, batch.actions, batch.lengths), batch.tokens_t)


@pytest.mark.slow
def test_conditioning_a_flow_on_its_own_source_is_a_trap():
    """With s_t known, x_tau tells the whole future for tau > 0: the loss falls without the actions, which are not learned."""

    def loss_and_push_error(*, condition):
        config = FMWMConfig(**SIZES, steps=20, condition=condition)
        model = train(config, lambda step: push_and_coin(seed=step), 400)
        held_out = push_and_coin(256, seed=10**6)
        with torch.no_grad():
            loss = model.loss(held_out, seeded())["loss"]
        future = predict(model, held_out.tokens_t, held_out.actions, held_out.lengths)
        moved = (future - held_out.tokens_t).mean(dim=2)
        push = (moved[:, 0] - moved[:, 1:].mean(dim=1)) / 3
        return loss, (push - held_out.actions[:, 0, 0]).square().mean()

    plain_loss, plain_error = loss_and_push_error(condition=False)
    trap_loss, trap_error = loss_and_push_error(condition=True)
    assert trap_loss < 0.5 * plain_loss
    assert plain_error < 0.1  # of the action's variance of 1
    assert trap_error > 5 * plain_error


@pytest.mark.parametrize(("head", "fits"), [(0, False), (96, True)], ids=["narrow", "wide"])
def test_a_network_narrower_than_its_tokens_cannot_fit_even_one_sample_without_the_wide_head(head, fits):
    tokens = dataclasses.replace(TOKENS, channels=96)
    config = RAEConfig(**{**SIZES, "tokens": tokens, "dim": 24}, head_dim=head)
    s_t, s_th = torch.randn(2, 1, tokens.count, 96, generator=seeded()).unbind()
    one = Batch(
        tokens_t=s_t.expand(32, -1, -1), tokens_th=s_th.expand(32, -1, -1), lengths=torch.ones(32).long(),
        actions=torch.zeros(32, 1, 1),
    )  # fmt: skip
    model = train(config, lambda step: one, 250)
    with torch.no_grad():
        loss = torch.stack([model.loss(one, seeded(10_000 + i))["loss"] for i in range(8)]).mean()
    assert (loss < 0.35) == fits, loss


def test_rae_standardises_per_position_and_channel_and_its_samples_come_back_in_token_units():
    model = RAEConfig(**SIZES, head_dim=64, steps=2).build()
    place = torch.randn(TOKENS.count, TOKENS.channels, generator=seeded(1)) * 10
    s_th = torch.randn(400, TOKENS.count, TOKENS.channels, generator=seeded(2)) * 3 + place
    model.fit(FakeTrainingData(torch.randn(s_th.shape, generator=seeded(3)), s_th))
    torch.testing.assert_close(model.latent_mean, place, atol=0.6, rtol=0)
    torch.testing.assert_close(model.latent_std, torch.full_like(place, 3.0), atol=0.5, rtol=0)
    noise_in_token_units = predict(model, s_th, torch.zeros(400, 1, 1), torch.ones(400).long())
    torch.testing.assert_close(noise_in_token_units.mean(0), place, atol=0.7, rtol=0)  # untrained: v = 0


def test_the_shift_grows_with_the_dimension_and_goes_towards_the_noise():
    paper = TokenSpec(grid=(32, 32), channels=1024, fingerprint="", encoder="", image_size=512)
    config = RAEConfig(tokens=paper, action_dim=1)
    assert config.shift == 16
    assert dataclasses.replace(config, shifted=False).shift == 1
    times = torch.linspace(0, 1, 11)
    torch.testing.assert_close(shift_times(times, 1.0), times)
    shifted = shift_times(times, 16.0)
    assert shifted[0] == 0
    assert shifted[-1] == 1
    assert (shifted.diff() > 0).all()
    assert shift_times(torch.tensor(0.5), 16.0).item() == pytest.approx(1 - 0.941, abs=1e-3)
