"""A dataset made ready for training: split, frozen encoder, tokens; and the batches drawn from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from foreact.contracts import Batch
from foreact.data.lerobot import STATE, LeRobotDataset
from foreact.data.movement import moving_starts, object_positions
from foreact.data.pairs import Pairs, PairSampler, PairSampling, action_statistics, gather_actions
from foreact.data.splits import Split
from foreact.data.token_cache import TokenCache, encode_frames
from foreact.errors import ForeactError
from foreact.training.views import ClipViews, ViewRanges

_FRAMES_PER_READ = 512
ROBOT = 1  # the embodiment of a dataset's states; 0 is for humans


@dataclass(frozen=True, kw_only=True)
class Recordings:
    """What all training tasks read from."""

    dataset: LeRobotDataset
    split: Split
    cache: TokenCache

    @cached_property
    def actions(self) -> dict[int, np.ndarray]:
        """Actions (T, A) of the training episodes that have them.

        Raises:
            ForeactError: an action is not finite, also where it is held out.
        """
        both = (*self.split.train, *self.split.validation)
        found = {e: self.dataset.actions(e) for e in both if self.dataset.has_actions(e)}
        return {e: found[e] for e in self.split.train if e in found}

    @cached_property
    def states(self) -> dict[int, np.ndarray]:
        """The robot's states (T, P) of the training episodes; empty where the dataset has none."""
        episodes = self.split.train if self.state_dim else ()
        return {e: self.dataset.column(STATE, e).astype(np.float32) for e in episodes}

    @property
    def state_dim(self) -> int:
        """P, numbers in the robot's state; 0 where the dataset has none."""
        return int(np.prod(self.dataset.features[STATE]["shape"])) if STATE in self.dataset.features else 0

    @cached_property
    def moving(self) -> dict[int, np.ndarray]:
        """Masks (T,) of start frames near movement: of objects where poses are recorded, else of tokens."""
        return dict(zip(self.split.train, moving_starts([self._change(e) for e in self.split.train]), strict=True))

    @cached_property
    def held_out(self) -> Recordings:
        """The same recordings with the held-out episodes in the place of the training ones."""
        split = replace(self.split, train=self.split.validation, validation=self.split.train)
        return replace(self, split=split)

    def require_actions(self) -> dict[int, np.ndarray]:
        """The actions.

        Raises:
            ForeactError: no training episode has any.
        """
        if not self.actions:
            raise ForeactError(
                f"{self.dataset.root} has no episode with actions; a world model needs them (rla does not)"
            )
        return self.actions

    def action_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (A,) of the training actions."""
        mean, std = action_statistics(list(self.require_actions().values()))
        return torch.from_numpy(mean), torch.from_numpy(std)

    def _change(self, episode: int) -> np.ndarray:
        positions = object_positions(self.dataset, episode)
        if positions is not None:
            return np.linalg.norm(np.diff(positions, axis=0), axis=1)
        tokens = self.cache.tokens(episode)
        parts = [tokens[i : i + _FRAMES_PER_READ + 1] for i in range(0, len(tokens) - 1, _FRAMES_PER_READ)]
        changes = [np.abs(np.diff(p.astype(np.float32), axis=0)).mean(axis=(1, 2)) for p in parts]
        return np.concatenate(changes)


class PairBatches:
    """Token pairs of a step, as `training.loop.Task.batches` wants them."""

    def __init__(
        self,
        recordings: Recordings,
        sampling: PairSampling,
        *,
        batch_size: int,
        seed: int,
        horizon: int | None = None,
        clip_stride: int | None = None,
        states: bool = False,
        views: ViewRanges | None = None,
    ) -> None:
        """Prepare batches.

        Args:
            recordings: tokens and actions.
            sampling: law of pairs.
            batch_size: pairs per step over all processes.
            seed: of the pairs.
            horizon: H, to which action chunks are padded; None leaves actions out, for models that need none.
            clip_stride: actions between the frames of clips, for models that need them.
            states: add the robot's states where the dataset has them.
            views: draw two views of each pair and encode them now: one to infer z from, one to predict.

        Raises:
            ForeactError: the gap of all pairs is beyond the horizon, or longer than all episodes.
        """
        self.recordings, self.batch_size = recordings, batch_size
        self.horizon, self.clip_stride = horizon, clip_stride
        self.seed, self.states, self.views = seed, recordings.states if states else {}, views
        episodes = list(recordings.require_actions()) if horizon else recordings.split.train
        lengths = {e: recordings.dataset.episodes[e].length for e in episodes}
        moving = recordings.moving if sampling.moving > 0 else None
        fps = recordings.dataset.fps
        self.sampler = PairSampler(lengths, sampling, seed=seed, moving=moving, fps=fps)
        gap = sampling.gap(fps)
        if gap and horizon and gap > horizon:
            raise ForeactError(
                f"{sampling.seconds:g} s are {gap} actions at {fps:g} per second, the model takes {horizon}"
            )

    def __call__(self, step: int, rank: int, processes: int) -> Batch:
        """This process's pairs of step `step`."""
        own = self.batch_size // processes
        pairs = self.sampler.sample(step, self.batch_size)[rank * own : (rank + 1) * own]
        actions = gather_actions(self.recordings.actions, pairs, self.horizon) if self.horizon else None
        return Batch(
            lengths=torch.from_numpy(pairs.horizon),
            actions=None if actions is None else torch.from_numpy(actions),
            clip=self._clip(pairs, self.horizon, self.clip_stride) if self.horizon and self.clip_stride else None,
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
        if not self.states:
            return {}

        def at(times: np.ndarray) -> Tensor:
            rows = zip(pairs.episode, times, strict=True)
            return torch.from_numpy(np.stack([self.states[int(e)][t] for e, t in rows]))

        embodiment = torch.full((len(pairs.start),), ROBOT)
        return {"state_t": at(pairs.start), "state_th": at(pairs.start + pairs.horizon), "embodiment": embodiment}


class FrameBatches:
    """Single frames of the training episodes with their tokens."""

    def __init__(self, recordings: Recordings, *, batch_size: int, seed: int) -> None:
        self.cache, self.batch_size, self.seed = recordings.cache, batch_size, seed
        self._rows = _frame_rows(recordings.dataset, recordings.split)

    def __call__(self, step: int, rank: int, processes: int) -> tuple[Tensor, Tensor]:
        """Tokens (B, N, C) and frames (B, S, S, 3) uint8: this process's part of step `step`."""
        episodes, indices = _draw_rows(self._rows, self.batch_size, (self.seed, step), rank, processes)
        tokens, frames = self.cache.gather(episodes, indices), self.cache.gather_frames(episodes, indices)
        return torch.from_numpy(tokens), torch.from_numpy(frames)


class VideoFrames:
    """Single frames of the training episodes as they were recorded, decoded when asked for."""

    def __init__(self, dataset: LeRobotDataset, split: Split, *, batch_size: int, seed: int) -> None:
        self.dataset, self.batch_size, self.seed = dataset, batch_size, seed
        self._rows = _frame_rows(dataset, split)

    def __call__(self, step: int, rank: int, processes: int) -> Tensor:
        """Frames (B, height, width, 3) uint8: this process's part of step `step`."""
        episodes, indices = _draw_rows(self._rows, self.batch_size, (self.seed, step), rank, processes)
        rows = zip(episodes, indices, strict=True)
        return torch.from_numpy(np.stack([self.dataset.frames(int(e), start=int(t), count=1)[0] for e, t in rows]))


def _frame_rows(dataset: LeRobotDataset, split: Split) -> np.ndarray:
    return np.array([(e, t) for e in split.train for t in range(dataset.episodes[e].length)], dtype=np.int64)


def _draw_rows(rows: np.ndarray, batch: int, seed: tuple[int, int], rank: int, processes: int) -> np.ndarray:
    """Episodes and frame indices, (2, B), of this process's part of a batch."""
    own = batch // processes
    chosen = np.random.default_rng(seed).integers(len(rows), size=batch)
    return rows[chosen[rank * own : (rank + 1) * own]].T
