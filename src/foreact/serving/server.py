"""A policy over openpi's protocol, so that robots' code which speaks it asks foreact's policies unchanged.

    connect to ws://host:port/        <- what the policy sees and does (`PolicySpec`, and more), as one message
    an observation                    -> {"actions": (H, A), "server_timing": {...}, "request": its number}
    an observation that is wrong      -> a word instead of bytes: what is wrong, in one line
    GET /healthz                      -> 200
    GET /                             -> a page for a person

Messages are msgpack with arrays (`foreact_client.wire`). Answers come in the order of the requests; a request that brings no
number gets its count on this line.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from foreact_client.wire import ACTIONS, REQUEST, pack
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from foreact.core.contracts import Policy
from foreact.core.errors import ForeactError
from foreact.policies.spec import PolicySpec
from foreact.serving.batching import Batcher
from foreact.serving.door import Door
from foreact.serving.requests import MOST_ROWS, read_request
from foreact.serving.watch import Watch

_WORDS = 2**16  # bytes of an observation beside its arrays
_TRY_LATER = 1013  # of websockets' codes


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one robot may ask of a server.

    Attributes:
        robots: connected at a time.
        rate: requests per second of each; who asks faster waits.
        ping: seconds after which a robot that does not even answer a ping is given up.
    """

    robots: int = 128
    rate: float = 200.0
    ping: float = 60.0


@dataclass(frozen=True, kw_only=True)
class PolicyServer:
    """Answers robots.

    Args:
        policy: that acts. Rows of several robots share its batches if it says `memoryless = True`; one that remembers serves
            one robot at a time.
        spec: what it sees and does.
        identity: what tells it from others.
        door: who may come in.
        rename: another name of an observation's part -> ours, for robots' code that has names of its own.
        limits: see `Limits`.
    """

    policy: Policy
    spec: PolicySpec
    identity: str = ""
    door: Door = field(default_factory=Door)
    rename: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    watch: Watch = field(default_factory=Watch)

    @property
    def memoryless(self) -> bool:
        """Whether the policy's answer depends on the observation alone."""
        return getattr(self.policy, "memoryless", False)

    @property
    def metadata(self) -> dict[str, Any]:
        """What a robot is told first."""
        return self.spec.to_message() | {"identity": self.identity, "most_bytes": self._most_bytes}

    @property
    def _most_bytes(self) -> int:
        return _WORDS + MOST_ROWS * self.spec.observation_bytes

    @property
    def _robots(self) -> int:
        return self.limits.robots if self.memoryless else 1

    @asynccontextmanager
    async def listening(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[int]:
        """Inside, robots are answered; gives the port, a free one if 0 is asked for.

        Raises:
            ForeactError: the port is taken, or the address is not this machine's.
        """
        silent = logging.getLogger("foreact.serving.lines")
        silent.setLevel(logging.CRITICAL)  # what strangers send does not fill the log
        batcher = Batcher(self.policy, rows=MOST_ROWS, memoryless=self.memoryless)
        try:
            server: Server = await serve(
                lambda line: self._talk(line, batcher),
                host,
                port,
                origins=[None],  # no page of a browser may ask
                process_request=self.door.keeper(self),
                compression=None,
                max_size=self._most_bytes,
                max_queue=1,
                ping_timeout=self.limits.ping,
                logger=silent,
            )
        except OSError as error:
            raise ForeactError(
                f"cannot listen at {host}, port {port}: {error.strerror or error}: choose another --port"
            ) from error
        working = asyncio.create_task(batcher.run())
        try:
            async with server:
                yield next(iter(server.sockets)).getsockname()[1]
        finally:
            working.cancel()
            batcher.close()

    async def _talk(self, line: ServerConnection, batcher: Batcher) -> None:
        """With one robot, until it goes."""
        if self.watch.robots >= self._robots:
            await line.close(_TRY_LATER, f"no more than {self._robots} robots at a time")
            return
        self.watch.robots += 1
        try:
            with suppress(ConnectionClosed):
                await line.send(pack(self.metadata))
                begins: list[int] | None = [0]
                count = 0
                async for message in line:
                    began, count = time.monotonic(), count + 1
                    await line.send(await self._reply(message, count, begins, batcher))
                    begins = None
                    await asyncio.sleep(began + 1 / self.limits.rate - time.monotonic())
        finally:
            self.watch.robots -= 1

    async def _reply(self, message: str | bytes, count: int, begins: list[int] | None, batcher: Batcher) -> str | bytes:
        began = time.monotonic()
        try:
            request = read_request(message, self.spec, number=count, seeds=begins, rename=self.rename)
            actions = await batcher.act(request)
        except ForeactError as error:
            self.watch.refuse(str(error))
            return f"request {count} of this line: {error}"
        seconds = time.monotonic() - began
        self.watch.answer(request.observation, actions, request.rows, seconds)
        return pack({ACTIONS: actions, REQUEST: request.number, "server_timing": {"infer_ms": seconds * 1000}})
