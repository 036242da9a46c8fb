"""Statistics of dataset columns and pictures, under the names that LeRobot gives them."""

from __future__ import annotations

import numpy as np

QUANTILES = (0.01, 0.10, 0.50, 0.90, 0.99)

Statistics = dict[str, np.ndarray]


def describe_rows(values: np.ndarray) -> Statistics:
    """min, max, mean, std, q01 .. q99 (each (D,)) and count (1,) of the rows (n, D) that are not NaN throughout."""
    rows = values[~np.isnan(values).all(axis=1)] if values.dtype.kind == "f" else values
    count = np.array([len(rows)])
    if not len(rows):
        rows = np.full((1, values.shape[1]), np.nan)
    wide = rows.astype(np.float64)
    stats = {"min": rows.min(0), "max": rows.max(0), "mean": wide.mean(0), "std": wide.std(0), "count": count}
    return stats | dict(zip(_quantile_names(), np.quantile(wide, QUANTILES, axis=0)))


def count_levels(frames_THWC: np.ndarray, *, most: int = 16) -> np.ndarray:
    """How many pixels have each level, per colour channel, (3, 256), in at most `most` evenly spaced frames.

    Counts of several videos add up to those of all of them together.
    """
    chosen = frames_THWC[np.linspace(0, len(frames_THWC) - 1, min(most, len(frames_THWC))).round().astype(int)]
    return np.stack([np.bincount(chosen[..., channel].ravel(), minlength=256) for channel in range(3)])


def describe_levels(counts: np.ndarray, pixels: int) -> Statistics:
    """Statistics per colour channel in [0, 1] of pictures whose levels were counted; each (3, 1, 1), count (1,).

    Args:
        counts: (3, 256), as `count_levels` gives them.
        pixels: of one picture.
    """
    levels, total = np.arange(256) / 255, counts[0].sum()
    mean = counts @ levels / total
    stats = {
        "min": levels[(counts > 0).argmax(axis=1)],
        "max": levels[255 - (counts[:, ::-1] > 0).argmax(axis=1)],
        "mean": mean,
        "std": np.sqrt(np.maximum(counts @ levels**2 / total - mean**2, 0)),
    } | {name: _quantile(counts, q) / 255 for name, q in zip(_quantile_names(), QUANTILES, strict=True)}
    return {key: value.reshape(3, 1, 1) for key, value in stats.items()} | {"count": np.array([total // pixels])}


def _quantile(counts: np.ndarray, quantile: float) -> np.ndarray:
    """Quantile of whole numbers 0, 1, .. counted in each row of (R, levels), between neighbours as `np.quantile` does it."""
    ranks, place = counts.cumsum(axis=1), quantile * (counts[0].sum() - 1)
    below, above = ((ranks <= rank).sum(axis=1) for rank in (np.floor(place), np.ceil(place)))
    return below + (above - below) * (place % 1)


def _quantile_names() -> list[str]:
    return [f"q{round(quantile * 100):02d}" for quantile in QUANTILES]
