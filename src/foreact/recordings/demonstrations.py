"""Windows of demonstrations of which some have actions: what policies learn from (RLA-WM, section 4.2).

The rows of a batch are drawn from labelled episodes, whose actions and states are looked at; where z of all episodes is given,
half of them are drawn from the silent rest, of which pictures and z alone are seen, whatever else they hold.

Shape legend: B rows, K times of a column, Q latent tokens, Z latent channels, D numbers of a feature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foreact.core.cards import Demonstrations
from foreact.core.errors import ForeactError
from foreact.data.lerobot import ACTION, STATE
from foreact.recordings.latents import Latents
from foreact.recordings.mixture import RowSampler
from foreact.recordings.recording import IMAGES, TOKENS, Recording
from foreact.recordings.recordings import Recordings
from foreact.recordings.windows import TASK, Window, WindowBatch, read_windows, require_same, require_words

LATENT = "latent"
"""Column of z, (B, 1, Q, Z)."""
_LABELS_SEED = 0x1ABE1
_SILENT_SEED = 0x511E47


class DemonstrationBatches:
    """Windows of a step, as `training.task.Task.batches` wants them: a function of (seed, step) and of nothing else.

    Args:
        recordings: of one or several sources.
        window: what is read; actions and states of labelled rows alone.
        demonstrations: whose actions are looked at.
        latents: z of all episodes; without it labelled episodes alone are drawn from.
        batch_size: windows per step over all processes.
        seed: of all draws.
        mixed: let sources have different actions and rates.

    Raises:
        ForeactError: no labelled episode, sources whose actions differ, episodes without the words that are asked for, or a batch
            size that does not halve.
    """

    def __init__(
        self,
        recordings: Recordings,
        *,
        window: Window,
        demonstrations: Demonstrations,
        latents: Latents | None,
        batch_size: int,
        seed: int,
        mixed: bool = False,
    ) -> None:
        self.recordings, self.window, self.latents = recordings, window, latents
        self.labelled = labelled_episodes(recordings, demonstrations)
        actions = [number for number, episodes in enumerate(self.labelled) if episodes]
        Recordings(sources=tuple(recordings.sources[k] for k in actions)).require_actions(same=not mixed)
        if TASK in window.columns:
            require_words(recordings)
        for name in self._seen:
            require_same(recordings, name)
        silent = self._silent() if latents else [np.zeros((0, 2), np.int64)] * len(self.labelled)
        both = any(len(rows) for rows in silent)
        if both and batch_size % 2:
            raise ForeactError(f"a batch of {batch_size} windows cannot be half with actions and half without")
        size = batch_size // 2 if both else batch_size
        labelled = [
            _rows(source, episodes, 1) for source, episodes in zip(recordings.sources, self.labelled, strict=True)
        ]
        self._labelled = _Rows(labelled, recordings.weights, size, seed)
        self._silent_rows = _Rows(silent, recordings.weights, size, seed + _SILENT_SEED) if both else None

    @property
    def _seen(self) -> tuple[str, ...]:
        """Columns that silent rows have as well."""
        return tuple(name for name in self.window.timed if name not in (ACTION, STATE))

    def _silent(self) -> list[np.ndarray]:
        """Rows with a z, of the training episodes whose actions are not looked at."""
        assert self.latents is not None
        pairs = zip(self.recordings.sources, self.labelled, strict=True)
        return [
            _rows(s, [e for e in s.split.train if e not in set(own)], ahead)
            for (s, own), ahead in zip(pairs, self.latents.horizons, strict=True)
        ]

    @property
    def about(self) -> dict[str, Any]:
        """What a resume must find unchanged, beside the split."""
        window = {name: list(times) for name, times in self.window.columns.items()}
        return {
            "window": window,
            "labelled": [list(part) for part in self.labelled],
            "latents": self.latents.name if self.latents else None,
            **self.recordings.mixture,
        }

    @property
    def on_disk(self) -> bool:
        """See `PairBatches.on_disk`."""
        return all(
            source.cache_of(name.removesuffix(TOKENS)).on_disk(frames=not name.endswith(TOKENS))
            for source in self.recordings.sources
            for name in self._seen
            if name.startswith(IMAGES)
        )

    @property
    def encodes(self) -> bool:
        """See `PairBatches.encodes`."""
        return not self.on_disk and any(name.endswith(TOKENS) for name in self._seen)

    def __call__(self, step: int, rank: int, processes: int) -> WindowBatch:
        """This process's windows of step `step`."""
        own = self._read(self.window, self._labelled.sample(step, rank, processes))
        batch = own
        if self._silent_rows is not None:
            seen = Window(columns={k: v for k, v in self.window.columns.items() if k not in (ACTION, STATE)})
            batch = _join(own, self._read(seen, self._silent_rows.sample(step, rank, processes)))
        labelled = torch.arange(len(batch.embodiment)) < len(own.embodiment)
        return replace(batch, labelled=labelled, shard=(rank, processes))

    def _read(self, window: Window, rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> WindowBatch:
        batch = read_windows(self.recordings, window, *rows)
        if self.latents is None:
            return batch
        z, inside = self.latents.read(*rows)
        columns, masks = {**batch.columns, LATENT: z[:, None]}, {**batch.inside, LATENT: inside[:, None]}
        return replace(batch, columns=columns, inside=masks)

    def limits(self, name: str, embodiment: int | None = None) -> tuple[Tensor, Tensor]:
        """See `DemonstrationData.limits`."""
        rows = [
            rows[:-1] if name == ACTION and len(rows) > 1 else rows
            for source, episodes in zip(self.recordings.sources, self.labelled, strict=True)
            if embodiment in (None, source.embodiment)
            for rows in map(_column(source, name).__getitem__, episodes)
        ]
        joined = torch.from_numpy(np.concatenate(rows).astype(np.float32))
        return joined.amin(dim=0), joined.amax(dim=0)

    def latent_statistics(self) -> tuple[Tensor, Tensor]:
        """See `DemonstrationData.latent_statistics`."""
        assert self.latents is not None
        return self.latents.statistics


def labelled_episodes(recordings: Recordings, demonstrations: Demonstrations) -> list[tuple[int, ...]]:
    """Of each source, the training episodes whose actions are looked at.

    The share is one of all training episodes that may be: of a smaller share every episode is in a larger one as well.

    Raises:
        ForeactError: none has actions, the named dataset is not there, or a share that leaves no episode.
    """
    named = demonstrations.actions_from
    able = [tuple(source.actions) if named in (None, str(source.dataset.root)) else () for source in recordings.sources]
    if not any(able):
        raise ForeactError(
            f"{named or ', '.join(recordings.names)}: no training episode has actions, and a policy needs some"
        )
    if demonstrations.labelled >= 1:
        return able
    total = sum(map(len, able))
    count = round(demonstrations.labelled * total)
    if not count:
        raise ForeactError(
            f"--labelled {demonstrations.labelled:g} of {total} training episodes with actions leaves none: "
            f"at least {1 / total:.2g} is needed for one"
        )
    numbered = [(k, e) for k, episodes in enumerate(able) for e in episodes]
    order = np.random.default_rng(_LABELS_SEED).permutation(total)
    chosen = {numbered[i] for i in order[:count]}
    return [tuple(e for e in episodes if (k, e) in chosen) for k, episodes in enumerate(able)]


class _Rows:
    """A sampler of the sources that have rows."""

    def __init__(self, rows: Sequence[np.ndarray], weights: np.ndarray, size: int, seed: int) -> None:
        self._sources = np.array([k for k, part in enumerate(rows) if len(part)])
        if not len(self._sources):
            raise ForeactError("the labelled episodes have no frame to draw: they are too short")
        kept = weights[self._sources]
        parts = [rows[k] for k in self._sources]
        self._sampler = RowSampler(parts, kept / kept.sum(), batch_size=size, seed=seed)

    def sample(self, step: int, rank: int, processes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        source, episodes, frames = self._sampler.sample(step, rank, processes)
        return self._sources[source], episodes, frames


def _rows(source: Recording, episodes: Sequence[int], ahead: int) -> np.ndarray:
    """All (episode, frame) of episodes from which the frame `ahead` is inside, (n, 2); none after the task was done."""
    rows = [(e, t) for e in episodes for t in range(min(int(source.lengths[e]) - ahead, _until_success(source, e)))]
    return np.array(rows, dtype=np.int64).reshape(-1, 2)


def _until_success(source: Recording, episode: int) -> int:
    """Frames up to the one whose action completes the task; all where that is not recorded, or did not happen.

    Recorders linger after success: who learns from these frames learns to stand still.
    """
    done = source.successes(episode)
    return int(source.lengths[episode]) if done is None or not done.any() else int(done.argmax()) + 1


def _column(source: Recording, name: str) -> Mapping[int, np.ndarray]:
    return source.actions if name == ACTION else source.states


def _join(labelled: WindowBatch, silent: WindowBatch) -> WindowBatch:
    """Both one after the other; what silent rows lack is zero there, and outside."""

    def joined(mine: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> dict[str, Tensor]:
        rows = len(silent.embodiment)
        return {k: torch.cat([v, others.get(k, v.new_zeros(rows, *v.shape[1:]))]) for k, v in mine.items()}

    return WindowBatch(
        columns=joined(labelled.columns, silent.columns),
        inside=joined(labelled.inside, silent.inside),
        task=labelled.task + silent.task,
        embodiment=torch.cat([labelled.embodiment, silent.embodiment]),
        fps=torch.cat([part.fps for part in (labelled, silent) if part.fps is not None]),
    )
