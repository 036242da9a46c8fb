"""The batches of a step, as the training loop asks for them: a function of (seed, step) and of nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foreact.core.batch import Batch, Columns, FrameBatch
from foreact.core.errors import ForeactError
from foreact.core.recipe import PairSampling
from foreact.data.lerobot import LeRobotDataset
from foreact.recordings.pairs import Pairs, PairSampler, gather_actions
from foreact.recordings.recordings import ROBOT, Recordings
from foreact.recordings.splits import Split
from foreact.recordings.token_cache import encode_frames
from foreact.recordings.views import ClipViews, ViewRanges

_STATISTICS_PAIRS = 1024
"""Pairs, or frames, that statistics are fitted on."""
_APART = 2**31
"""The number of a step that no training makes."""


class PairBatches:
    """Token pairs of a step, as `training.loop.Task.batches` wants them."""

    def __init__(
        self,
        recordings: Recordings,
        *,
        law: PairSampling,
        columns: Columns,
        batch_size: int,
        seed: int,
    ) -> None:
        """Prepare batches.

        Args:
            recordings: tokens and actions.
            law: of pairs.
            columns: what batches hold beside tokens.
            batch_size: pairs per step over all processes.
            seed: of the pairs.

        Raises:
            ForeactError: the gap of all pairs is beyond the horizon, or longer than all episodes.
        """
        self.recordings, self.columns, self.law = recordings, columns, law
        self.batch_size, self.seed = batch_size, seed
        self.views = ViewRanges() if columns.two_views else None
        self._states = recordings.states if columns.states else {}
        horizon = columns.actions
        episodes = list(recordings.require_actions()) if horizon else recordings.split.train
        lengths = {e: recordings.dataset.episodes[e].length for e in episodes}
        moving = recordings.moving if law.moving > 0 else None
        fps = recordings.dataset.fps
        self.sampler = PairSampler(lengths, law, seed=seed, moving=moving, fps=fps)
        gap = law.gap(fps)
        if gap and horizon and gap > horizon:
            raise ForeactError(f"{law.seconds:g} s are {gap} actions at {fps:g} per second, the model takes {horizon}")

    @property
    def about(self) -> dict[str, Any]:
        """What a resume must find unchanged; what is not set is left out, as in runs of before it could be."""
        law = {k: v for k, v in dataclasses.asdict(self.law).items() if v is not None}
        views = {} if self.views is None else {"views": dataclasses.asdict(self.views)}
        return {"sampling": law, **views}

    def pairs(self) -> tuple[Tensor, Tensor]:
        """See `TrainingData.pairs`: drawn under a step number that training never uses."""
        pairs, gather = self.sampler.sample(_APART, _STATISTICS_PAIRS), self.recordings.cache.gather
        s_t, s_th = gather(pairs.episode, pairs.start), gather(pairs.episode, pairs.start + pairs.horizon)
        return torch.from_numpy(s_t), torch.from_numpy(s_th)

    def action_statistics(self) -> tuple[Tensor, Tensor]:
        """See `TrainingData.action_statistics`."""
        return self.recordings.action_statistics()

    def states(self) -> Mapping[int, Tensor]:
        """See `TrainingData.states`."""
        rows = list(self._states.values())
        return {ROBOT: torch.from_numpy(np.concatenate(rows))} if rows else {}

    def __call__(self, step: int, rank: int, processes: int) -> Batch:
        """This process's pairs of step `step`."""
        own = self.batch_size // processes
        pairs = self.sampler.sample(step, self.batch_size)[rank * own : (rank + 1) * own]
        horizon, stride = self.columns.actions, self.columns.clip_stride
        actions = gather_actions(self.recordings.actions, pairs, horizon) if horizon else None
        return Batch(
            lengths=torch.from_numpy(pairs.horizon),
            actions=None if actions is None else torch.from_numpy(actions),
            clip=self._clip(pairs, horizon, stride) if horizon and stride else None,
            shard=(rank, processes),
            **(self._as_recorded(pairs) if self.views is None else self._in_two_views(pairs, step, rank * own)),
            **self._states_of(pairs),
        )

    def _clip(self, pairs: Pairs, horizon: int, stride: int) -> Tensor:
        """Tokens (B, K, N, C) of the frames after every `stride` actions, the last one repeated."""
        after = np.minimum(np.arange(stride, horizon + stride, stride), pairs.horizon[:, None])
        frames = (pairs.start[:, None] + after).ravel()
        tokens = self.recordings.cache.gather(pairs.episode.repeat(after.shape[1]), frames)
        return torch.from_numpy(tokens).unflatten(0, after.shape)

    def _as_recorded(self, pairs: Pairs) -> dict[str, Tensor]:
        gather = self.recordings.cache.gather
        return {
            "tokens_t": torch.from_numpy(gather(pairs.episode, pairs.start)),
            "tokens_th": torch.from_numpy(gather(pairs.episode, pairs.start + pairs.horizon)),
        }

    def _in_two_views(self, pairs: Pairs, step: int, first: int) -> dict[str, Tensor]:
        """Views are drawn for the whole batch, of which `pairs` are the rows from `first` on."""
        assert self.views is not None
        cache, generator = self.recordings.cache, torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        times = {"t": pairs.start, "th": pairs.start + pairs.horizon}
        frames = {key: torch.from_numpy(cache.gather_frames(pairs.episode, t)) for key, t in times.items()}
        shown: dict[str, Tensor] = {}
        for name in ("seen", "tokens"):
            views = ClipViews.draw(self.batch_size, self.views, generator)[first : first + len(pairs.start)]
            shown |= {f"{name}_{key}": views(pictures) for key, pictures in frames.items()}
        tokens = torch.from_numpy(encode_frames(cache.encoder, torch.cat(list(shown.values())).numpy()))
        return dict(zip(shown, tokens.chunk(len(shown)), strict=True))

    def _states_of(self, pairs: Pairs) -> dict[str, Tensor]:
        if not self._states:
            return {}

        def at(times: np.ndarray) -> Tensor:
            rows = zip(pairs.episode, times, strict=True)
            return torch.from_numpy(np.stack([self._states[int(e)][t] for e, t in rows]))

        embodiment = torch.full((len(pairs.start),), ROBOT)
        return {"state_t": at(pairs.start), "state_th": at(pairs.start + pairs.horizon), "embodiment": embodiment}


