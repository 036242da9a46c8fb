"""Measurements of one learner, as means of episodes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from foreact.evaluation.intervals import Bootstrap, episode_means
from foreact.evaluation.rows import EpisodeValues, Row


@dataclass
class EpisodeTable:
    """The values per episode of one learner.

    Attributes:
        model: the learner's name.
        values: what was added.
    """

    model: str
    values: list[EpisodeValues] = field(default_factory=list)

    def add(
        self,
        metric: str,
        values: np.ndarray,
        episodes: np.ndarray,
        *,
        reference: np.ndarray | None = None,
        subset: str = "held_out",
        chunk: int = 1,
    ) -> None:
        """Add (P,) values of pairs, and the (P,) denominators of a ratio, as means of episodes."""
        keys = {"model": self.model, "subset": subset, "chunk": chunk}
        for name, found in ((metric, values), (f"{metric}/reference", reference)):
            if found is not None:
                means = tuple(float(v) for v in episode_means(found, episodes))
                of = tuple(int(e) for e in np.unique(episodes))
                self.values.append(EpisodeValues(keys=keys, metric=name, episodes=of, values=means))

    def row(self, metric: str, **keys: str | int) -> Row | None:
        """Mean, or ratio, of an added metric with an interval over episodes; None where no denominator is above zero."""
        by_name = {v.metric: v for v in self.values}
        values, below = by_name[metric], by_name.get(f"{metric}/reference")
        numbers, groups = np.array(values.values), np.array(values.episodes)
        if below is None:
            found = Bootstrap().mean(numbers, groups)
        else:
            found = Bootstrap().ratio(numbers, np.array(below.values), groups)
        return None if found is None else Row.of(found, metric, {"model": self.model, **keys})
