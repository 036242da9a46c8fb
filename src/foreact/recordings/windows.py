"""Windows of recordings: any features at any times around a frame, with masks where a time lies outside of its episode.

    window = Window(columns={
        "observation.images.top": (0,),               # frames of a camera, uint8, in the encoder's size
        "observation.images.top.tokens": (-0.5, 0),   # its tokens, now and half a second ago
        "observation.state": (-1, 0),                 # now and one frame ago
        "action": tuple(range(15)),                   # the next fifteen actions
        "task": (),                                   # words
    })

The names are LeRobot's, and so is the idea (its `delta_timestamps`). A time that is an int counts frames, a float seconds, which
are rounded to the source's own frames. `observation.images` alone is the camera that each source was named with.

Shape legend: B rows, K times of a column, H frame height and width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foreact.core.batch import Shard
from foreact.core.errors import ForeactError
from foreact.data.lerobot import ACTION, STATE
from foreact.recordings.mixture import RowSampler
from foreact.recordings.recording import IMAGES, TOKENS, Recording
from foreact.recordings.recordings import Recordings
from foreact.recordings.token_cache import TokenCache

TASK = "task"


@dataclass(frozen=True, kw_only=True)
class Window:
    """What is read around a frame.

    Attributes:
        columns: feature -> times, in frames (int) or seconds (float) from that frame; of "task", which has no time, ().
    """

    columns: Mapping[str, tuple[int | float, ...]]

    def offsets(self, name: str, fps: float) -> np.ndarray:
        """The times of a column in frames of a source, (K,)."""
        return np.array([to_frames(t, fps) for t in self.columns[name]], dtype=np.int64)

    @property
    def timed(self) -> tuple[str, ...]:
        """The columns that have times."""
        return tuple(name for name in self.columns if name != TASK)


def to_frames(time: float, fps: float) -> int:
    """A time in frames (int) or seconds (float), in frames of a source."""
    return time if isinstance(time, int) else round(time * fps)


@dataclass(frozen=True, kw_only=True)
class WindowBatch(Shard):
    """Windows around frames.

    Attributes:
        columns: feature -> (B, K, ...): frames uint8 (B, K, H, H, 3), tokens (B, K, N, C), rows float32 (B, K, D). Outside of
            the episode they repeat what is at its edge.
        inside: feature -> mask (B, K), False where the time lies outside of the episode; of actions also where the action
            leads to no recorded frame, as the last one of every episode.
        task: words, B of them; empty where they were not asked for.
        embodiment: who is seen, (B,).
        fps: frames, and actions, per second, (B,); None where windows were not read from recordings.
        labelled: whose actions and states are looked at, (B,); None where all are.
        shard: which part of the step's batch this is, and of how many.
    """

    columns: Mapping[str, Tensor]
    inside: Mapping[str, Tensor]
    task: tuple[str, ...]
    embodiment: Tensor
    fps: Tensor | None = None
    labelled: Tensor | None = None
    shard: tuple[int, int] = (0, 1)

    @property
    def _rows(self) -> Tensor:
        return self.embodiment

    def to(self, device: torch.device) -> WindowBatch:
        """The batch on another device."""
        columns, inside = ({k: v.to(device) for k, v in part.items()} for part in (self.columns, self.inside))
        alone: dict[str, Any] = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, columns=columns, inside=inside, **alone)


def read_windows(
    recordings: Recordings, window: Window, source: np.ndarray, episodes: np.ndarray, frames: np.ndarray
) -> WindowBatch:
    """The windows around frames of episodes of sources, all three (B,).

    Raises:
        ForeactError: a source lacks a column.
    """
    sources, columns, inside = recordings.sources, {}, {}
    lengths = np.array([sources[k].lengths[e] for k, e in zip(source, episodes, strict=True)])
    for name in window.timed:
        offsets = np.stack([window.offsets(name, s.fps) for s in sources])[source]
        times, mask = clamp(frames[:, None] + offsets, lengths - 1 if name == ACTION else lengths)
        columns[name] = torch.from_numpy(recordings.read(name, source, episodes, times))
        inside[name] = torch.from_numpy(mask)
    rows = zip(source, episodes, strict=True) if TASK in window.columns else ()
    return WindowBatch(
        columns=columns,
        inside=inside,
        task=tuple(sources[k].dataset.episode(int(e)).task for k, e in rows),
        embodiment=torch.tensor([sources[k].embodiment for k in source]),
        fps=torch.tensor([sources[k].fps for k in source]),
    )


def clamp(times: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Times (B, K) drawn into 0..length-1 of each row, and the mask (B, K) of those that were there."""
    last = np.maximum(lengths[:, None] - 1, 0)
    return np.clip(times, 0, last), (times >= 0) & (times < lengths[:, None])


