"""`foreact serve`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from foreact.core.arguments import Count


@dataclass(frozen=True, kw_only=True)
class Serve:
    """Answer robots over openpi's protocol, until Ctrl-C: they send what they see, and get the next actions.

    The address, opened in a browser, shows what was seen and done last. Other machines are let in with --host and a secret in
    the environment variable FOREACT_TOKEN, which clients send along.

    Attributes:
        policy: a run of foreact train bc or wam.
        host: address to listen at; by default this machine alone reaches it.
        port: to listen at.
        device: that the policy's network is on.
        rename: THEIRS=OURS: what a robot calls a part of the observation, and what the recordings called it, such as
            observation/image=observation.images.top.
        robots: that may be connected at a time.
        rate: requests per second that one robot may make; who asks faster waits.
    """

    policy: Positional[str]
    host: str = "127.0.0.1"
    port: int = 8000
    device: str = "cpu"
    rename: Annotated[tuple[str, ...], arg(metavar="THEIRS=OURS")] = ()
    robots: Count = 128
    rate: float = 200.0

    def run(self) -> None:
        """Serve."""
        from foreact.core.errors import ForeactError

        try:
            from foreact.serving.running import ServeRequest, serve
        except ModuleNotFoundError as error:
            from foreact.policies.remote import CLIENT

            raise ForeactError(f"foreact serve needs {error.name}: {CLIENT}") from error
        asked = {**vars(self), "token": os.environ.get("FOREACT_TOKEN", "")}
        serve(ServeRequest(**asked), on_ready=lambda told: print(told, flush=True))
