"""The single frames of a step, for what draws pictures from tokens or learns tokens from pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foreact.core.batch import FrameBatch
from foreact.core.errors import ForeactError
from foreact.recordings import batches
from foreact.recordings.mixture import RowSampler
from foreact.recordings.recording import IMAGES, TOKENS, Recording
from foreact.recordings.recordings import Recordings


class RecordedFrames:
    """Single frames of the training episodes as they were recorded, decoded when asked for."""

    def __init__(self, recordings: Recordings, *, batch_size: int, seed: int) -> None:
        """Prepare batches.

        Args:
            recordings: of one size of pictures, where frames are taken as they were recorded.
            batch_size: frames per step over all processes.
            seed: of all draws.

        Raises:
            ForeactError: sources whose pictures have several sizes.
        """
        self.recordings, self.batch_size, self.seed = recordings, batch_size, seed
        rows = [_frame_rows(source) for source in recordings.sources]
        self.rows = RowSampler(rows, recordings.weights, batch_size=batch_size, seed=seed)
        self._check()

    def _check(self) -> None:
        first = self.recordings.sources[0].dataset
        for source in self.recordings.sources:
            (height, width), (others, wide) = source.dataset.image_shape, first.image_shape
            if (height, width) != (others, wide):
                raise ForeactError(
                    f"the pictures of {source.dataset.camera} in {source.dataset.root} are {height} x {width}, those of "
                    f"{first.camera} in {first.root} {others} x {wide}: what learns from pictures as they were recorded needs one size"
                )

    @property
    def about(self) -> dict[str, Any]:
        """What a resume must find unchanged, beside the split."""
        return self.recordings.mixture

    @property
    def on_disk(self) -> bool:
        """See `PairBatches.on_disk`; videos are decoded."""
        return False

    @property
    def encodes(self) -> bool:
        """See `PairBatches.encodes`."""
        return False

    def __call__(self, step: int, rank: int, processes: int) -> FrameBatch:
        """This process's part of step `step`."""
        rows = zip(*self.rows.sample(step, rank, processes), strict=True)
        sources = self.recordings.sources
        frames = [sources[k].dataset.frames(int(e), start=int(t), count=1)[0] for k, e, t in rows]
        return FrameBatch(frames=torch.from_numpy(np.stack(frames)))

    def pairs(self) -> tuple[Tensor, Tensor]:
        """See `TrainingData.pairs`; frames as they were recorded have no tokens."""
        raise ForeactError("a model that learns from frames as they were recorded has no tokens to fit statistics on")

    def action_statistics(self) -> tuple[Tensor, Tensor]:
        """See `TrainingData.action_statistics`."""
        return self.recordings.action_statistics()

    def states(self) -> Mapping[int, Tensor]:
        """See `TrainingData.states`; none."""
        return {}


class FrameBatches(RecordedFrames):
    """Single frames of the training episodes in the encoder's size, with their tokens."""

    def _check(self) -> None:
        """Nothing: all frames come in one size."""

    @property
    def on_disk(self) -> bool:
        """See `PairBatches.on_disk`."""
        return not self.encodes and all(s.cache.on_disk(frames=True) for s in self.recordings.sources)

    @property
    def encodes(self) -> bool:
        """See `PairBatches.encodes`."""
        return not all(s.cache.on_disk() for s in self.recordings.sources)

    def __call__(self, step: int, rank: int, processes: int) -> FrameBatch:
        """This process's part of step `step`."""
        rows = self.rows.sample(step, rank, processes)
        tokens, frames = (torch.from_numpy(self.recordings.read(name, *rows)) for name in (IMAGES + TOKENS, IMAGES))
        return FrameBatch(frames=frames, tokens=tokens)

    def pairs(self) -> tuple[Tensor, Tensor]:
        """See `TrainingData.pairs`: the same frames twice."""
        first = batches._APART
        steps = range(first, first + batches._STATISTICS_PAIRS // self.batch_size + 1)
        found = [self.recordings.read(IMAGES + TOKENS, *self.rows.sample(step, 0, 1)) for step in steps]
        tokens = torch.from_numpy(np.concatenate(found))
        return tokens, tokens


def _frame_rows(source: Recording) -> np.ndarray:
    """All (episode, frame) of the training episodes, (n, 2)."""
    lengths = {e: source.dataset.episode(e).length for e in source.split.train}
    return np.array([(e, t) for e, length in lengths.items() for t in range(length)], dtype=np.int64)