class RecordedFrames:
    """Single frames of the training episodes as they were recorded, decoded when asked for."""

    def __init__(self, recordings: Recordings, *, batch_size: int, seed: int) -> None:
        self.recordings, self.batch_size, self.seed = recordings, batch_size, seed
        self._rows = _frame_rows(recordings.dataset, recordings.split)

    @property
    def about(self) -> dict[str, Any]:
        """Nothing beside the split."""
        return {}

    def __call__(self, step: int, rank: int, processes: int) -> FrameBatch:
        """This process's part of step `step`."""
        episodes, indices = _draw_rows(self._rows, self.batch_size, (self.seed, step), rank, processes)
        rows, frames = zip(episodes, indices, strict=True), self.recordings.dataset.frames
        return FrameBatch(
            frames=torch.from_numpy(np.stack([frames(int(e), start=int(t), count=1)[0] for e, t in rows]))
        )

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

    def __call__(self, step: int, rank: int, processes: int) -> FrameBatch:
        """This process's part of step `step`."""
        episodes, indices = _draw_rows(self._rows, self.batch_size, (self.seed, step), rank, processes)
        cache = self.recordings.cache
        tokens, frames = cache.gather(episodes, indices), cache.gather_frames(episodes, indices)
        return FrameBatch(frames=torch.from_numpy(frames), tokens=torch.from_numpy(tokens))

    def pairs(self) -> tuple[Tensor, Tensor]:
        """See `TrainingData.pairs`: the same frames twice."""
        draws = range(_APART, _APART + _STATISTICS_PAIRS // self.batch_size + 1)
        found = [
            self.recordings.cache.gather(*_draw_rows(self._rows, self.batch_size, (self.seed, s), 0, 1)) for s in draws
        ]
        tokens = torch.from_numpy(np.concatenate(found))
        return tokens, tokens


def _frame_rows(dataset: LeRobotDataset, split: Split) -> np.ndarray:
    return np.array([(e, t) for e in split.train for t in range(dataset.episodes[e].length)], dtype=np.int64)


def _draw_rows(rows: np.ndarray, batch: int, seed: tuple[int, int], rank: int, processes: int) -> np.ndarray:
    """Episodes and frame indices, (2, B), of this process's part of a batch."""
    own = batch // processes
    chosen = np.random.default_rng(seed).integers(len(rows), size=batch)
    return rows[chosen[rank * own : (rank + 1) * own]].T
