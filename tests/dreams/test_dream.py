"""Dreams of every world model: seeds of rows, states as values, gradients in the actions, bad input."""

import dataclasses

import numpy as np
import pytest
import torch
from lively import lively
from small_models import CONFIGS, PAPER, VIDEO, A, H, inputs, seeded

from foreact.core.errors import ForeactError
from foreact.decoders.unet import ImageDecoderConfig
from foreact.dreams.dream import Dream, DreamState
from foreact.dreams.fast import FastWorldModel
from foreact.dreams.imagination import Imagination, load
from foreact.encoders.pixels import PixelDecoder, PixelEncoder
from foreact.encoders.tiny import TinyEncoderConfig

ALL = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
MANY = 112


def begin(dream, seeds, config):
    """As many dreams as seeds, each of its own tokens."""
    return dream.start(inputs(len(seeds), config)[0], seeds)


def row(state, index):
    """One row of a state as a state."""
    rows = slice(index, index + 1)
    return DreamState(
        tokens=state.tokens[rows], seeds=state.seeds[rows], chunks=state.chunks, steps=state.steps[rows]
    )  # fmt: skip


@torch.no_grad()
def two_steps(dream, state, actions):
    """After the chunk and again after it, with other noise."""
    return dream.step(dream.step(state, actions), actions)


@ALL
def test_a_step_is_a_prediction_with_the_noise_of_each_rows_seed(config):
    model, (tokens, actions, lengths) = lively(config), inputs(config=config)
    dream = Dream(model)
    state = dream.start(tokens, [3, 4])
    expected, seen = tokens, []
    with torch.no_grad():
        for factor in (1, 2):
            noise = dream.noise(state)
            assert len(noise) == 2
            seen.append(noise)
            expected = model.predict(expected, actions * factor, lengths, noise)
            state = dream.step(state, actions * factor, lengths)
            torch.testing.assert_close(state.tokens, expected, atol=0, rtol=0)
    assert state.steps.tolist() == (2 * lengths).tolist()
    assert torch.equal(*seen) != model.stochastic  # every step draws anew


@ALL
def test_the_noise_of_a_row_is_its_own_whoever_else_is_in_the_batch(config):
    dream = Dream(lively(config))
    seeds = [7, 5, 7, 2**62, 0, *range(100, 207)]
    assert len(seeds) == MANY
    whole = dream.noise(begin(dream, seeds, config))
    order = torch.randperm(MANY, generator=seeded(1)).tolist()
    assert torch.equal(dream.noise(begin(dream, [seeds[i] for i in order], config)), whole[order])
    for count in (1, 2, 5):
        assert torch.equal(dream.noise(begin(dream, seeds[:count], config)), whole[:count])
    if dream.world_model.stochastic:
        assert torch.equal(whole[0], whole[2])
        assert len(whole.flatten(1).unique(dim=0)) == len(set(seeds))


@ALL
def test_a_row_dreams_alone_what_it_dreams_among_others(config):
    dream, seeds = Dream(lively(config)), range(MANY)
    actions = torch.randn(MANY, H, A, generator=seeded(3))
    start = begin(dream, seeds, config)
    whole = two_steps(dream, start, actions).tokens
    for index in (0, 57, MANY - 1):
        alone = two_steps(dream, row(start, index), actions[index : index + 1]).tokens
        torch.testing.assert_close(alone[0], whole[index], atol=1e-5, rtol=1e-5)


@ALL
def test_a_state_is_a_value_that_can_be_stepped_twice(config):
    dream, (_, actions, _) = Dream(lively(config)), inputs(config=config)
    state = begin(dream, [1, 2], config)
    kept = dataclasses.replace(state, tokens=state.tokens.clone(), steps=state.steps.clone())
    first, other, again = (two_steps(dream, state, chunk).tokens for chunk in (actions, actions + 1, actions))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-4)
    assert torch.equal(state.tokens, kept.tokens)
    assert torch.equal(state.steps, kept.steps)
    assert (state.seeds, state.chunks) == (kept.seeds, kept.chunks)


@ALL
def test_candidates_with_one_seed_have_common_random_numbers(config):
    dream, (tokens, actions, _) = Dream(lively(config)), inputs(config=config)
    same = tokens[:1].expand(3, -1, -1)
    candidates = torch.stack([actions[0], actions[0], actions[1]])
    future = two_steps(dream, dream.start(same, [9, 9, 9]), candidates).tokens
    torch.testing.assert_close(future[0], future[1], atol=1e-6, rtol=1e-6)
    assert not torch.allclose(future[0], future[2], atol=1e-4)
    apart = two_steps(dream, dream.start(same, [9, 8, 9]), candidates).tokens
    assert torch.allclose(apart[0], apart[1], atol=1e-4) != dream.world_model.stochastic


