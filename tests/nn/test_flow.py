"""Flow matching: the path, the solvers and their order of accuracy, against closed forms."""

import math

import pytest
import torch

from foreact.nn.flow import integrate, interpolate, sample_times


def test_path_ends_are_noise_and_data_and_velocity_is_constant():
    noise, data = torch.randn(5, 3, 2), torch.randn(5, 3, 2)
    at_zero, velocity = interpolate(noise, data, torch.zeros(5))
    at_one, _ = interpolate(noise, data, torch.ones(5))
    torch.testing.assert_close(at_zero, noise)
    torch.testing.assert_close(at_one, data)
    halfway, _ = interpolate(noise, data, torch.full((5,), 0.5))
    torch.testing.assert_close(noise + 0.5 * velocity, halfway)


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("midpoint", 2), ("heun", 2)])
def test_solvers_converge_with_their_order(solver, order):
    """dz/dt = z * cos(5 t): the exact z(1) is z(0) * exp(sin(5) / 5)."""
    start = torch.tensor([1.0, -2.0], dtype=torch.float64)
    exact = start * math.exp(math.sin(5) / 5)

    def error(steps):
        end = integrate(lambda z, t: z * torch.cos(5 * t).double(), start, steps=steps, solver=solver)
        return (end - exact).abs().max().item()

    assert math.log2(error(128) / error(256)) == pytest.approx(order, abs=0.1)


def test_one_euler_step_of_a_straight_path_is_exact():
    noise, data = torch.randn(7, 2), torch.randn(7, 2)
    torch.testing.assert_close(integrate(lambda z, t: data - noise, noise, steps=1), data)


def test_bad_samplers_are_refused():
    with pytest.raises(ValueError, match="at least one step"):
        integrate(lambda z, t: z, torch.zeros(1), steps=0)
    with pytest.raises(ValueError, match="unknown solver"):
        integrate(lambda z, t: z, torch.zeros(1), steps=1, solver="rk45")
    with pytest.raises(ValueError, match="unknown flow time law"):
        sample_times("cauchy", 2, torch.Generator())


def test_lawams_law_is_a_mirrored_beta():
    """0.999 (1 - x) with x ~ Beta(1.5, 1), whose mean is 0.6 and variance 1.5 / (2.5^2 * 3.5)."""
    times = sample_times("noisy", 20_000, torch.Generator().manual_seed(0))
    assert times.min() >= 0
    assert times.max() <= 0.999
    assert times.mean().item() == pytest.approx(0.999 * 0.4, abs=0.01)
    assert times.std().item() == pytest.approx(0.999 * math.sqrt(1.5 / (2.5**2 * 3.5)), abs=0.01)


@pytest.mark.parametrize(("law", "spread"), [("uniform", 1 / math.sqrt(12)), ("logit_normal", 0.208)])
def test_time_laws(law, spread):
    times = sample_times(law, 20_000, torch.Generator().manual_seed(0))
    assert times.min() > 0
    assert times.max() < 1
    assert times.mean().item() == pytest.approx(0.5, abs=0.01)
    assert times.std().item() == pytest.approx(spread, abs=0.01)
