"""`foreact serve`: a run, loaded and served until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from foreact.core.errors import ForeactError
from foreact.core.pretrained import read_config
from foreact.dreams.imagination import load
from foreact.evaluation.acting.choosing import weights_hash
from foreact.policies.spec import PolicySpec
from foreact.serving.door import Door
from foreact.serving.server import Limits, PolicyServer

_OPENPI = {"prompt": "task"}
"""What openpi's clients call the task."""


@dataclass(frozen=True, kw_only=True)
class ServeRequest:
    """What `foreact serve` was asked for; see its help.

    Attributes:
        token: that clients must know; empty for none.
    """

    policy: str
    host: str = "127.0.0.1"
    port: int = 8000
    device: str = "cpu"
    rename: Sequence[str] = ()
    robots: int = 128
    rate: float = 200.0
    token: str = ""


def make_server(request: ServeRequest) -> PolicyServer:
    """The server of a run, which does not listen yet.

    Raises:
        ForeactError: no policy there, a host that needs a token, or renaming that is none.
    """
    door = Door(host=request.host, token=request.token)
    if request.rate <= 0 or not 0 <= request.port < 2**16:
        raise ForeactError("--rate must be positive, and --port between 0 and 65535")
    run = Path(request.policy)
    spec = PolicySpec.of(read_config(run), request.policy)
    return PolicyServer(
        policy=load(run, device=request.device),
        spec=spec,
        identity=f"{run.name} {weights_hash(run)}",
        door=door,
        rename=_OPENPI | _renaming(request.rename, spec),
        limits=Limits(robots=request.robots, rate=request.rate),
    )


def _renaming(words: Sequence[str], spec: PolicySpec) -> dict[str, str]:
    known = {*(camera.name for camera in spec.cameras), "observation.state", "task"}
    found = {}
    for word in words:
        theirs, equals, ours = word.rpartition("=")
        if not equals or ours not in known:
            raise ForeactError(f"--rename {word}: write THEIRS=OURS, where OURS is one of {', '.join(sorted(known))}")
        found[theirs] = ours
    return found


def serve(request: ServeRequest, *, on_ready: Callable[[str], None]) -> None:
    """Answer robots until SIGINT or SIGTERM.

    Args:
        request: what to serve, and where.
        on_ready: told where, as soon as robots can come.
    """
    server = make_server(request)

    async def run() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        async with server.listening(request.host, request.port) as port:
            host = f"[{request.host}]" if ":" in request.host else request.host
            on_ready(
                f"{server.identity}: ws://{host}:{port} for robots, http://{host}:{port} for a browser; Ctrl-C ends it"
            )
            await stop.wait()

    asyncio.run(run())
