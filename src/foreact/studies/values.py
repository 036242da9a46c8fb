"""The values of several training seeds put together, and what they say: intervals, rows, verdicts.

Shape legend: S training seeds, n held-out episodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from foreact.core.errors import ForeactError
from foreact.evaluation.intervals import Bootstrap, Interval
from foreact.evaluation.results import Results
from foreact.evaluation.rows import EpisodeValues, Row
from foreact.evaluation.verdicts import Verdict, below

Key = tuple[str, str, str, int]
"""Model, metric, subset, chunk."""
Values = Mapping[Key, np.ndarray]
"""(S, n); a metric that is a ratio has its denominators beside it as `metric/reference`."""
RATIO = "/reference"


def stack(results: Sequence[Results]) -> dict[Key, np.ndarray]:
    """The values of every model and metric over training seeds and episodes.

    Raises:
        ForeactError: the results belong to other splits or episodes.
    """
    if len({r.split_hash for r in results}) > 1:
        raise ForeactError("the seeds' results belong to different splits: evaluate them on one dataset")
    found: dict[Key, list[tuple[float, ...]]] = {}
    seen: dict[tuple[str, str, int], tuple[int, ...]] = {}
    for v in (v for result in results for v in result.episodes):
        model, subset, chunk = v["model"], v["subset"], v["chunk"]
        if seen.setdefault((v.metric, subset, chunk), v.episodes) != v.episodes:
            raise ForeactError("the seeds were evaluated on different episodes: evaluate them with one protocol")
        found.setdefault((model, v.metric, subset, chunk), []).append(v.values)
    return {key: np.array(values) for key, values in found.items()}


def episode_values(
    model: str, values: Mapping[str, np.ndarray], episodes: Sequence[int], *, subset: str = "all", chunk: int = 1
) -> list[EpisodeValues]:
    """One training seed's values (n,) of each metric."""
    keys = {"model": model, "subset": subset, "chunk": chunk}
    found = {metric: tuple(float(x) for x in numbers) for metric, numbers in values.items()}
    return [EpisodeValues(keys=keys, metric=m, episodes=tuple(episodes), values=v) for m, v in found.items()]


def interval(values: Values, key: Key, *, minus: Key | None = None, sign: float = 1.0) -> Interval:
    """Of a measurement, or of its difference from another, paired by training seed and episode, over the seeds that both have."""
    own = values[key]
    if minus is not None:
        count = min(len(own), len(values[minus]))
        own = own[:count] - values[minus][:count]
    model, metric, subset, chunk = key
    reference = values.get((model, metric + RATIO, subset, chunk))
    return Bootstrap().over_seeds(sign * own, None if reference is None else reference[: len(own)])


def rows(values: Values) -> tuple[Row, ...]:
    """Mean and interval over seeds and episodes of every measurement."""
    return tuple(
        Row.of(interval(values, key), key[1], {"model": key[0], "subset": key[2], "chunk": key[3]}, seeds=len(found))
        for key, found in values.items()
        if not key[1].endswith(RATIO)
    )


def smaller(
    values: Values, claim: str, key: Key, than: Key | None = None, *, sign: float = 1.0, bound: float = 0.0
) -> list[Verdict]:
    """Whether a measurement (larger, with sign -1) is smaller than another, or than the bound; nothing where one is missing."""
    if key not in values or (than is not None and than not in values):
        return []
    return [below(claim, interval(values, key, minus=than, sign=sign), bound)]
