"""Position and time codes against NumPy twins."""

import numpy as np
import pytest
import torch

from foreact.nn.positions import TimeEmbedding, merge_patches, seconds_code, sincos_2d, split_patches


def test_sincos_equals_its_numpy_twin():
    rows, columns, dim = 3, 5, 28
    codes = sincos_2d((rows, columns), dim).numpy()
    rates = 1 / 10_000 ** (np.arange(dim // 4) / (dim // 4))
    for r in range(rows):
        for c in range(columns):
            expected = np.concatenate([np.sin(r * rates), np.cos(r * rates), np.sin(c * rates), np.cos(c * rates)])
            np.testing.assert_allclose(codes[r * columns + c], expected, atol=1e-5)


def test_every_place_has_its_own_code():
    codes = sincos_2d((7, 11), 20)
    assert torch.cdist(codes, codes).add(torch.eye(77) * 9).min() > 0.1


def test_width_must_be_a_multiple_of_four():
    with pytest.raises(ValueError, match="multiple of 4"):
        sincos_2d((2, 2), 10)


def test_neighbouring_actions_at_50_hz_have_codes_of_their_own():
    """Of the code's norm: at least a tenth, and no other action of the chunk is nearer than a neighbour is."""
    own, papers = (seconds_code(torch.arange(60) / 50, 64, periods) for periods in ((0.08, 4.0), (6.2832, 62_832.0)))
    norm = own.norm(dim=1).mean()
    apart = torch.cdist(own, own) + torch.eye(60) * 99
    assert apart.min() > 0.1 * norm
    assert (papers[1:] - papers[:-1]).norm(dim=1).max() < 0.02 * norm, "the released periods cannot tell them apart"


def test_the_same_moment_has_one_code_at_every_rate():
    fast, slow = (seconds_code(torch.arange(9) / rate, 32, (0.08, 4.0)) for rate in (20, 5))
    torch.testing.assert_close(fast[::4], slow[:3])


def test_the_papers_frequencies_are_one_choice_of_periods():
    seconds, dim = np.array([0.0, 0.35, 1.2]), 1024
    angles = seconds[:, None] * 10_000 ** (-np.arange(dim // 2) / (dim // 2 - 1))
    found = seconds_code(torch.tensor(seconds), dim, (2 * np.pi, 2e4 * np.pi))
    np.testing.assert_allclose(found, np.concatenate([np.sin(angles), np.cos(angles)], axis=1), atol=1e-5)


def test_time_embedding_tells_times_apart():
    torch.manual_seed(0)
    out = TimeEmbedding(13)(torch.tensor([0.0, 0.1, 1.0]))
    assert out.shape == (3, 13)
    assert torch.cdist(out, out).add(torch.eye(3) * 9).min() > 1e-3


def test_merged_patches_are_neighbours_and_split_into_what_they_were():
    tokens = torch.arange(24.0).view(1, 24, 1)  # 4 rows of 6 patches
    merged = merge_patches(tokens, (4, 6), 2)
    assert merged.shape == (1, 6, 4)
    assert merged[0, 0].tolist() == [0, 1, 6, 7]
    assert merged[0, 4].tolist() == [14, 15, 20, 21]
    tokens = torch.randn(3, 24, 5)
    assert torch.equal(split_patches(merge_patches(tokens, (4, 6), 2), (4, 6), 2), tokens)
    assert torch.equal(merge_patches(tokens, (4, 6), 1), tokens)
