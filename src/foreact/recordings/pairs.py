"""Frame pairs (s_t, s_{t+h}) for training, sampled as in the paper (section A.2), reproducibly by step.

Batch k of a run is a function of (seed, k) alone: a resumed run and two processes see the batches of an uninterrupted,
single one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from foreact.core.errors import ForeactError
from foreact.core.recipe import PairSampling


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Sampled pairs: episode, start frame t and horizon h, each (B,) int64."""

    episode: np.ndarray
    start: np.ndarray
    horizon: np.ndarray

    def __getitem__(self, rows: slice) -> Pairs:
        return Pairs(episode=self.episode[rows], start=self.start[rows], horizon=self.horizon[rows])


class PairSampler:
    """Draws pairs from the training episodes."""

    def __init__(
        self,
        lengths: dict[int, int],
        config: PairSampling,
        *,
        seed: int,
        moving: dict[int, np.ndarray] | None = None,
        fps: float = 1.0,
        source: int = 0,
    ) -> None:
        """Prepare the sampler.

        Args:
            lengths: frames T of each training episode; episodes of one frame have no pair and are left out.
            config: the law.
            seed: of all batches.
            moving: per episode, the mask (T,) of start frames near movement.
            fps: frames per second, for gaps that are given in seconds.
            source: number of the dataset, so that several draw apart from each other.

        Raises:
            ValueError: no episode has two frames, or the horizon is below 1.
            ForeactError: no episode is as long as the gap in seconds.
        """
        if config.max_horizon < 1:
            raise ValueError(f"the horizon must be at least 1, not {config.max_horizon}")
        self.config, self.seed, self.source = config, seed, source
        self._gap = config.gap(fps)
        starts = [(e, t, length - 1 - t) for e, length in lengths.items() for t in range(length - (self._gap or 1))]
        if not starts and self._gap and max(lengths.values(), default=0) > 1:
            raise ForeactError(
                f"no episode is longer than {config.seconds:g} s ({self._gap} frames at {fps:g} per second): "
                "choose a shorter gap with --seconds"
            )
        if not starts:
            raise ValueError("no episode has two frames, so there is no pair to draw")
        self._starts = np.array(starts, dtype=np.int64)  # rows: episode, t, frames left after t
        near = [moving[e][t] for e, t, _ in starts] if moving else []
        self._moving = np.flatnonzero(near)

    def sample(self, step: int, batch: int) -> Pairs:
        """The pairs of a step's batch; the same for the same seed, step and batch size."""
        rng = np.random.default_rng([self.seed, step, self.source])
        rows = rng.integers(len(self._starts), size=batch)
        if len(self._moving):
            biased = self._moving[rng.integers(len(self._moving), size=batch)]
            rows = np.where(rng.random(batch) < self.config.moving, biased, rows)
        episode, start, left = self._starts[rows].T
        if self._gap:
            return Pairs(episode=episode, start=start, horizon=np.full(batch, self._gap))
        longest = np.minimum(left, self.config.max_horizon)
        share = rng.beta(5, 2, size=batch) if self.config.law == "beta" else rng.random(batch)
        horizon = np.minimum(1 + np.floor(share * longest), longest).astype(np.int64)
        return Pairs(episode=episode, start=start, horizon=horizon)


def take_rows(rows: Mapping[int, np.ndarray], episodes: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Rows (B, D) of episodes' (T, D) arrays at times (B,), or (B, K, D) at times (B, K)."""
    return np.stack([rows[e][t] for e, t in zip(episodes.tolist(), times, strict=True)])


def action_times(pairs: Pairs, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """At which times the actions of pairs stand, (B, H), and which of these count; the others repeat the last one."""
    steps = np.arange(horizon)
    counts = steps < pairs.horizon[:, None]
    return pairs.start[:, None] + np.minimum(steps, pairs.horizon[:, None] - 1), counts


def gather_actions(actions: Mapping[int, np.ndarray], pairs: Pairs, horizon: int) -> np.ndarray:
    """Action chunks a_{t:t+h} of pairs, zero-padded: (B, H, A) float32.

    Args:
        actions: per episode (T, A); row t leads frame t to frame t + 1.
        pairs: whose horizons are at most `horizon`.
        horizon: H.
    """
    times, counts = action_times(pairs, horizon)
    return np.where(counts[..., None], take_rows(actions, pairs.episode, times), np.float32(0))


def action_statistics(actions: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation per dimension, each (A,), over episodes of (T, A)."""
    rows = np.concatenate([a[:-1] if len(a) > 1 else a for a in actions]).astype(np.float64)
    return rows.mean(axis=0).astype(np.float32), rows.std(axis=0).astype(np.float32)