class WindowBatches:
    """Windows of a step, as `training.task.Task.batches` wants them: a function of (seed, step) and of nothing else."""

    def __init__(self, recordings: Recordings, *, window: Window, batch_size: int, seed: int) -> None:
        """Prepare batches; opens, and encodes where needed, the tokens of all cameras.

        Args:
            recordings: of one or several sources.
            window: what is read.
            batch_size: windows per step over all processes.
            seed: of all draws.

        Raises:
            ForeactError: a source lacks a column or has it in another shape than the others, or other actions than they.
        """
        self.recordings, self.window, self.batch_size = recordings, window, batch_size
        if ACTION in window.columns:
            recordings.require_actions()
        for name in window.timed:
            require_same(recordings, name)
        rows = [_rows(s, with_actions=ACTION in window.columns) for s in recordings.sources]
        self.rows = RowSampler(rows, recordings.weights, batch_size=batch_size, seed=seed)

    @property
    def about(self) -> dict[str, Any]:
        """What a resume must find unchanged, beside the split."""
        return {"window": {k: list(v) for k, v in self.window.columns.items()}, **self.recordings.mixture}

    @property
    def on_disk(self) -> bool:
        """See `PairBatches.on_disk`."""
        return not self.encodes and all(cache.on_disk(frames=True) for cache in self._caches(tokens=False))

    @property
    def encodes(self) -> bool:
        """See `PairBatches.encodes`."""
        return not all(cache.on_disk() for cache in self._caches(tokens=True))

    def _caches(self, *, tokens: bool) -> list[TokenCache]:
        names = [n for n in self.window.timed if n.startswith(IMAGES) and n.endswith(TOKENS) == tokens]
        return [s.cache_of(name.removesuffix(TOKENS)) for s in self.recordings.sources for name in names]

    def __call__(self, step: int, rank: int, processes: int) -> WindowBatch:
        """This process's windows of step `step`."""
        rows = self.rows.sample(step, rank, processes)
        return replace(read_windows(self.recordings, self.window, *rows), shard=(rank, processes))


def require_same(recordings: Recordings, name: str) -> None:
    """See that all sources have a column, and in one shape; shorter states are padded.

    Raises:
        ForeactError: a source that lacks it, or two that differ.
    """
    first = recordings.sources[0]
    for source in recordings.sources:
        if name.startswith(IMAGES):
            source.cache_of(name.removesuffix(TOKENS))
        elif name != STATE:
            mine, others = source.shape_of(name), first.shape_of(name)
            if mine != others:
                raise ForeactError(
                    f"{name} has the shape {mine} in {source.dataset.root} and {others} in {first.dataset.root}: "
                    "they cannot be in one batch; train on them apart"
                )


def require_words(recordings: Recordings) -> None:
    """See that every training episode has an instruction.

    Raises:
        ForeactError: one has none.
    """
    for source in recordings.sources:
        silent = [e for e in source.split.train if not source.dataset.episode(e).task.strip()]
        if silent:
            raise ForeactError(
                f"{source.dataset.root}: {len(silent)} training episodes have no instruction, the first is {silent[0]}: "
                "who learns to follow words needs them; leave these out with --episodes, or train lawm on them, which needs none"
            )


def _rows(source: Recording, *, with_actions: bool) -> np.ndarray:
    """All (episode, frame) to draw from, (n, 2); with actions, the frames that an action leads on from."""
    episodes = source.require_actions() if with_actions else source.split.train
    lengths = {e: source.dataset.episode(e).length - with_actions for e in episodes}
    return np.array([(e, t) for e, length in lengths.items() for t in range(length)], dtype=np.int64).reshape(-1, 2)
