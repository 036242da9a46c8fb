"""Whether anything moves in the recordings, and whether it moves within one chunk of actions."""

from __future__ import annotations

import numpy as np

from foreact.core.errors import ForeactError
from foreact.recordings.recordings import Recordings

_PAIRS = 256
_STILL = 2e-3
"""Of the tokens' spread: a mean change below it is what video compression leaves."""
_SLOW, _ENOUGH = 0.15, 0.5
"""Of what changes within whole episodes: a chunk that changes less than the first is too short; one with the second is long enough."""
_STRIDES = (2, 3, 4, 5, 6, 8, 10, 15, 20)


def advise(recordings: Recordings, horizon: int) -> str:
    """Advice where so little moves within a chunk that a model of its changes has little to learn; else nothing.

    Args:
        recordings: with cached tokens.
        horizon: H, the most actions of a chunk.

    Raises:
        ForeactError: nothing moves at all.
    """
    changes: dict[int, list[float]] = {gap: [] for gap in (horizon, *(horizon * k for k in _STRIDES))}
    far, spread = [], []
    for source in recordings.sources:
        rng = np.random.default_rng(0)
        episodes = rng.choice(source.split.train, _PAIRS)
        lengths = np.array([source.dataset.episode(int(e)).length for e in episodes])
        first, last = (rng.integers(lengths) for _ in range(2))
        now = source.cache.gather(episodes, first).astype(np.float32)
        spread.append(now.std())
        far.append(_apart(now, source.cache.gather(episodes, last)))
        for gap, found in changes.items():
            inside = first + gap < lengths
            if inside.sum() >= _PAIRS // 16:
                found.append(_apart(now[inside], source.cache.gather(episodes[inside], (first + gap)[inside])))
    most = float(np.mean(far))
    if most < _STILL * float(np.mean(spread)):
        raise ForeactError(
            f"nothing moves in {', '.join(recordings.names)}: from one frame to another of the same episode the tokens change by "
            f"{most / float(np.mean(spread)):.2g} of their spread; record movement, or choose another --camera"
        )
    seen = {gap: float(np.mean(found)) for gap, found in changes.items() if found}
    if seen.get(horizon, most) >= _SLOW * most:
        return ""
    stride = next((gap // horizon for gap, change in seen.items() if change >= _ENOUGH * most), max(seen) // horizon)
    return (
        f"little moves within {horizon} frames, the longest chunk: {seen[horizon] / most:.0%} of what changes within whole episodes. "
        f"At every {stride}th frame it would be {seen[stride * horizon] / most:.0%}: "
        f"foreact import lerobot DATA --stride {stride} --out OTHER"
    )


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other.astype(np.float32)).mean())
