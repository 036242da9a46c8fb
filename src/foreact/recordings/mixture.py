"""Rows of a batch drawn from several sources: which source by the weights, what in it by the source's own sampler."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foreact.core.errors import ForeactError


def draw_sources(weights: np.ndarray, batch: int, seed: int, step: int) -> np.ndarray:
    """Numbers (B,) of the sources of a step's rows; the same for the same seed, step and batch size."""
    if len(weights) == 1:
        return np.zeros(batch, dtype=np.int64)
    rng = np.random.default_rng([seed, step, len(weights)])  # the samplers of the sources end with smaller numbers
    return rng.choice(len(weights), size=batch, p=weights)


def part_of(batch: int, rank: int, processes: int) -> slice:
    """The rows of a step's batch that a process makes."""
    own = batch // processes
    return slice(rank * own, (rank + 1) * own)


def mix(source: np.ndarray, draws: Sequence[np.ndarray]) -> np.ndarray:
    """Row i of draws[source[i]], each (B, ...)."""
    return draws[0] if len(draws) == 1 else np.stack(draws)[source, np.arange(len(source))]


class RowSampler:
    """Draws (source, episode, frame) rows: the source by its weight, then any of its rows."""

    def __init__(self, rows: Sequence[np.ndarray], weights: np.ndarray, *, batch_size: int, seed: int) -> None:
        """Prepare the sampler.

        Args:
            rows: of each source the (episode, frame) pairs to draw from, (n, 2).
            weights: of the sources, with sum 1.
            batch_size: rows per step over all processes.
            seed: of all draws.

        Raises:
            ForeactError: a source has no row.
        """
        if not all(len(part) for part in rows):
            raise ForeactError("a dataset has no frame to draw: its training episodes are too short")
        self._rows, self._weights, self.batch_size, self.seed = rows, weights, batch_size, seed

    def sample(self, step: int, rank: int, processes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sources, episodes and frames, each (B,), of this process's part of a step."""
        own = part_of(self.batch_size, rank, processes)
        source = draw_sources(self._weights, self.batch_size, self.seed, step)
        draws = []
        for number, rows in enumerate(self._rows):
            rng = np.random.default_rng([self.seed, step, number])
            draws.append(rows[rng.integers(len(rows), size=self.batch_size)])
        episode, frame = mix(source, draws)[own].T
        return source[own], episode, frame