@ALL
def test_gradients_in_the_actions_are_those_of_finite_differences_through_two_chunks(config):
    dream = Dream(lively(config).double())
    tokens = inputs(config=config)[0].double()
    start = dream.start(0.4 + 0.2 * tokens if config is VIDEO else tokens, [1, 2])  # grey: nothing is clamped
    goal = torch.randn(start.tokens.shape, generator=seeded(4)).double()
    chunks = torch.randn(2, 2, 7, A, generator=seeded(5)).double().requires_grad_()

    def cost(chunks):
        state = start
        for chunk in chunks:
            state = dream.step(state, chunk)
        return (state.tokens - goal).square().mean()

    (gradient,) = torch.autograd.grad(cost(chunks), chunks)
    assert gradient.dtype == torch.float64
    assert gradient.abs().flatten(1).sum(dim=1).min() > 0, "a chunk has no gradient"
    step = 1e-6
    for seed in range(3):
        direction = torch.randn(chunks.shape, generator=seeded(10 + seed)).double()
        with torch.no_grad():
            slope = (cost(chunks + step * direction) - cost(chunks - step * direction)) / (2 * step)
        torch.testing.assert_close((gradient * direction).sum(), slope, rtol=1e-5, atol=1e-9)


def test_without_gradients_none_are_kept():
    dream, (tokens, actions, _) = Dream(lively(PAPER)), inputs()
    with torch.no_grad():
        state = dream.step(dream.start(tokens, [0, 1]), actions.requires_grad_())
    assert not state.tokens.requires_grad


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@ALL
def test_a_gpu_dreams_with_the_noise_of_a_cpu(config):
    dreams = [Dream(lively(config).to(device)) for device in ("cpu", "cuda")]
    states = [begin(dream, [3, 4], config) for dream in dreams]
    assert torch.equal(*(dream.noise(state) for dream, state in zip(dreams, states, strict=True)))
    actions = inputs(config=config)[1]
    here, there = (two_steps(dream, state, actions).tokens for dream, state in zip(dreams, states, strict=True))
    assert there.device.type == "cuda"
    torch.testing.assert_close(there.cpu(), here, atol=1e-3, rtol=1e-3)


def test_a_fast_model_dreams_what_the_plain_one_dreams():
    model, (tokens, actions, lengths) = lively(PAPER), inputs()
    plain, fast = Dream(model), Dream(FastWorldModel(model, precision="no"))
    state, swift = plain.start(tokens, [3, 4]), fast.start(tokens, [3, 4])
    assert torch.equal(plain.noise(state), fast.noise(swift))
    noise = torch.randn(2, *PAPER.latent, generator=seeded(6))
    given = fast.world_model.predict(tokens, actions, lengths, noise)
    with torch.no_grad():
        torch.testing.assert_close(given, model.predict(tokens, actions, lengths, noise))
    assert not torch.allclose(given, fast.world_model.predict(tokens, actions, lengths, noise + 1), atol=1e-4)
    torch.testing.assert_close(two_steps(plain, state, actions).tokens, two_steps(fast, swift, actions).tokens)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d, t, a: d.start(t[:, :4], [0, 1]), r"tokens of this model are \(B, 15, 7\), not \(2, 4, 7\)"),
        (lambda d, t, a: d.start(t[:0], []), r"not \(0, 15, 7\)"),
        (lambda d, t, a: d.start(t, [0]), "2 dreams need as many seeds, not 1"),
        (lambda d, t, a: d.start(t, [0, -1]), "seeds are whole numbers from 0"),
        (lambda d, t, a: d.start(t, [0, 2**63]), "seeds are whole numbers from 0"),
        (lambda d, t, a: d.start(np.zeros((2, 48, 48, 3), np.uint8), [0, 1]), "no encoder: start it from tokens"),
        (lambda d, t, a: d.step(d.start(t, [0, 1]), a[0]), r"actions must be \(2, 1 to 19, 23\) here, not \(19, 23\)"),
        (lambda d, t, a: d.step(d.start(t, [0, 1]), a[:1]), r"actions must be \(2, 1 to 19, 23\)"),
        (lambda d, t, a: d.step(d.start(t, [0, 1]), a[..., :5]), r"not \(2, 19, 5\)"),
        (lambda d, t, a: d.step(d.start(t, [0, 1]), a[:, :0]), "1 to 19 actions, not 0"),
        (lambda d, t, a: d.step(d.start(t, [0, 1]), torch.cat([a, a], dim=1)), "1 to 19 actions, not 38"),
        (lambda d, t, a: d.step(d.start(t, [0, 1]), a * float("nan")), "NaN or infinite"),
        (lambda d, t, a: d.step(d.start(t, [0, 1]), np.full((2, 3, A), 1e300)), "NaN or infinite"),
        (lambda d, t, a: d.step(d.start(t, [0, 1]), a, torch.tensor([1, 20])), r"2 numbers from 1 to 19.* \[1, 20\]"),
        (lambda d, t, a: d.step(d.start(t, [0, 1]), a, torch.tensor([0, 1])), r"2 numbers from 1 to 19"),
        (lambda d, t, a: d.step(d.start(t, [0, 1]), a, torch.tensor([3])), r"2 numbers from 1 to 19.* \[3\]"),
        (lambda d, t, a: d.draw(d.start(t, [0, 1])), "no image decoder"),
    ],
)
def test_bad_input_is_one_error(change, said):
    tokens, actions, _ = inputs()
    with pytest.raises(ForeactError, match=said), np.errstate(over="ignore"):
        change(Dream(lively(PAPER)), tokens, actions)


