"""What a person may want to know of a server at work: who asked, how fast answers were, what was seen and done last."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_KEPT = 1000  # answers
_RECENT = 10.0  # seconds


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer: when it was sent, seconds since its request came, and rows."""

    at: float
    seconds: float
    rows: int


@dataclass
class Watch:
    """Changes with each request.

    Attributes:
        robots: that are connected.
        refused: requests that were answered with an error.
        answered: those that were answered with actions.
        observation: the last one that was answered.
        actions: the answer to it, (H, A).
        trouble: the last error.
    """

    robots: int = 0
    refused: int = 0
    answered: int = 0
    observation: Mapping[str, Any] = field(default_factory=dict)
    actions: np.ndarray | None = None
    trouble: str = ""
    began: float = field(default_factory=time.monotonic)
    _answers: deque[Answer] = field(default_factory=lambda: deque(maxlen=_KEPT))

    def answer(self, observation: Mapping[str, Any], actions: np.ndarray, rows: int | None, seconds: float) -> None:
        """Note an answer; of several rows the first is shown."""
        alone = rows is None
        self.observation = {name: value if alone else value[0] for name, value in observation.items()}
        self.actions = actions if alone else actions[0]
        self.answered += 1
        self._answers.append(Answer(at=time.monotonic(), seconds=seconds, rows=rows or 1))

    def refuse(self, why: str) -> None:
        """Note an error."""
        self.refused += 1
        self.trouble = why

    def rates(self) -> dict[str, float]:
        """Answers and rows per second of late, and milliseconds to an answer: median, 95 % and the longest."""
        now = time.monotonic()
        late = [answer for answer in self._answers if now - answer.at < _RECENT]
        span = min(_RECENT, max(now - self.began, 1e-3))
        if len(self._answers) == _KEPT:
            span = min(span, max(now - self._answers[0].at, 1e-3))
        told = {"answers per second": len(late) / span, "observations per second": sum(a.rows for a in late) / span}
        taken = np.array([answer.seconds for answer in self._answers]) * 1000
        if len(taken):
            told["milliseconds to an answer: median"] = float(np.median(taken))
            told |= {"95 %": float(np.quantile(taken, 0.95)), "longest": float(taken.max())}
        return told
