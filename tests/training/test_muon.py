"""Muon: against a twin in float64, against the singular value decomposition, and against PyTorch's own."""

import numpy as np
import pytest
import torch

from foreact.core import precision
from foreact.training.muon import NEWTON_SCHULZ, Muon, orthogonalise

SHAPES = ((6, 6), (5, 17), (17, 5), (24, 96), (1, 7))


def matrix(shape, seed=0, smallest=1e-3):
    """Singular values from 1 down to `smallest`, as steep as those of momentum in training."""
    rng = np.random.default_rng(seed)
    u, _, v = np.linalg.svd(rng.normal(size=shape), full_matrices=False)
    return torch.from_numpy((u * np.geomspace(1, smallest, min(shape))) @ v)


def twin(momentum):
    """Newton-Schulz as it is written, on the whole matrix."""
    a, b, c = NEWTON_SCHULZ[0]
    o = momentum.T if momentum.shape[0] > momentum.shape[1] else momentum
    o = o / max(np.linalg.norm(o), 1e-7)
    for _ in range(5):
        gram = o @ o.T
        o = a * o + (b * gram + c * gram @ gram) @ o
    return o.T if momentum.shape[0] > momentum.shape[1] else o


@pytest.mark.parametrize("shape", SHAPES)
def test_the_gram_form_is_the_iteration_itself(shape):
    exact = twin(matrix(shape).numpy())
    torch.testing.assert_close(orthogonalise(matrix(shape)).numpy(), exact, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(orthogonalise(matrix(shape).float()).double().numpy(), exact, atol=1e-3, rtol=0)
    easier = matrix(shape, smallest=0.03)
    halved, exact = orthogonalise(easier.float(), bf16=True), twin(easier.numpy())
    assert halved.dtype == torch.bfloat16
    assert np.linalg.norm(halved.double().numpy() - exact) < 0.1 * np.linalg.norm(exact)


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("shape", [(24, 96), (96, 24), (48, 48)])
def test_it_turns_singular_values_to_about_one_and_leaves_their_vectors(shape, bf16):
    given = matrix(shape, smallest=0.03)
    u, _, v = torch.linalg.svd(given, full_matrices=False)
    inside = u.T @ orthogonalise(given.float(), bf16=bf16).double() @ v.T
    assert inside.diagonal().min() > 0.6
    assert inside.diagonal().max() < 1.25
    assert (inside - torch.diag(inside.diagonal())).norm() < (0.2 if bf16 else 1e-3) * inside.norm()


def test_nothing_stays_nothing_and_scale_does_not_matter():
    assert not orthogonalise(torch.zeros(3, 5)).any()
    torch.testing.assert_close(orthogonalise(1e-4 * matrix((4, 9))), orthogonalise(matrix((4, 9))))


def after(make, steps, *, shape=(17, 5), lr=0.02):
    weight = torch.nn.Parameter(matrix(shape, seed=1).float())
    optimizer = make([weight], lr)
    for step in range(steps):
        weight.grad = matrix(shape, seed=2 + step, smallest=0.1).float()
        optimizer.step()
    return weight.detach(), optimizer.state[weight]


@pytest.mark.parametrize("shape", [(17, 5), (5, 17), (6, 6)])
def test_steps_are_those_of_a_twin_in_float64(shape):
    weight, momentum = matrix(shape, seed=1).numpy(), np.zeros(shape)
    for step in range(4):
        gradient = matrix(shape, seed=2 + step, smallest=0.1).numpy()
        momentum = 0.95 * momentum + 0.05 * gradient
        weight = (1 - 0.02 * 0.3) * weight
        weight = weight - 0.2 * 0.02 * max(shape) ** 0.5 * twin(0.05 * gradient + 0.95 * momentum)
    ours, state = after(lambda p, lr: Muon(p, lr, weight_decay=0.3, bf16=False), 4, shape=shape)
    np.testing.assert_allclose(ours.numpy(), weight, atol=2e-5)
    np.testing.assert_allclose(state["momentum_buffer"].numpy(), momentum, atol=1e-6)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="PyTorch has Muon since 2.9")
@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("shape", [(17, 5), (5, 17), (6, 6)])
def test_steps_are_pytorchs_but_for_its_rounding_to_bf16(shape, bf16):
    options = {"weight_decay": 0.3}
    theirs, state = after(
        lambda p, lr: torch.optim.Muon(p, lr, **options, adjust_lr_fn="match_rms_adamw"), 4, shape=shape
    )
    ours, own = after(lambda p, lr: Muon(p, lr, **options, bf16=bf16), 4, shape=shape)
    start, _ = after(lambda p, lr: Muon(p, lr), 0, shape=shape)
    assert state.keys() == own.keys() == {"momentum_buffer"}
    torch.testing.assert_close(own["momentum_buffer"], state["momentum_buffer"])
    assert (ours - theirs).norm() < 0.05 * (theirs - start).norm()


@pytest.mark.parametrize("pays", [False, True])
def test_products_are_in_bf16_where_it_pays(monkeypatch, pays):
    monkeypatch.setattr(precision, "_seconds", lambda a: float((a.dtype == torch.bfloat16) != pays))
    precision.bf16_pays.cache_clear()
    try:
        made, _ = after(Muon, 1)
    finally:
        precision.bf16_pays.cache_clear()
    assert torch.equal(made, after(lambda p, lr: Muon(p, lr, bf16=pays), 1)[0])
    assert not torch.equal(made, after(lambda p, lr: Muon(p, lr, bf16=not pays), 1)[0])


def test_a_closure_gives_its_loss_and_what_has_no_gradient_stays():
    used, unused = torch.nn.Parameter(torch.ones(2, 3)), torch.nn.Parameter(torch.ones(2, 3))
    optimizer = Muon([used, unused], 0.1, weight_decay=0.5)

    def closure():
        loss = used.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure) == 6
    assert not torch.equal(used, torch.ones(2, 3))
    assert torch.equal(unused, torch.ones(2, 3))
