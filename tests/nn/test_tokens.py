"""Token statistics: the identity until fitted, and units that undo each other."""

import pytest
import torch

from foreact.nn.tokens import TokenScale


def pair():
    g = torch.Generator().manual_seed(0)
    s_t = torch.randn(11, 5, 3, generator=g) * torch.tensor([1.0, 2.0, 0.5]) + torch.tensor([4.0, -1.0, 0.0])
    return s_t, s_t + 0.1 * torch.randn(11, 5, 3, generator=g)


def test_unfitted_it_is_the_papers_plain_loss():
    scale, (s_t, s_th) = TokenScale(3), pair()
    torch.testing.assert_close(scale.normalise(s_t), s_t)
    torch.testing.assert_close(scale.difference(s_t, s_th), s_th - s_t)
    expected = (s_t - s_th).abs().mean() + (s_t - s_th).pow(2).mean()
    scalars = scale.loss(s_t, s_th, s_t)
    torch.testing.assert_close(scalars["loss"], expected)
    assert scalars["skill"] == 0
    assert scale.loss(s_th, s_th, s_t)["skill"] == 1


def test_fitted_units():
    scale, (s_t, s_th) = TokenScale(3), pair()
    scale.fit(s_t, s_th)
    normal, change = scale.normalise(s_t), scale.difference(s_t, s_th)
    torch.testing.assert_close(normal.mean((0, 1)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(normal.std((0, 1)), torch.ones(3))
    torch.testing.assert_close(change, scale.normalise(s_th) - normal, atol=1e-4, rtol=0)
    units = (s_th - s_t) / scale.change
    assert units.pow(2).mean().item() == pytest.approx(1)
    torch.testing.assert_close(scale.restore(units, s_t, residual=True), s_th)
    assert scale.loss(s_t, s_th, s_t)["loss"].item() == pytest.approx(1 + units.abs().mean().item(), rel=1e-4)
    torch.testing.assert_close(scale.restore(normal, s_t * 0, residual=False), s_t)
