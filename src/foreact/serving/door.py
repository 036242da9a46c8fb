"""Who may come in: this machine alone, or who knows a token; and what a browser is shown."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from foreact.core.errors import ForeactError
from foreact.serving.page import draw_page

if TYPE_CHECKING:
    from foreact.serving.server import PolicyServer

SHORTEST = 16  # characters of a token
_SECURITY = {
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


@dataclass(frozen=True, kw_only=True)
class Door:
    """Of a server.

    Attributes:
        host: that it listens at.
        token: that all must know; empty where only this machine can come in.

    Raises:
        ForeactError: other machines could come in without a token, or the token is short.
    """

    host: str = "127.0.0.1"
    token: str = ""

    def __post_init__(self) -> None:
        if self.token and len(self.token) < SHORTEST:
            raise ForeactError(f"FOREACT_TOKEN is too short to be a secret: take {SHORTEST} characters or more")
        if not self.token and not is_loopback(self.host):
            raise ForeactError(
                f"--host {self.host} lets other machines in: set the environment variable FOREACT_TOKEN to a secret, here and "
                "where clients run"
            )

    def keeper(self, server: PolicyServer) -> Callable[[ServerConnection, Request], Awaitable[Response | None]]:
        """Answers who comes without a websocket, or may not come in; None lets a robot in."""

        async def answer(line: ServerConnection, request: Request) -> Response | None:
            path, query = urlsplit(request.path).path, parse_qs(urlsplit(request.path).query)
            if path == "/healthz":
                return line.respond(HTTPStatus.OK, "OK\n")
            if not self.token and not is_loopback(urlsplit(f"//{request.headers.get('Host', '')}").hostname or ""):
                return line.respond(
                    HTTPStatus.FORBIDDEN, "this server is reached by this machine's own address alone\n"
                )
            if not self._knows(request.headers.get("Authorization", ""), query.get("token", [""])[0]):
                return line.respond(HTTPStatus.UNAUTHORIZED, "this server asks for its token\n")
            if path != "/":
                return line.respond(HTTPStatus.NOT_FOUND, "policies are served at /\n")
            if "Upgrade" in request.headers:
                return None
            page = (await asyncio.to_thread(draw_page, server)).encode()
            headers = Headers(_SECURITY)
            headers["Content-Type"], headers["Content-Length"] = "text/html; charset=utf-8", str(len(page))
            headers["Connection"] = "close"
            return Response(HTTPStatus.OK.value, HTTPStatus.OK.phrase, headers, page)

        return answer

    def _knows(self, authorization: str, asked: str) -> bool:
        """openpi's clients send `Api-Key`, ours `Bearer`, a browser a part of the address."""
        scheme, _, said = authorization.partition(" ")
        word = said if scheme.lower() in ("bearer", "api-key") else asked
        return not self.token or hmac.compare_digest(word.encode(), self.token.encode())


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches this address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
