"""The world whose right answers are known."""

import numpy as np

from foreact.envs.coin import JUMPS, SQUARE, draw, draw_pairs, to_frames, to_tokens


def test_actions_drive_red_and_a_fair_coin_moves_green():
    pairs = draw_pairs(2000, np.random.default_rng(0))
    ys, xs = np.mgrid[:32, :32] + 0.5
    for channel in (0, 1):
        np.testing.assert_allclose(pairs.before[..., channel].sum(axis=(1, 2)), SQUARE**2, rtol=1e-4)

    def centre(frames, channel):
        mass = frames[..., channel]
        total = mass.sum(axis=(1, 2))
        return np.stack([(mass * xs).sum(axis=(1, 2)), (mass * ys).sum(axis=(1, 2))], axis=1) / total[:, None]

    red = centre(pairs.after, 0) - centre(pairs.before, 0)
    np.testing.assert_allclose(red, pairs.actions.sum(axis=1), atol=1e-3)
    green = np.rint(centre(pairs.after, 1) - centre(pairs.before, 1)).astype(int)
    shares = [(green == jump).all(axis=1).mean() for jump in JUMPS]
    np.testing.assert_allclose(shares, 0.25, atol=0.04)
    np.testing.assert_allclose(centre(pairs.before, 1), pairs.green + SQUARE / 2, atol=1e-4)
    assert not pairs.after[..., 2].any()


def test_tokens_are_a_rotation_of_patches():
    pairs = draw_pairs(3, np.random.default_rng(1))
    tokens = to_tokens(pairs.before)
    assert tokens.shape == (3, 64, 48)
    np.testing.assert_allclose(np.square(tokens).sum(), np.square(pairs.before).sum(), rtol=1e-5)
    np.testing.assert_allclose(to_frames(tokens), pairs.before, atol=1e-5)
    moved = draw(np.array([[4.0, 8.0]]), np.array([[20, 20]]))
    assert (np.abs(to_tokens(moved)[0]).sum(axis=1) > 0).sum() < 20  # a square touches few tokens


def test_the_same_seed_draws_the_same_pairs():
    one, two = (draw_pairs(4, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(one.after, two.after)
