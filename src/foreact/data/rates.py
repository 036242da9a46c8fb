"""Frame rates as the fractions that they are short for."""

from __future__ import annotations

from fractions import Fraction


def exact_rate(fps: float) -> Fraction:
    """Frames per second as a fraction: 29.97, 59.94 and 23.976 are short for 30000/1001, 60000/1001 and 24000/1001.

    Any other number is the nearest fraction with a denominator of at most 1000, so 12.5 is 25/2.
    """
    broadcast = Fraction(round(fps * 1.001) * 1000, 1001)
    near = abs(float(broadcast) / fps - 1) < 2e-5 if fps else False
    return broadcast if near else Fraction(fps).limit_denominator(1000)
