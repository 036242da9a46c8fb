"""Bootstrap intervals over episodes: the episode is what was drawn at random, its windows and samples are not.

Every statistic is first averaged within an episode, then over episodes, each of them counting once. Resampling draws
whole episodes, and one draw serves all values of an episode, so ratios and differences are paired. Intervals are BCa
(bias-corrected and accelerated; Efron 1987), which follow the skew of errors that have a long tail.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

Statistic = Callable[[np.ndarray], np.ndarray]
"""Weights of the episodes (R, n), rows summing to n -> values (R,)."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A statistic with its interval.

    Attributes:
        mean: the statistic on all episodes.
        low: lower end; None where a single episode gives no interval.
        high: upper end; None as `low`.
        n: episodes.
    """

    mean: float
    low: float | None = None
    high: float | None = None
    n: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """How intervals are made.

    Attributes:
        resamples: draws of n episodes with replacement.
        level: coverage aimed at.
        seed: of the draws; the same n and seed draw the same episodes.
    """

    resamples: int = 2000
    level: float = 0.95
    seed: int = 0

    def mean(self, values: np.ndarray, groups: np.ndarray) -> Interval | None:
        """Mean over episodes of the episodes' means.

        Args:
            values: (W,) one number per window.
            groups: (W,) the episode of each window.

        Returns:
            None where there are no windows.
        """
        means = episode_means(values, groups)
        return self._interval(lambda weights: weights @ means / len(means), len(means))

    def ratio(self, numerator: np.ndarray, denominator: np.ndarray, groups: np.ndarray) -> Interval | None:
        """Sum of `numerator` over sum of `denominator`, episodes drawn jointly; None where the latter is zero."""
        upper, lower = episode_means(numerator, groups), episode_means(denominator, groups)
        if not lower.sum():
            return None
        return self._interval(lambda weights: _divide(weights @ upper, weights @ lower), len(upper))

    def skill(self, error: np.ndarray, reference_error: np.ndarray, groups: np.ndarray) -> Interval | None:
        """Forecasting skill score 1 - sum error / sum reference error, episodes drawn jointly; see `ratio`."""
        upper, lower = episode_means(error, groups), episode_means(reference_error, groups)
        if not lower.sum():
            return None
        return self._interval(lambda weights: 1 - _divide(weights @ upper, weights @ lower), len(upper))

    def over_seeds(self, values: np.ndarray, reference: np.ndarray | None = None) -> Interval:
        """Mean over training seeds and held-out samples, or the ratio of two means, both drawn anew: percentile interval.

        Args:
            values: (S, n) one number per training seed and held-out sample; all seeds saw the same samples.
            reference: (S, n) the denominator of a ratio.
        """
        seeds, n = values.shape
        samples = _weights(n, self.resamples, self.seed) / n
        drawn = _weights(seeds, self.resamples, self.seed + 1) / seeds
        upper = np.einsum("rs,sn,rn->r", drawn, values, samples, optimize=True)
        if reference is None:
            point, draws = float(values.mean()), upper
        else:
            point = float(values.mean() / reference.mean())
            draws = _divide(upper, np.einsum("rs,sn,rn->r", drawn, reference, samples, optimize=True))
        low, high = np.quantile(draws, [(1 - self.level) / 2, (1 + self.level) / 2])
        return Interval(mean=point, low=float(low), high=float(high), n=n)

    def _interval(self, statistic: Statistic, n: int) -> Interval | None:
        if n == 0:
            return None
        point = float(statistic(np.ones((1, n)))[0])
        if n == 1:
            return Interval(mean=point, low=None, high=None, n=1)
        draws = statistic(_weights(n, self.resamples, self.seed))
        leave_one_out = statistic((1 - np.eye(n)) * n / (n - 1))
        low, high = _bca(point, draws[np.isfinite(draws)], leave_one_out[np.isfinite(leave_one_out)], self.level)
        return Interval(mean=point, low=low, high=high, n=n)


def wilson(successes: int, n: int, *, level: float = 0.95) -> Interval:
    """A rate of independent episodes with Wilson's interval, which also holds where none or all of them succeed.

    Raises:
        ValueError: no episodes, or more successes than episodes.
    """
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"{successes} of {n} episodes give no rate")
    rate, z = successes / n, NormalDist().inv_cdf((1 + level) / 2)
    centre = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    low, high = (
        0.0 if successes == 0 else centre - half,
        1.0 if successes == n else centre + half,
    )  # exact, not by rounding
    return Interval(mean=rate, low=low, high=high, n=n)


def episode_means(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Mean of the (W,) values in each group, in the order of the sorted groups; (n,).

    Raises:
        ValueError: shapes differ.
    """
    values, groups = np.asarray(values, dtype=np.float64), np.asarray(groups)
    if values.shape != groups.shape or values.ndim != 1:
        raise ValueError(f"values {values.shape} and groups {groups.shape} must be vectors of one length")
    _, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
    return np.bincount(inverse, weights=values, minlength=len(counts)) / counts


@lru_cache(maxsize=8)
def _weights(n: int, resamples: int, seed: int) -> np.ndarray:
    """How often each of n episodes is in each resample, (resamples, n)."""
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)
    weights.flags.writeable = False
    return weights


def _bca(point: float, draws: np.ndarray, leave_one_out: np.ndarray, level: float) -> tuple[float, float]:
    """BCa ends of the interval, from the resamples' values and the jackknife's."""
    if np.ptp(draws) == 0:
        return point, point
    normal = NormalDist()
    below = ((draws < point).sum() + 0.5 * (draws == point).sum()) / len(draws)
    bias = normal.inv_cdf(float(np.clip(below, 1 / len(draws), 1 - 1 / len(draws))))
    influence = leave_one_out.mean() - leave_one_out
    largest = np.abs(influence).max(initial=0.0)
    acceleration = 0.0
    if largest > 0:
        influence = influence / largest  # else squares of tiny differences vanish
        acceleration = (influence**3).sum() / (6 * (influence**2).sum() ** 1.5)
    ends = []
    for tail in ((1 - level) / 2, (1 + level) / 2):
        shifted = bias + normal.inv_cdf(tail)
        ends.append(normal.cdf(bias + shifted / (1 - acceleration * shifted)))
    low, high = np.quantile(draws, ends)
    return float(low), float(high)


def _divide(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Quotient with nan where a resample holds only episodes without a denominator."""
    return np.divide(upper, lower, out=np.full_like(upper, np.nan), where=lower != 0)
