"""Episodes as the rows of a results file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from foreact.core.errors import ForeactError
from foreact.evaluation.acting.episodes import Episode
from foreact.evaluation.intervals import Bootstrap, Interval, wilson
from foreact.evaluation.rows import EpisodeValues, Row


@dataclass(frozen=True, kw_only=True)
class Tabulated:
    """The fields of `Results` that episodes fill."""

    seeds: tuple[int, ...]
    rows: tuple[Row, ...]
    episodes: tuple[EpisodeValues, ...]
    notes: dict[str, str]


def tabulate(keys: Mapping[str, Any], episodes: Sequence[Episode]) -> Tabulated:
    """Rows and values of episodes.

    Raises:
        ForeactError: every episode crashed.
    """
    whole = [episode for episode in episodes if not episode.crash]
    if not whole:
        raise ForeactError(f"every episode crashed, the first with: {episodes[0].crash}")
    seeds = tuple(episode.seed for episode in whole)
    values: dict[str, list[float]] = {
        "success": [float(e.success) for e in whole],
        "return": [e.reward for e in whole],
        "length": [float(e.length) for e in whole],
    }
    for name in whole[0].measures:
        values[name] = [e.measures[name] for e in whole]
    return Tabulated(
        seeds=seeds,
        rows=tuple(Row.of(interval_of(name, numbers), name, keys) for name, numbers in values.items()),
        episodes=tuple(
            EpisodeValues(keys=keys, metric=name, episodes=seeds, values=tuple(numbers))
            for name, numbers in values.items()
        ),
        notes={f"seed {e.seed}": f"left out: {e.crash}" for e in episodes if e.crash},
    )


def interval_of(metric: str, values: Sequence[float]) -> Interval:
    """Wilson's of successes, a bootstrap one of anything else."""
    if metric == "success":
        return wilson(round(sum(values)), len(values))
    found = Bootstrap().mean(np.array(values), np.arange(len(values)))
    assert found is not None
    return found
