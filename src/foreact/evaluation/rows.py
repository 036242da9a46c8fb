"""The tidy table that all results are: one row per metric and combination of named keys, with its interval.

Which keys there are depends on what was measured: model, subset and chunk of a rollout; env, policy and horizon of a policy's
success rate; run, solver and steps of a sampler. Whoever reads a table asks for the keys that it knows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from foreact.core.errors import ForeactError
from foreact.evaluation.intervals import Interval

T = TypeVar("T", bound="Keyed")


@dataclass(frozen=True, kw_only=True)
class Keyed:
    """A metric of something.

    Attributes:
        keys: of what, by names such as `model`, `subset` (`all` windows, or those in which something is `moving`) and `chunk`
            (1 is the first).
        metric: see `metrics.describe`.
    """

    keys: Mapping[str, Any] = field(hash=False)
    metric: str

    def __getitem__(self, name: str) -> Any:
        """The value of a key, None where there is no such key; "metric" is one, too."""
        return self.metric if name == "metric" else self.keys.get(name)

    def to_dict(self) -> dict[str, Any]:
        """Flat: keys beside numbers."""
        flat = dataclasses.asdict(self)
        return {**flat.pop("keys"), **flat}

    @classmethod
    def nest(cls, flat: Any, where: str) -> Any:
        """Inverse of `to_dict`, to be decoded.

        Raises:
            ForeactError: a key that is no word and no number; `where` names the row.
        """
        if not isinstance(flat, dict):
            return flat
        own = {f.name for f in dataclasses.fields(cls)}
        defaults = {f.name: f.default for f in dataclasses.fields(cls) if f.default is not dataclasses.MISSING}
        keys = {name: value for name, value in flat.items() if name not in own}
        for name, value in keys.items():
            wanted: tuple[type, ...] = (int,) if name == "chunk" else (str, int, float, type(None))
            if not isinstance(value, wanted) or isinstance(value, bool):
                words = " or ".join(kind.__name__ for kind in wanted)
                raise ForeactError(f"{where}: {name} must be {words}, not {value!r}")
        return {**defaults, **{name: value for name, value in flat.items() if name in own}, "keys": keys}


@dataclass(frozen=True, kw_only=True)
class Row(Interval, Keyed):
    """A mean over episodes, and over training seeds where there are several, with its 95 % interval.

    Attributes:
        seeds: training seeds.
    """

    seeds: int = 1

    @classmethod
    def of(cls, interval: Interval, metric: str, keys: Mapping[str, Any], *, seeds: int = 1) -> Self:
        """The row of an interval."""
        return cls(keys=keys, metric=metric, seeds=seeds, **vars(interval))


@dataclass(frozen=True, kw_only=True)
class PairedDifference(Row):
    """`metric` of `model` minus that of the key `reference`, paired by window; the interval is over episodes."""

    def turned_round(self) -> PairedDifference:
        """The reference minus the model."""
        return dataclasses.replace(
            self,
            keys={**self.keys, "model": self["reference"], "reference": self["model"]},
            mean=-self.mean,
            low=None if self.high is None else -self.high,
            high=None if self.low is None else -self.low,
        )


@dataclass(frozen=True, kw_only=True)
class EpisodeValues(Keyed):
    """What a row is the mean of: `values` of the held-out `episodes`; for studies over several training seeds.

    `metric/reference` holds the denominators of a metric that is a ratio.
    """

    episodes: tuple[int, ...]
    values: tuple[float, ...]


def select(rows: Sequence[T], **wanted: Any) -> tuple[T, ...]:
    """The rows whose keys have these values."""
    return tuple(row for row in rows if all(row[name] == value for name, value in wanted.items()))


def distinct(rows: Sequence[Keyed], name: str) -> tuple[Any, ...]:
    """The values of a key, in the order of the rows."""
    return tuple(dict.fromkeys(row[name] for row in rows if row[name] is not None))
