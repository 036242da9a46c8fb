"""Position and time codes against NumPy twins."""

import numpy as np
import pytest
import torch

from foreact.nn.positions import TimeEmbedding, merge_patches, sincos_2d, split_patches


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
