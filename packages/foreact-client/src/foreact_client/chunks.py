"""Chunks of actions carried out one by one, the next one asked for in time."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Mapping, Sequence

import numpy as np

from foreact_client.errors import LateError

_JOINS = ("switch", "blend")


class ChunkExecutor:
    """One action per control period: executes k of a chunk's H actions, then those of the next chunk.

    With `ahead` the next chunk is asked for while the robot still moves. It begins at the observation that it was asked with,
    so that what has passed meanwhile is left out of it; until it comes, the robot goes on with what is left of the old chunk.

    Args:
        policy: a `Client`, or what else answers `act(observation)` with a chunk (H, A).
        execute: k; all H if None.
        ahead: actions before the end of the k at which the next chunk is asked for; 0 lets the robot wait for each chunk.
        join: "switch" leaves the old chunk as soon as the new one is there; "blend" goes over from one to the other evenly, for
            as long as both say something.

    Raises:
        ValueError: numbers that make no sense.
    """

    def __init__(self, policy: Any, *, execute: int | None = None, ahead: int = 0, join: str = "switch") -> None:
        if join not in _JOINS or ahead < 0 or (execute is not None and execute <= ahead):
            raise ValueError(
                "execute must be larger than ahead, ahead not negative, and join one of " + ", ".join(_JOINS)
            )
        self._policy, self._execute, self._ahead, self._join = policy, execute, ahead, join
        self._pool = ThreadPoolExecutor(1)
        self._asked: tuple[int, Future[np.ndarray]] | None = None
        self._begin()

    def reset(self, seeds: Sequence[int] | None = None) -> None:
        """Begin an episode."""
        if self._asked is not None:
            self._asked[1].exception()  # the policy is asked by one thread at a time
        self._policy.reset(seeds)
        self._begin()

    def act(self, observation: Mapping[str, Any]) -> np.ndarray:
        """The action (A,) of this period.

        Raises:
            ValueError: chunks of fewer actions than are to be executed.
            ClientError: what the policy raises; an answer that is late only where nothing is left of the old chunk.
        """
        if self._asked is not None and self._asked[1].done():
            self._take_over(*self._asked)
        if self._asked is None and self._step >= self._start + (self._execute or len(self._chunk)) - self._ahead:
            self._asked = (self._step, self._pool.submit(self._policy.act, observation))
        if self._asked is not None and (not self._ahead or not self._left()):
            self._take_over(*self._asked)
        if not self._left():  # what came has passed already
            self._take_over(self._step, self._pool.submit(self._policy.act, observation))
        action = self._chunk[self._step - self._start]
        self._step += 1
        return action

    def close(self) -> None:
        """Ask for nothing more."""
        self._pool.shutdown()

    def _begin(self) -> None:
        self._asked, self._step, self._start = None, 0, 0  # _start: period of the chunk's first action
        self._chunk: np.ndarray = np.empty((0, 0))

    def _left(self) -> int:
        """How many actions of the chunk have not been carried out."""
        return self._start + len(self._chunk) - self._step

    def _take_over(self, start: int, answer: Future[np.ndarray]) -> None:
        """Go on with the chunk that was asked for in the period `start`."""
        self._asked = None
        try:
            chunk = np.array(answer.result())
        except LateError:
            if self._left():
                return
            raise
        if chunk.ndim != 2 or len(chunk) < max(self._execute or 1, 1):
            raise ValueError(f"the policy gives {chunk.shape} for {self._execute} actions to be executed")
        new, old = chunk[self._step - start :], self._chunk[self._step - self._start :]
        both = min(len(new), len(old))
        if self._join == "blend" and both:
            share = (np.arange(both) + 1.0)[:, None] / (both + 1)
            new[:both] = share * new[:both] + (1 - share) * old[:both]
        self._chunk, self._start = chunk, start
