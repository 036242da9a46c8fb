"""The pairs of a step, as the training loop asks for them: a function of (seed, step) and of nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foreact.core.batch import Batch, Columns
from foreact.core.errors import ForeactError
from foreact.core.recipe import PairSampling
from foreact.data.lerobot import ACTION, STATE
from foreact.recordings.mixture import draw_sources, mix, part_of
from foreact.recordings.pairs import Pairs, PairSampler, action_times
from foreact.recordings.recording import IMAGES, TOKENS, Recording
from foreact.recordings.recordings import Recordings
from foreact.recordings.token_cache import encode_frames
from foreact.recordings.views import ClipViews, ViewRanges

_STATISTICS_PAIRS = 1024
"""Pairs, or frames, that statistics are fitted on."""
_APART = 2**31
"""The number of a step that no training makes."""


class PairBatches:
    """Token pairs of a step, as `training.task.Task.batches` wants them."""

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
            law: of pairs; its horizon is counted in frames of the first source and lasts as long in the others.
            columns: what batches hold beside tokens.
            batch_size: pairs per step over all processes.
            seed: of the pairs.

        Raises:
            ForeactError: sources whose actions do not go together; the gap of all pairs is beyond the horizon, or longer than
                all episodes of a source.
        """
        self.recordings, self.columns, self.law = recordings, columns, law
        self.batch_size, self.seed = batch_size, seed
        self.views = ViewRanges() if columns.two_views else None
        self._has_states = columns.states and recordings.state_dim > 0
        self._embodiments = np.array([source.embodiment for source in recordings.sources])
        if columns.actions:
            recordings.require_actions()
        self._samplers = [self._sampler(number, source) for number, source in enumerate(recordings.sources)]

    def _sampler(self, number: int, source: Recording) -> PairSampler:
        law, horizon, fps = self.law, self.columns.actions, source.fps
        gap = law.gap(fps)
        if gap and horizon and gap > horizon:
            raise ForeactError(f"{law.seconds:g} s are {gap} actions at {fps:g} per second, the model takes {horizon}")
        longest = round(law.max_horizon * fps / self.recordings.sources[0].fps)
        episodes = list(source.require_actions()) if horizon else source.split.train
        return PairSampler(
            {e: source.dataset.episode(e).length for e in episodes},
            dataclasses.replace(law, max_horizon=max(1, longest) if law.max_horizon > 0 else law.max_horizon),
            seed=self.seed,
            moving=source.moving if law.moving > 0 else None,
            fps=fps,
            source=number,
        )

    @property
    def about(self) -> dict[str, Any]:
        """What a resume must find unchanged; what is not set is left out, as in runs of before it could be."""
        law = {k: v for k, v in dataclasses.asdict(self.law).items() if v is not None}
        views = {} if self.views is None else {"views": dataclasses.asdict(self.views)}
        return {"sampling": law, **views, **self.recordings.mixture}

    @property
    def on_disk(self) -> bool:
        """Whether batches are only read from the disk: no picture is decoded or encoded."""
        return self.views is None and all(s.cache.on_disk() for s in self.recordings.sources)

    @property
    def encodes(self) -> bool:
        """Whether batches take the encoder, on whatever device it is."""
        return not self.on_disk

    def pairs(self) -> tuple[Tensor, Tensor]:
        """See `TrainingData.pairs`: drawn under a step number that training never uses."""
        source, pairs = self.sample(_APART, _STATISTICS_PAIRS)
        return self._tokens(source, pairs.episode, pairs.start), self._tokens(
            source, pairs.episode, pairs.start + pairs.horizon
        )

    def action_statistics(self) -> tuple[Tensor, Tensor]:
        """See `TrainingData.action_statistics`."""
        return self.recordings.action_statistics()

    def states(self) -> Mapping[int, Tensor]:
        """See `TrainingData.states`; of each embodiment, padded with NaN to the longest state of any."""
        found: dict[int, list[np.ndarray]] = {}
        for source in self.recordings.sources if self._has_states else ():
            rows = list(source.states.values())
            missing = (0, 0), (0, self.recordings.state_dim - source.state_dim)
            if rows:
                padded = np.pad(np.concatenate(rows), missing, constant_values=np.nan)
                found.setdefault(source.embodiment, []).append(padded)
        return {embodiment: torch.from_numpy(np.concatenate(rows)) for embodiment, rows in found.items()}

    def sample(self, step: int, batch: int) -> tuple[np.ndarray, Pairs]:
        """The numbers (B,) of the sources of a step's pairs, and the pairs; the same for the same seed, step and batch size."""
        source = draw_sources(self.recordings.weights, batch, self.seed, step)
        drawn = [sampler.sample(step, batch) for sampler in self._samplers]
        names = [field.name for field in dataclasses.fields(Pairs)]
        return source, Pairs(**{name: mix(source, [getattr(pairs, name) for pairs in drawn]) for name in names})

    def __call__(self, step: int, rank: int, processes: int) -> Batch:
        """This process's pairs of step `step`."""
        own = part_of(self.batch_size, rank, processes)
        source, pairs = self.sample(step, self.batch_size)
        source, pairs = source[own], pairs[own]
        horizon, stride = self.columns.actions, self.columns.clip_stride
        return Batch(
            lengths=torch.from_numpy(pairs.horizon),
            actions=self._actions(source, pairs, horizon) if horizon else None,
            clip=self._clip(source, pairs, horizon, stride) if horizon and stride else None,
            shard=(rank, processes),
            **self._pictures(source, pairs, step, own.start),
            **self._states(source, pairs),
        )

    def _tokens(self, source: np.ndarray, episodes: np.ndarray, times: np.ndarray) -> Tensor:
        return torch.from_numpy(self.recordings.read(IMAGES + TOKENS, source, episodes, times))

    def _actions(self, source: np.ndarray, pairs: Pairs, horizon: int) -> Tensor:
        """Action chunks (B, H, A), zero-padded."""
        times, counts = action_times(pairs, horizon)
        actions = self.recordings.read(ACTION, source, pairs.episode, times)
        return torch.from_numpy(np.where(counts[..., None], actions, np.float32(0)))

    def _clip(self, source: np.ndarray, pairs: Pairs, horizon: int, stride: int) -> Tensor:
        """Tokens (B, K, N, C) of the frames after every `stride` actions, the last one repeated."""
        after = np.minimum(np.arange(stride, horizon + stride, stride), pairs.horizon[:, None])
        return self._tokens(source, pairs.episode, pairs.start[:, None] + after)

    def _pictures(self, source: np.ndarray, pairs: Pairs, step: int, first: int) -> dict[str, Tensor]:
        """Tokens of both frames; in two views where asked for, drawn for the whole batch, of which these rows begin at `first`."""
        times = {"t": pairs.start, "th": pairs.start + pairs.horizon}
        if self.views is None:
            return {f"tokens_{key}": self._tokens(source, pairs.episode, t) for key, t in times.items()}
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        read = self.recordings.read
        frames = {key: torch.from_numpy(read(IMAGES, source, pairs.episode, t)) for key, t in times.items()}
        shown: dict[str, Tensor] = {}
        for name in ("seen", "tokens"):
            views = ClipViews.draw(self.batch_size, self.views, generator)[first : first + len(pairs.start)]
            shown |= {f"{name}_{key}": views(pictures) for key, pictures in frames.items()}
        tokens = encode_frames(self.recordings.encoder, torch.cat(list(shown.values())).numpy())
        return dict(zip(shown, torch.from_numpy(tokens).chunk(len(shown)), strict=True))

    def _states(self, source: np.ndarray, pairs: Pairs) -> dict[str, Tensor]:
        if not self._has_states:
            return {}
        times = {"state_t": pairs.start, "state_th": pairs.start + pairs.horizon}
        found = {k: torch.from_numpy(self.recordings.read(STATE, source, pairs.episode, t)) for k, t in times.items()}
        return found | {"embodiment": torch.from_numpy(self._embodiments[source])}
