"""Asks a policy server what a robot is to do; see `Client` and `ChunkExecutor`."""

from foreact_client.chunks import ChunkExecutor
from foreact_client.client import Client
from foreact_client.errors import ClientError, LateError, RefusedError

__all__ = ["ChunkExecutor", "Client", "ClientError", "LateError", "RefusedError"]
