"""A regression with resampled residuals: what any spread of the right size does to the energy score."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from foreact.evaluation.residuals import ResampledResiduals
from foreact.evaluation.rollouts import Protocol, Window
from foreact.evaluation.scoring import Truth, score_tokens

SHAPE = (3, 16, 32)  # S, N, C
PLAIN, SAMPLER = SimpleNamespace(stochastic=False), SimpleNamespace(stochastic=True)
WINDOWS = [Window(episode=e, start=s) for e in range(10) for s in (0, 5)]


def noise(window, size=0.3):
    seed = 100 * window.episode + window.start
    return size * torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def collect(windows=WINDOWS, samples=4, error=lambda model, window: noise(window)):
    models = {"dino_wm": PLAIN, "rla_wm": SAMPLER}
    return ResampledResiduals.collect(models, windows, Protocol(samples=samples), error)


def scores(residuals, window):
    """Of an answer that is zero everywhere, where the truth is the window's noise."""
    truth = Truth(tokens=torch.cat([torch.zeros(1, *SHAPE[1:]), noise(window)]), images=None, poses={})
    plain = score_tokens(torch.zeros(1, *SHAPE), truth.tokens, 0.0)["token_energy_score"]
    return plain, residuals.scores({"dino_wm": torch.zeros(1, *SHAPE)}, truth, window)


def test_errors_of_the_right_size_take_three_tenths_off_in_many_dimensions():
    residuals = collect()
    assert residuals.errors.keys() == {"dino_wm"}  # a sampler has a spread of its own
    ratios = []
    for window in WINDOWS:
        plain, found = scores(residuals, window)
        assert found.keys() == {"dino_wm_dressed"}
        assert found["dino_wm_dressed"].keys() == {"token_energy_score", "token_energy_score_local"}
        ratios.append(found["dino_wm_dressed"]["token_energy_score"] / plain)
    assert np.mean(ratios) == pytest.approx(2**-0.5, abs=0.02)  # sqrt(2) sigma - sigma / sqrt(2), instead of sigma


def test_an_episode_never_gets_its_own_error():
    given_away = collect(
        error=lambda model, window: torch.full(SHAPE, torch.inf) if window.episode == 3 else noise(window)
    )
    _, found = scores(given_away, Window(episode=3, start=5))
    assert np.isfinite(found["dino_wm_dressed"]["token_energy_score"]).all()


def test_the_same_window_gets_the_same_errors_and_few_episodes_get_none():
    first, second = (scores(collect(), WINDOWS[4])[1]["dino_wm_dressed"]["token_energy_score"] for _ in range(2))
    assert (first == second).all()
    assert collect(windows=WINDOWS[:8]).errors == {}  # four episodes: an episode has three others, four are wanted
    assert collect(samples=1).errors == {}  # one sample has no spread
