"""One or several datasets that are learnt from together, with one frozen encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foreact.core.contracts import Encoder
from foreact.core.errors import ForeactError
from foreact.core.token_spec import TokenSpec
from foreact.data.lerobot import ACTION, STATE, LeRobotDataset
from foreact.recordings.recording import Recording
from foreact.recordings.splits import Split, Splits
from foreact.recordings.token_cache import TokenCache


@dataclass(frozen=True, kw_only=True)
class Recordings:
    """What all training tasks read from.

    Attributes:
        sources: the datasets; their order numbers them.

    Raises:
        ForeactError: none, or tokens of several encoders.
    """

    sources: tuple[Recording, ...]

    def __post_init__(self) -> None:
        if not self.sources:
            raise ForeactError("there is nothing to learn from: name at least one dataset")
        for other in self.sources[1:]:
            if other.cache.spec != self.tokens:
                raise ForeactError(
                    f"{other.dataset.root} has tokens of {other.cache.spec.fingerprint}, {self.names[0]} of "
                    f"{self.tokens.fingerprint}: encode all datasets with one encoder at one image size"
                )

    @property
    def single(self) -> Recording:
        """The one source.

        Raises:
            ForeactError: there are several.
        """
        if len(self.sources) > 1:
            names = ", ".join(self.names)
            raise ForeactError(f"this is done with one dataset at a time, not with {len(self.sources)}: {names}")
        return self.sources[0]

    @property
    def dataset(self) -> LeRobotDataset:
        """Of the one source; see `single`."""
        return self.single.dataset

    @property
    def split(self) -> Split:
        """Of the one source; see `single`."""
        return self.single.split

    @property
    def cache(self) -> TokenCache:
        """Of the one source; see `single`."""
        return self.single.cache

    @property
    def names(self) -> tuple[str, ...]:
        """The folders of all sources."""
        return tuple(str(source.dataset.root) for source in self.sources)

    @property
    def splits(self) -> Splits:
        """Of all sources."""
        return Splits(parts=tuple(source.split for source in self.sources))

    @property
    def tokens(self) -> TokenSpec:
        """The tokens of the frozen encoder."""
        return self.sources[0].cache.spec

    @property
    def encoder(self) -> Encoder:
        """The frozen encoder."""
        return self.sources[0].cache.encoder

    @property
    def mixture(self) -> dict[str, Any]:
        """What a resume of a training on several sources must find unchanged beside their splits; nothing for one."""
        drawn = [{"camera": source.dataset.camera, "weight": source.weight} for source in self.sources]
        return {"sources": drawn} if len(drawn) > 1 else {}

    @property
    def weights(self) -> np.ndarray:
        """Of all sources, with sum 1."""
        weights = np.array([source.weight for source in self.sources])
        return weights / weights.sum()

    @property
    def embodiments(self) -> int:
        """The largest number of an embodiment, and one more."""
        return max(source.embodiment for source in self.sources) + 1

    @property
    def action_dim(self) -> int:
        """A of the source that has most; 0 without actions. `require_actions` says whether it is the same in all."""
        return max(source.dataset.action_dim or 0 for source in self.sources)

    @property
    def state_dim(self) -> int:
        """P of the source that has most; 0 without states."""
        return max(source.state_dim for source in self.sources)

    @cached_property
    def held_out(self) -> Recordings:
        """The same recordings with the held-out episodes in the place of the training ones."""
        return Recordings(sources=tuple(source.held_out for source in self.sources))

    def require_actions(self, *, same: bool = True) -> None:
        """See that all sources have actions, the same ones where `same`, by number, names and rate.

        Raises:
            ForeactError: a source has none, or others than the first one.
        """
        first = self.sources[0]
        for source in self.sources:
            source.require_actions()
            if not same:
                continue
            for what, mine, others in (
                ("actions", source.dataset.names_of(ACTION), first.dataset.names_of(ACTION)),
                ("actions per second", f"{source.fps:g}", f"{first.fps:g}"),
            ):
                if mine != others:
                    raise ForeactError(
                        f"{source.dataset.root} has the {what} {_said(mine)}, {first.dataset.root} has {_said(others)}: what "
                        "learns from actions needs the same ones at the same rate; train on them apart, or leave one out"
                    )

    def action_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (A,) of the training actions as they are drawn: sources count by their weights."""
        mean, std = pooled([source.action_statistics() for source in self.sources], self.weights)
        return torch.from_numpy(mean), torch.from_numpy(std)

    def read(self, name: str, source: np.ndarray, episodes: np.ndarray, times: np.ndarray) -> np.ndarray:
        """See `Recording.read`; `source` (B,) numbers the sources. Shorter rows are padded with NaN to the longest of any source.

        Raises:
            ForeactError: a source lacks the feature.
        """
        if len(self.sources) == 1:
            return self.sources[0].read(name, episodes, times)
        rows = {int(k): np.flatnonzero(source == k) for k in np.unique(source)}
        parts = {k: self.sources[k].read(name, episodes[own], times[own]) for k, own in rows.items()}
        first = next(iter(parts.values()))
        width = self._widest(name, parts)
        found = np.full((*times.shape, *first.shape[times.ndim : -1], width), _padding(first.dtype), first.dtype)
        for k, part in parts.items():
            found[rows[k], ..., : part.shape[-1]] = part
        return found

    def _widest(self, name: str, parts: dict[int, np.ndarray]) -> int:
        """The width that batches have whichever sources they hold."""
        widths = [part.shape[-1] for part in parts.values()]
        return max(*widths, {STATE: self.state_dim, ACTION: self.action_dim}.get(name, 0))


def pooled(statistics: Sequence[tuple[np.ndarray, np.ndarray]], weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (A,) float32 of a mixture, from those of its parts."""
    if len(statistics) == 1:
        return statistics[0]
    means, stds = (np.stack([part[k] for part in statistics]).astype(np.float64) for k in (0, 1))
    mean = weights @ means
    variance = weights @ (stds**2 + (means - mean) ** 2)
    return mean.astype(np.float32), np.sqrt(variance).astype(np.float32)


def _padding(dtype: np.dtype) -> float:
    return np.nan if dtype.kind == "f" else 0


def _said(what: str | tuple[str, ...]) -> str:
    return what if isinstance(what, str) else f"({', '.join(what)})"
