from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreact.evaluation.intervals import Bootstrap, episode_means


def percentile_twin(values: np.ndarray, groups: np.ndarray, resamples: int = 4000) -> tuple[float, float]:
    """Plain loop: draw episodes, average their means, take percentiles."""
    rng = np.random.default_rng(7)
    means = np.array([values[groups == g].mean() for g in np.unique(groups)])
    draws = [means[rng.integers(len(means), size=len(means))].mean() for _ in range(resamples)]
    return float(np.quantile(draws, 0.025)), float(np.quantile(draws, 0.975))


def test_mean_agrees_with_a_plain_percentile_loop_on_symmetric_data():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(61), 3)
    values = rng.normal(5, 2, size=61)[groups] + rng.normal(0, 1, size=len(groups))
    interval = Bootstrap(resamples=4000).mean(values, groups)
    low, high = percentile_twin(values, groups)
    width = high - low
    assert interval.n == 61
    assert interval.low == pytest.approx(low, abs=0.08 * width)
    assert interval.high == pytest.approx(high, abs=0.08 * width)
    assert interval.low < interval.mean < interval.high


def test_episodes_count_once_however_many_windows_they_have():
    groups = np.array([0] * 9 + [1])
    values = np.array([1.0] * 9 + [3.0])
    assert Bootstrap().mean(values, groups).mean == pytest.approx(2.0)


@pytest.mark.parametrize("skewed", [False, True])
def test_coverage_of_the_true_mean(skewed):
    rng = np.random.default_rng(1)
    hits, trials, n = 0, 300, 40
    for _ in range(trials):
        values = rng.lognormal(0, 0.7, size=n) if skewed else rng.normal(size=n)
        truth = np.exp(0.7**2 / 2) if skewed else 0.0
        interval = Bootstrap(resamples=1000).mean(values, np.arange(n))
        hits += interval.low <= truth <= interval.high
    assert 0.89 <= hits / trials <= 0.985


def test_windows_of_one_episode_do_not_narrow_the_interval():
    rng = np.random.default_rng(2)
    means = rng.normal(size=20)
    once = Bootstrap().mean(means, np.arange(20))
    often = Bootstrap().mean(np.repeat(means, 50), np.repeat(np.arange(20), 50))
    assert (once.mean, once.low, once.high) == pytest.approx((often.mean, often.low, often.high))


def test_skill_is_paired_by_episode():
    rng = np.random.default_rng(3)
    difficulty = rng.uniform(0.1, 10, size=30)  # episodes differ a hundredfold, the model halves the error of each
    skill = Bootstrap().skill(0.5 * difficulty, difficulty, np.arange(30))
    assert (skill.mean, skill.low, skill.high) == pytest.approx((0.5, 0.5, 0.5))


def test_skill_agrees_with_its_definition():
    rng = np.random.default_rng(4)
    error, reference, groups = rng.random(35), 1 + rng.random(35), np.repeat(np.arange(7), 5)
    skill = Bootstrap().skill(error, reference, groups)
    assert skill.mean == pytest.approx(1 - error.sum() / reference.sum())
    assert skill.low < skill.mean < skill.high


def test_difference_sees_a_small_effect_that_unpaired_intervals_hide():
    rng = np.random.default_rng(5)
    difficulty = rng.uniform(0, 10, size=25)
    model, reference = difficulty - 0.1 + rng.normal(0, 0.02, size=25), difficulty
    bootstrap = Bootstrap()
    assert bootstrap.mean(model - reference, np.arange(25)).excludes_zero
    assert bootstrap.mean(model, np.arange(25)).high > bootstrap.mean(reference, np.arange(25)).low


def test_no_difference_does_not_exclude_zero():
    values = np.random.default_rng(6).normal(size=12)
    same = Bootstrap().mean(values - values, np.arange(12))
    assert (same.mean, same.low, same.high) == (0, 0, 0)
    assert not same.excludes_zero


def test_one_episode_has_no_interval_and_none_has_no_value():
    one = Bootstrap().mean(np.array([1.0, 2.0]), np.array([4, 4]))
    assert (one.mean, one.low, one.high, one.n) == (1.5, None, None, 1)
    assert not one.excludes_zero
    assert Bootstrap().mean(np.array([]), np.array([])) is None


def test_a_ratio_without_denominator_is_none_and_single_zeros_are_survived():
    groups = np.arange(3)
    assert Bootstrap().ratio(np.ones(3), np.zeros(3), groups) is None
    assert Bootstrap().skill(np.ones(3), np.zeros(3), groups) is None
    interval = Bootstrap().ratio(np.ones(3), np.array([0.0, 0.0, 2.0]), groups)
    assert interval.mean == pytest.approx(1.5)
    assert np.isfinite([interval.low, interval.high]).all()


def test_the_same_seed_gives_the_same_interval_and_another_does_not():
    values, groups = np.random.default_rng(8).normal(size=15), np.arange(15)
    assert Bootstrap(seed=1).mean(values, groups) == Bootstrap(seed=1).mean(values, groups)
    assert Bootstrap(seed=1).mean(values, groups) != Bootstrap(seed=2).mean(values, groups)


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="one length"):
        episode_means(np.zeros(3), np.zeros(4))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20), st.integers(0, 10))
def test_intervals_are_ordered_and_inside_the_data(values, seed):
    interval = Bootstrap(resamples=200, seed=seed).mean(np.array(values), np.arange(len(values)))
    slack = 1e-9 * (1 + max(map(abs, values)))
    assert min(values) - slack <= interval.low <= interval.high <= max(values) + slack


def test_intervals_over_seeds_are_wider_than_over_samples_alone_where_seeds_differ():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(3, 200))
    alike, apart = Bootstrap().over_seeds(noise), Bootstrap().over_seeds(noise + np.array([[-1.0], [0.0], [1.0]]))
    assert apart.mean == pytest.approx(alike.mean)
    assert apart.high - apart.low > 3 * (alike.high - alike.low)
    ratio = Bootstrap().over_seeds(2 * np.abs(noise), np.abs(noise))
    assert (ratio.mean, ratio.low, ratio.high) == pytest.approx((2, 2, 2))
