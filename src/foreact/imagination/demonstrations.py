"""Demonstrations that a policy is to be like: where imagined episodes begin, and the true tokens of every frame.

Tokens are read from the memory-mapped cache; nothing is decoded or encoded again.

Shape legend: n environments, N patch tokens, C channels, A action dimension.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from foreact.core.errors import ForeactError
from foreact.recordings.recording import IMAGES, TOKENS
from foreact.recordings.recordings import Recordings


class Demonstrations:
    """The successful training episodes of recordings, numbered from 0; all where the recordings do not tell success.

    Args:
        recordings: with their tokens.
        chunk: actions of a step; shorter episodes cannot be learnt from.

    Attributes:
        last: the last frame of each demonstration, (D,).
        names: source and episode of each, (D, 2).
        left_out: episodes that are too short.

    Raises:
        ForeactError: no episode is left.
    """

    def __init__(self, recordings: Recordings, *, chunk: int) -> None:
        self.recordings, self.chunk = recordings, chunk
        told = [(k, e, source.successes(e)) for k, source in enumerate(recordings.sources) for e in source.split.train]
        good = [(k, e) for k, e, success in told if success is None or success.any()]
        if not good:
            raise ForeactError(
                f"{', '.join(recordings.names)}: no training episode is a success, so none shows the task"
            )
        lengths = np.array([int(recordings.sources[k].lengths[e]) for k, e in good])
        kept = lengths > chunk
        if not kept.any():
            raise ForeactError(
                f"{', '.join(recordings.names)}: the longest demonstration has {lengths.max()} frames, a chunk of {chunk} actions "
                f"needs {chunk + 1}: execute fewer actions, or record longer episodes"
            )
        self.names, self.last = np.array(good)[kept], lengths[kept] - 1
        self.left_out = int((~kept).sum())

    def __len__(self) -> int:
        return len(self.last)

    def tokens(self, which: np.ndarray, frames: np.ndarray) -> Tensor:
        """Tokens (n, N, C), float32, of frames (n,) of demonstrations (n,); beyond the end, those of the last frame."""
        source, episodes = self.names[which].T
        inside = np.minimum(frames, self.last[which])
        return torch.from_numpy(self.recordings.read(IMAGES + TOKENS, source, episodes, inside)).float()

    def action_limits(self) -> tuple[np.ndarray, np.ndarray]:
        """Smallest and largest values (A,) of the demonstrated actions.

        Raises:
            ForeactError: a source without actions.
        """
        self.recordings.require_actions()
        rows = [self.recordings.sources[k].actions[e] for k, e in self.names if e in self.recordings.sources[k].actions]
        joined = np.concatenate(rows)
        return joined.min(axis=0), joined.max(axis=0)

    def step_towards_the_end(self) -> float:
        """Mean L1 between the tokens of first and last frames: what a whole demonstration changes."""
        every = np.arange(len(self))
        return float((self.tokens(every, 0 * every) - self.tokens(every, self.last)).abs().mean())
