"""Requests of several robots, answered together.

There is no waiting for company: while the policy is busy, requests gather; those that have gathered are its next batch. A request
that is alone goes to the policy as it is, so that its answer is the local one to the bit.

Shape legend: B rows of a request, H actions of a chunk, A action dimension.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from foreact.core.contracts import Policy
from foreact.core.errors import ForeactError
from foreact.serving.requests import Request

_log = logging.getLogger(__name__)


class Batcher:
    """One thread in which the policy acts, and the requests that wait for it.

    Args:
        policy: that acts.
        rows: of the largest batch, but for the rows of its last request.
        memoryless: whether rows may belong to another robot each time.
    """

    def __init__(self, policy: Policy, *, rows: int, memoryless: bool) -> None:
        self._policy, self._rows, self._memoryless = policy, rows, memoryless
        self._waiting: asyncio.Queue[tuple[Request, asyncio.Future[np.ndarray]]] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1)

    async def act(self, request: Request) -> np.ndarray:
        """The actions of a request.

        Raises:
            ForeactError: what is wrong with the observation, or with the policy.
        """
        answer: asyncio.Future[np.ndarray] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((request, answer))
        return await answer

    async def run(self) -> None:
        """Answer requests until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            batch = [await self._waiting.get()]
            while self._memoryless and not self._waiting.empty() and sum(r.rows or 1 for r, _ in batch) < self._rows:
                batch.append(self._waiting.get_nowait())
            answers = await loop.run_in_executor(self._thread, self._answer, [request for request, _ in batch])
            for (_, waiting), answer in zip(batch, answers, strict=True):
                if waiting.done():  # its robot has gone
                    continue
                if isinstance(answer, ForeactError):
                    waiting.set_exception(answer)
                else:
                    waiting.set_result(answer)

    def close(self) -> None:
        """Let the thread go, once it has answered."""
        self._thread.shutdown(wait=False)

    def _answer(self, batch: Sequence[Request]) -> list[np.ndarray | ForeactError]:
        """One answer to each; what one request breaks is broken for no other."""
        try:
            return self._act(batch)
        except Exception as error:
            if len(batch) > 1:
                return [self._answer([request])[0] for request in batch]
            if isinstance(error, ForeactError):
                return [error]
            _log.exception("the policy failed")
            return [ForeactError("the policy failed; the server's own output says where")]

    def _act(self, batch: Sequence[Request]) -> list[np.ndarray | ForeactError]:
        first = batch[0]
        if not self._memoryless and first.seeds is not None:
            self._policy.reset(first.seeds)
        if len(batch) == 1:
            return [_checked(self._policy.act(first.observation))]
        ends = np.cumsum([request.rows or 1 for request in batch])[:-1]
        together = {name: _join([(r.observation[name], r.rows) for r in batch]) for name in first.observation}
        chunks = np.split(_checked(self._policy.act(together)), ends)
        return [c[0] if request.rows is None else c for c, request in zip(chunks, batch, strict=True)]


def _join(values: Sequence[tuple[Any, int | None]]) -> Any:
    """One value of several requests' rows."""
    if isinstance(values[0][0], str | list):
        return [word for value, _ in values for word in ([value] if isinstance(value, str) else value)]
    return np.concatenate([value[None] if rows is None else value for value, rows in values])


def _checked(actions: Any) -> np.ndarray:
    actions = np.asarray(actions)
    if not np.isfinite(actions).all():
        raise ForeactError("the policy's actions for this observation are not finite")
    return actions
