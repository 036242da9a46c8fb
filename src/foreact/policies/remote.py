"""A policy at the other end of a line: whatever `foreact serve` serves, as if it were here.

It needs the package foreact-client.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from foreact.core.contracts import Observation
from foreact.core.errors import ForeactError
from foreact.policies.spec import PolicySpec

TOKEN = "FOREACT_TOKEN"
"""The environment variable with the token of servers that ask for one."""
CLIENT = "it needs foreact-client: pip install ./packages/foreact-client in foreact's repository"


class RemotePolicy:
    """Asks the server for each chunk.

    Args:
        url: such as ws://127.0.0.1:8000.
        patience: seconds for which a server that is not there is waited for.

    Attributes:
        config: what the policy there says of itself.
        execute: actions of a chunk that are executed before it looks again.
        identity: what tells this policy from others.

    Raises:
        ForeactError: no server there, or one that does not say what its policy sees.
    """

    def __init__(self, url: str, *, patience: float = 10.0) -> None:
        try:
            from foreact_client import Client, ClientError
        except ModuleNotFoundError as error:
            raise ForeactError(f"{url}: {CLIENT}") from error
        self._failure = ClientError
        try:
            self._client = Client(url, token=os.environ.get(TOKEN), patience=patience)
        except ClientError as error:
            raise ForeactError(str(error)) from error
        told: dict[str, Any] = self._client.metadata
        self.config = PolicySpec.from_message(told, url)
        self.execute, self.identity = self.config.execute, str(told.get("identity", url))

    def reset(self, seeds: Sequence[int] | None = None) -> None:
        """See `Policy`."""
        self._client.reset(seeds)

    def act(self, observation: Observation) -> np.ndarray:
        """See `Policy`.

        Raises:
            ForeactError: what the server says is wrong, or that it is gone.
        """
        try:
            return self._client.act(observation)
        except self._failure as error:
            raise ForeactError(str(error)) from error

    def close(self) -> None:
        """Hang up."""
        self._client.close()


def is_remote(name: str) -> bool:
    """Whether it is the address of a policy server."""
    return name.startswith(("ws://", "wss://"))
