from __future__ import annotations

import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from foreact.nn.similarity import structural_similarity


@pytest.mark.parametrize("shape", [(2, 3, 32, 48), (1, 1, 6, 6), (3, 3, 96, 96)])
def test_values_and_gradients_are_those_of_torchmetrics(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    target = torch.rand(shape)
    drawn = (0.6 * target + 0.4 * torch.rand(shape)).requires_grad_()
    ours = structural_similarity(drawn, target)
    (gradient,) = torch.autograd.grad(ours.sum(), drawn)
    theirs = structural_similarity_index_measure(drawn, target, data_range=1.0, reduction="none")
    assert isinstance(theirs, torch.Tensor)
    (expected,) = torch.autograd.grad(theirs.sum(), drawn)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-6)


def test_in_bf16_the_variances_stay_exact() -> None:
    """A smooth, bright picture: its variances are far below bf16's steps around 1."""
    picture = torch.linspace(0.9, 0.95, 32).expand(1, 3, 32, 32)
    plain = structural_similarity(picture + 0.002, picture)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(structural_similarity(picture + 0.002, picture), plain)
