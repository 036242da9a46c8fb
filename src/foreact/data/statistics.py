"""Statistics of dataset columns and pictures, under the names that LeRobot gives them."""

from __future__ import annotations

from collections.abc import Sequence

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


def describe_frames(frames_THWC: np.ndarray, *, most: int = 16) -> Statistics:
    """Statistics per colour channel of at most `most` evenly spaced frames, in [0, 1]; each (3, 1, 1), count (1,)."""
    chosen = frames_THWC[np.linspace(0, len(frames_THWC) - 1, min(most, len(frames_THWC))).round().astype(int)]
    counts = np.stack([np.bincount(chosen[..., channel].ravel(), minlength=256) for channel in range(3)])  # (3, 256)
    levels, pixels = np.arange(256) / 255, counts[0].sum()
    mean = counts @ levels / pixels
    stats = {
        "min": levels[(counts > 0).argmax(axis=1)],
        "max": levels[255 - (counts[:, ::-1] > 0).argmax(axis=1)],
        "mean": mean,
        "std": np.sqrt(np.maximum(counts @ levels**2 / pixels - mean**2, 0)),
    } | {name: _quantile(counts, q) / 255 for name, q in zip(_quantile_names(), QUANTILES, strict=True)}
    return {key: value.reshape(3, 1, 1) for key, value in stats.items()} | {"count": np.array([len(chosen)])}


def _quantile(counts: np.ndarray, quantile: float) -> np.ndarray:
    """Quantile of whole numbers 0, 1, .. counted in each row of (R, levels), between neighbours as `np.quantile` does it."""
    ranks, place = counts.cumsum(axis=1), quantile * (counts[0].sum() - 1)
    below, above = ((ranks <= rank).sum(axis=1) for rank in (np.floor(place), np.ceil(place)))
    return below + (above - below) * (place % 1)


def pool(stats: Sequence[Statistics]) -> Statistics:
    """Statistics of the union, from those of its parts; quantiles are averaged (weighted by count), so approximate."""
    counts = np.array([float(part["count"][0]) for part in stats])
    weights = counts / counts.sum()

    def average(key: str) -> np.ndarray:
        return np.tensordot(weights, np.stack([part[key] for part in stats]), axes=1)

    mean = average("mean")
    square = np.tensordot(weights, np.stack([part["std"] ** 2 + part["mean"] ** 2 for part in stats]), axes=1)
    return {
        "min": np.min([part["min"] for part in stats], axis=0),
        "max": np.max([part["max"] for part in stats], axis=0),
        "mean": mean,
        "std": np.sqrt(np.maximum(square - mean**2, 0)),
        "count": np.array([int(counts.sum())]),
    } | {name: average(name) for name in _quantile_names()}


def _quantile_names() -> list[str]:
    return [f"q{round(quantile * 100):02d}" for quantile in QUANTILES]
