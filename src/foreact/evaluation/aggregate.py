"""From the numbers of windows to rows and paired differences with intervals over episodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from foreact.evaluation.intervals import Bootstrap, Interval, episode_means
from foreact.evaluation.rows import EpisodeValues, PairedDifference, Row
from foreact.evaluation.scoring import RATIOS, Scores

PERSISTENCE = "persistence"
_SKILL = "token_l1_skill"


@dataclass(kw_only=True)
class Scoreboard:
    """Collects the scores of all models, window by window.

    Attributes:
        episodes: of each window added, in order.
        scores: model -> one `Scores` per window.
    """

    episodes: list[int] = field(default_factory=list)
    scores: dict[str, list[Scores]] = field(default_factory=dict)

    def add(self, episode: int, scores: dict[str, Scores]) -> None:
        """Add a window: its episode and the scores of every model."""
        self.episodes.append(episode)
        for model, values in scores.items():
            self.scores.setdefault(model, []).append(values)

    def drop(self, metric: str) -> None:
        """Forget a metric and its best-of-K twin."""
        for scores in self.scores.values():
            for window in scores:
                window.pop(metric, None)
                window.pop(f"{metric}_best_of_k", None)

    def metrics(self, model: str) -> tuple[str, ...]:
        """What is known of a model."""
        return tuple(self.scores[model][0])

    def values(self, model: str, metric: str) -> np.ndarray:
        """(W, S), or (W, 2, S) for a ratio."""
        return np.stack([scores[metric] for scores in self.scores[model]])

    def rows(self, subsets: dict[str, np.ndarray], bootstrap: Bootstrap) -> tuple[Row, ...]:
        """Rows of every model, metric, chunk and subset (masks over the windows); empty subsets have none."""
        rows = []
        for model in self.scores:
            for metric in self.metrics(model):
                for name in (metric, _SKILL) if metric == "token_l1" else (metric,):
                    for keys, mask, chunk in self._places(subsets):
                        if interval := self._interval(model, name, chunk, mask, bootstrap):
                            rows.append(Row.of(interval, name, {"model": model, **keys}))
        return tuple(rows)

    def differences(
        self, models: Sequence[str], subsets: dict[str, np.ndarray], bootstrap: Bootstrap
    ) -> tuple[PairedDifference, ...]:
        """Differences of each two of `models`, the earlier minus the later, in every metric that both have."""
        groups, found = np.array(self.episodes), []
        for model, reference in combinations(models, 2):
            for metric in (m for m in self.metrics(model) if m in self.metrics(reference) and m not in RATIOS):
                difference = self.values(model, metric) - self.values(reference, metric)
                for keys, mask, chunk in self._places(subsets):
                    if interval := bootstrap.mean(difference[mask, chunk], groups[mask]):
                        compared = {"model": model, "reference": reference, **keys}
                        found.append(PairedDifference.of(interval, metric, compared))
        return tuple(found)

    def episode_values(self, subsets: dict[str, np.ndarray]) -> tuple[EpisodeValues, ...]:
        """Means of single episodes in every metric but ratios, for every model, chunk and subset."""
        groups, found = np.array(self.episodes), []
        for model in self.scores:
            for metric in (m for m in self.metrics(model) if m not in RATIOS):
                values = self.values(model, metric)
                for keys, mask, chunk in self._places(subsets):
                    episodes = tuple(int(e) for e in np.unique(groups[mask]))
                    means = tuple(episode_means(values[mask, chunk], groups[mask]).tolist())
                    keyed = {"model": model, **keys}
                    found.append(EpisodeValues(keys=keyed, metric=metric, episodes=episodes, values=means))
        return tuple(found)

    def _places(self, subsets: dict[str, np.ndarray]) -> Iterator[tuple[dict[str, Any], np.ndarray, int]]:
        """Keys, mask and index of every subset that is not empty, and chunk."""
        chunks = max((value.shape[-1] for windows in self.scores.values() for value in windows[0].values()), default=0)
        for subset, mask in subsets.items():
            for chunk in range(chunks if mask.any() else 0):
                yield {"subset": subset, "chunk": chunk + 1}, mask, chunk

    def _interval(self, model: str, metric: str, chunk: int, mask: np.ndarray, bootstrap: Bootstrap) -> Interval | None:
        groups = np.array(self.episodes)[mask]
        if metric == _SKILL:
            error, reference = (self.values(m, "token_l1")[mask, chunk] for m in (model, PERSISTENCE))
            return bootstrap.skill(error, reference, groups)
        values = self.values(model, metric)[mask]
        if metric in RATIOS:
            return bootstrap.ratio(values[:, 0, chunk], values[:, 1, chunk], groups)
        return bootstrap.mean(values[:, chunk], groups)