def test_frames_that_are_none_and_parts_that_do_not_fit_are_refused():
    dream = Dream(lively(VIDEO), PixelEncoder(32), PixelDecoder(VIDEO.tokens))
    for frames in (np.zeros((1, 32, 32, 3), np.float32), torch.zeros(1, 3, 32, 32, dtype=torch.uint8)):
        with pytest.raises(ForeactError, match="frames are uint8"):
            dream.start(frames, [0])
    with pytest.raises(ForeactError, match="tokens of encoder pixels/16/32"):
        Dream(lively(VIDEO), PixelEncoder(64))
    with pytest.raises(ForeactError, match="the image decoder was trained on tokens"):
        Dream(lively(VIDEO), None, ImageDecoderConfig(tokens=PAPER.tokens, channels=(4, 4), blocks=1).build())


@pytest.fixture
def saved(tmp_path):
    """Folders of an encoder, a world model of its tokens, and an image decoder."""
    torch.manual_seed(0)
    TinyEncoderConfig(stem=(4, 4, 4), dim=8, depth=1, heads=2).build().save_pretrained(tmp_path / "encoder")
    from foreact.encoders.loading import load_encoder

    tokens = load_encoder(str(tmp_path / "encoder"), image_size=48).spec
    rla = dataclasses.replace(PAPER.rla, tokens=tokens)
    lively(dataclasses.replace(PAPER, rla=rla, action_dim=2)).save_pretrained(tmp_path / "rla-wm")
    decoder = ImageDecoderConfig(tokens=tokens, channels=(4, 4, 4, 4), blocks=1)
    lively(decoder).save_pretrained(tmp_path / "image-decoder")
    return tmp_path


def test_imagine_is_start_and_steps_by_hand(saved):
    world = load(saved / "rla-wm")
    assert isinstance(world, Imagination)
    rng = np.random.default_rng(0)
    frame, actions = rng.integers(0, 256, (40, 56, 3), dtype=np.uint8), rng.normal(size=(25, 2))
    future = world.imagine(frame, actions, seed=11, chunk=10)
    with torch.no_grad():
        state = world.start(frame[None], [11])
        for index, (first, last) in enumerate(((0, 10), (10, 20), (20, 25))):
            state = world.step(state, actions[None, first:last].astype(np.float32))
            np.testing.assert_array_equal(future.tokens[index], state.tokens[0].numpy())
            np.testing.assert_array_equal(future.frames[index], world.draw(state)[0])
    assert future.steps.tolist() == [10, 20, 25]
    assert future.frames.shape == (3, 48, 48, 3)
    np.testing.assert_array_equal(world.imagine(frame, actions, seed=11, chunk=10).tokens, future.tokens)
    assert not np.allclose(world.imagine(frame, actions, seed=12, chunk=10).tokens, future.tokens, atol=1e-4)
    assert world.imagine(frame, actions[:3]).tokens.dtype == np.float32


def test_pictures_of_a_pixel_model_are_its_tokens():
    dream = Dream(lively(VIDEO), PixelEncoder(32), PixelDecoder(VIDEO.tokens))
    frames = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(dream.draw(dream.start(frames, [0, 1])), frames)
