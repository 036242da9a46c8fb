"""The noise schedule against NumPy, v-prediction's inverse, and that DDIM lands on the data where the velocity is true."""

import numpy as np
import pytest
import torch

from foreact.nn.diffusion import LEVELS, ddim, diffuse, sampling_levels, signal_powers


def test_the_schedule_is_latent_diffusions_with_no_signal_left_at_the_end():
    betas = np.linspace(0.00085**0.5, 0.012**0.5, LEVELS) ** 2
    root = np.sqrt(np.cumprod(1 - betas))
    moved = ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2
    powers = signal_powers()
    np.testing.assert_allclose(powers.numpy(), moved, atol=1e-6)
    assert powers[-1] == 0
    assert (powers.diff() < 0).all()


def test_every_frame_has_its_own_level_and_data_and_noise_come_back():
    data, noise = torch.randn(2, 3, 5, 7, 11), torch.randn(2, 3, 5, 7, 11)
    power = torch.rand(2, 3)
    point, velocity = diffuse(data, noise, power)
    signal, spread = (p[..., None, None, None].sqrt() for p in (power, 1 - power))
    torch.testing.assert_close(signal * point - spread * velocity, data)
    torch.testing.assert_close(signal * velocity + spread * point, noise)
    alone, _ = diffuse(data[:, 1:2], noise[:, 1:2], power[:, 1:2])
    torch.testing.assert_close(point[:, 1:2], alone)


@pytest.mark.parametrize("steps", [1, 7])
def test_ddim_lands_on_the_data_where_the_velocity_is_true(steps):
    powers, data = signal_powers(), torch.randn(3, 5)

    def velocity(x, level):
        spread = (1 - powers[level]).sqrt()
        eps = (x - powers[level].sqrt() * data) / spread
        return powers[level].sqrt() * eps - spread * data

    torch.testing.assert_close(ddim(velocity, torch.randn(3, 5), powers, steps), data, atol=1e-4, rtol=0)


def test_samplers_begin_with_noise_alone():
    assert sampling_levels(5) == [999, 799, 599, 399, 199]
    assert sampling_levels(LEVELS)[-1] == 0
    for steps in (0, LEVELS + 1):
        with pytest.raises(ValueError, match="steps"):
            sampling_levels(steps)
