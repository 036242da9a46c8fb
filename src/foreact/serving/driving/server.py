"""The page and what it asks for, over HTTP, for browsers of this machine alone; Python's own server, one thread per visitor.

GET /            the page                    POST /start  {"episode", "frame", "seed"}       -> a moment
GET /about       what can be driven          POST /step   {"moment", "actions": [[...]], "noise"} -> a moment
                                             POST /film   {"moment"}                         -> video/mp4
"""

from __future__ import annotations

import base64
import io
import json
import tempfile
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from foreact.core.errors import ForeactError
from foreact.data.lerobot import ACTION
from foreact.data.video import write_video
from foreact.serving.driving.moments import Drive, Seen

_PAGE = Path(__file__).parent / "page"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
}
_HOSTS = ("127.0.0.1", "localhost")
_LARGEST = 1_000_000  # bytes of a request
_MOST = 2000  # actions of a request
_SECURITY = {
    "Content-Security-Policy": "default-src 'self'; img-src data: blob:; media-src blob:",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


def serve(drive: Drive, port: int, title: str) -> ThreadingHTTPServer:
    """A server that listens at a port of this machine, any free one if 0; its `serve_forever` is still to be called.

    Raises:
        ForeactError: the port is taken or not allowed.
    """
    handler = type("Handler", (_Handler,), {"drive": drive, "title": title})
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    except (OSError, OverflowError) as error:
        raise ForeactError(f"cannot listen at port {port} ({error}): choose another one with --port") from error
    server.daemon_threads = True
    return server


def about(drive: Drive, title: str) -> dict[str, Any]:
    """What a page needs to know."""
    bounds, names = drive.bounds, drive.dataset.names_of(ACTION)
    return {
        "title": title,
        "fps": drive.dataset.fps,
        "chunk": drive.chunk,
        "futures": drive.futures,
        "simulator": drive.world is not None,
        "episodes": [{"number": e, "length": drive.dataset.episode(e).length} for e in drive.episodes],
        "side": drive.side,
        "actions": [
            {"name": name, "low": float(low), "high": float(high), "middle": float(middle)}
            for name, low, high, middle in zip(names, bounds.low, bounds.high, bounds.middle, strict=True)
        ],
    }


class _Handler(BaseHTTPRequestHandler):
    drive: Drive
    title: str
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """The page, its parts, and what can be driven."""
        path = self.path.partition("?")[0]
        if path == "/about":
            self._answer(lambda: about(self.drive, self.title))
            return
        files = {f"/{file.name}": file for file in _PAGE.iterdir()} | {"/": _PAGE / "index.html"}
        if path not in files:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", b"the page is at /\n")
        elif self._welcome():
            self._send(HTTPStatus.OK, _TYPES[files[path].suffix], files[path].read_bytes())

    def do_POST(self) -> None:
        """Moments and films."""
        known: dict[str, Callable[[], dict[str, Any] | bytes]]
        known = {"/start": self._start, "/step": self._step, "/film": self._film}
        self._answer(known.get(self.path, self._nothing))

    def _start(self) -> dict[str, Any]:
        words = self._words()
        return _moment(self.drive.start(*(_whole(words, name) for name in ("episode", "frame", "seed"))))

    def _step(self) -> dict[str, Any]:
        words = self._words()
        actions, noise, number = words.get("actions"), words.get("noise", 1.0), _whole(words, "moment")
        if not isinstance(actions, list) or not 1 <= len(actions) <= _MOST or not isinstance(noise, int | float):
            raise ForeactError(f"actions are a list of 1 to {_MOST} lists of numbers, and noise is a number")
        for action in actions:
            try:
                seen = self.drive.step(number, np.asarray(action, dtype=np.float64), noise=float(noise))
            except (TypeError, ValueError) as error:
                raise ForeactError("an action is a list of numbers") from error
            number = seen.number
        return _moment(seen)

    def _film(self) -> bytes:
        frames = self.drive.way(_whole(self._words(), "moment"))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "drive.mp4"
            write_video(path, frames, self.drive.dataset.fps)
            return path.read_bytes()

    def _nothing(self) -> bytes:
        raise ForeactError(f"nothing is at {self.path[:80]}")

    def _words(self) -> dict[str, Any]:
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 < length <= _LARGEST:
            self.close_connection = True
            raise ForeactError(f"a request has 1 to {_LARGEST} bytes of JSON, not {length}")
        try:
            words = json.loads(self.rfile.read(length))
        except ValueError as error:
            raise ForeactError("the request is no JSON") from error
        if not isinstance(words, dict):
            raise ForeactError("the request is no JSON object")
        return words

    def _welcome(self) -> bool:
        """Whether the browser asked this machine by its own name: pages of elsewhere cannot reach in through another one."""
        known = self.headers.get("Host", "").rpartition(":")[0] in _HOSTS
        origin = self.headers.get("Origin")
        known &= origin is None or origin.partition("//")[2].rpartition(":")[0] in _HOSTS
        if not known:
            self.close_connection = True
            self._send(HTTPStatus.FORBIDDEN, "text/plain", b"this page is for this machine alone\n")
        return known

    def _answer(self, make: Callable[[], dict[str, Any] | bytes]) -> None:
        if not self._welcome():
            return
        try:
            made = make()
        except ForeactError as error:
            self._send(HTTPStatus.BAD_REQUEST, "application/json", json.dumps({"error": str(error)}).encode())
            return
        if isinstance(made, bytes):
            self._send(HTTPStatus.OK, "video/mp4", made)
        else:
            self._send(HTTPStatus.OK, "application/json", json.dumps(made).encode())

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in {**_SECURITY, "Content-Type": kind, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a page asks ten times a second."""


def _whole(words: dict[str, Any], name: str) -> int:
    value = words.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ForeactError(f"{name} must be a whole number, not {value!r}")
    return value


def _moment(seen: Seen) -> dict[str, Any]:
    return {
        "moment": seen.number,
        "futures": [_data_uri(picture) for picture in seen.futures],
        "unsure": seen.unsure.round(3).tolist(),
        "real": None if seen.real is None else _data_uri(seen.real),
    }


def _data_uri(picture: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
