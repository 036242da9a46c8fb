"""A claim, what was measured, and whether it holds here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from foreact.evaluation.intervals import Interval


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What an interval says about a claim.

    Attributes:
        claim: in words.
        verdict: undecided where the interval reaches over the bound.
        numbers: mean and interval.
    """

    claim: str
    verdict: Literal["holds", "does not hold", "undecided"]
    numbers: str


def below(claim: str, interval: Interval, bound: float = 0.0) -> Verdict:
    """Whether a number lies below a bound."""
    low, high = _ends(interval)
    return _verdict(claim, interval, holds=high < bound, fails=low > bound)


def within(claim: str, interval: Interval, floor: float, ceiling: float) -> Verdict:
    """Whether a number lies between two bounds."""
    low, high = _ends(interval)
    return _verdict(claim, interval, holds=floor < low and high < ceiling, fails=high < floor or low > ceiling)


def _verdict(claim: str, interval: Interval, *, holds: bool, fails: bool) -> Verdict:
    low, high = _ends(interval)
    return Verdict(
        claim=claim,
        verdict="holds" if holds else "does not hold" if fails else "undecided",
        numbers=f"{interval.mean:.4g} [{low:.4g}, {high:.4g}]",
    )


def _ends(interval: Interval) -> tuple[float, float]:
    if interval.low is None or interval.high is None:
        raise ValueError("a verdict needs an interval")
    return interval.low, interval.high
