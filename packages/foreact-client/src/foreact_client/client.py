"""One robot's line to a policy server."""

from __future__ import annotations

import time
from collections import deque
from typing import Any, Mapping, Sequence

import numpy as np
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.sync.client import ClientConnection, connect

from foreact_client.errors import ClientError, LateError, RefusedError
from foreact_client.wire import ACTIONS, REQUEST, RESET, WireError, pack, unpack

_TOO_LARGE = 1009  # of websockets' codes
_PAUSE = 0.5  # seconds between two attempts to connect


class Client:
    """Sends observations, receives action chunks; a line that breaks is mended.

    A client belongs to one thread. It is a policy of foreact: `reset(seeds)` and `act(observation)`.

    Args:
        url: such as ws://127.0.0.1:8000; wss:// is encrypted.
        token: of a server that asks for one.
        deadline: seconds within which an answer is of use; waits for as long as it takes if None.
        patience: seconds for which a server that is not there, or went away, is waited for.

    Attributes:
        metadata: what the server says of its policy.

    Raises:
        ClientError: no server there, or it refuses.
    """

    def __init__(
        self, url: str, *, token: str | None = None, deadline: float | None = None, patience: float = 10.0
    ) -> None:
        self._url, self._token, self._deadline, self._patience = url, token, deadline, patience
        self._line: ClientConnection | None = None
        self._waiting: deque[int] = (
            deque()
        )  # numbers of the requests that have no answer yet, in the order of their answers
        self._number = 0
        self._seeds: list[int] | None = None
        self._connect()

    def reset(self, seeds: Sequence[int] | None = None) -> None:
        """The next observation begins episodes, as many as there are seeds."""
        self._seeds = [int(seed) for seed in seeds or [0]]

    def act(self, observation: Mapping[str, Any], *, deadline: float | None = None) -> np.ndarray:
        """The next H actions, (H, A), in the units of the recordings; (B, H, A) for B observations.

        Args:
            observation: `observation.images.<camera>` uint8 (height, width, 3), `observation.state` (P,), `task` in words.
            deadline: seconds for this answer; the client's own if None.

        Raises:
            RefusedError: the server says what is wrong with the observation.
            LateError: no answer within the deadline.
            ClientError: the line broke, and could not be mended.
        """
        return self.ask(observation, deadline=deadline)[ACTIONS]

    def ask(self, observation: Mapping[str, Any], *, deadline: float | None = None) -> dict[str, Any]:
        """All that the server answers: `actions`, `server_timing` and the `request`'s number; see `act`."""
        wait = self._deadline if deadline is None else deadline
        until = None if wait is None else time.monotonic() + wait
        begins = {} if self._seeds is None else {RESET: self._seeds}
        self._number += 1
        try:
            data = pack({**observation, **begins, REQUEST: self._number})
        except WireError as error:
            raise RefusedError(f"the observation cannot be sent: {error}") from error
        for last in (False, True):
            try:
                answer = self._exchange(data, until)
                break
            except ConnectionClosed as error:
                self._hang_up()
                if error.rcvd is not None and error.rcvd.code == _TOO_LARGE:
                    raise RefusedError(f"{self._url} does not take an observation of {len(data)} bytes") from error
                if last:
                    raise ClientError(f"the line to {self._url} broke: {error}") from error
        self._seeds = None
        return answer

    def close(self) -> None:
        """Say goodbye."""
        if self._line is not None:
            self._line.close()
        self._hang_up()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _exchange(self, data: bytes, until: float | None) -> dict[str, Any]:
        if self._line is None:
            self._connect(until)
        assert self._line is not None
        self._line.send(data)
        self._waiting.append(self._number)
        return self._receive(until)

    def _receive(self, until: float | None) -> dict[str, Any]:
        """The answer to the last request; what is left of earlier ones is dropped."""
        while True:
            number, message = self._next(until)
            if number != self._number:
                continue
            if isinstance(message, str):
                raise RefusedError(message)
            try:
                answer = unpack(message)
            except WireError:
                answer = None
            if not isinstance(answer, dict) or ACTIONS not in answer or answer.get(REQUEST, number) != number:
                self.close()
                raise ClientError(f"{self._url} answers with something else than actions for request {number}")
            return answer

    def _next(self, until: float | None) -> tuple[int, Any]:
        """The next message, and the request that it answers."""
        assert self._line is not None
        try:
            message = self._line.recv(None if until is None else max(until - time.monotonic(), 0.0))
        except TimeoutError as error:
            raise LateError(f"no answer from {self._url} to request {self._number} in time") from error
        return self._waiting.popleft(), message

    def _connect(self, until: float | None = None) -> None:
        end = min(time.monotonic() + self._patience, float("inf") if until is None else until)
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        while True:
            try:
                self._line = connect(self._url, additional_headers=headers, compression=None, max_size=None)
                self._waiting.clear()
                self.metadata: dict[str, Any] = unpack(self._line.recv(10.0))
                return
            except InvalidURI as error:
                raise ClientError(f"{self._url} is no address of a policy server: write ws://HOST:PORT") from error
            except InvalidHandshake as error:
                raise ClientError(f"{self._url} refuses: {_refusal(error)}") from error
            except (OSError, ConnectionClosed, WireError) as error:
                self._hang_up()
                if time.monotonic() + _PAUSE > end:
                    raise ClientError(f"no policy server at {self._url}: {error}") from error
                time.sleep(_PAUSE)

    def _hang_up(self) -> None:
        self._line = None
        self._waiting.clear()


def _refusal(error: InvalidHandshake) -> str:
    """What the server says, where it says something."""
    body = getattr(getattr(error, "response", None), "body", None)
    return body.decode(errors="replace").strip() if body else str(error)
