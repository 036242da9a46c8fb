"""Files written whole or not at all, and JSON read with an error that names the file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from foreact.core.errors import ForeactError


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Another path to write to, which becomes `path` at the end; whatever happens, `path` holds its old or its whole new content.

    Raises:
        ForeactError: the disk is full or not writable.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise ForeactError(f"cannot write {path}: {error.strerror or error}; nothing that was there is lost") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` so that `path` holds either its old or its whole new content, also after a kill; raises as `whole`."""
    with whole(path) as temporary, open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, data: Any, *, indent: int | None = 2) -> None:
    """Write JSON atomically, with a last newline; NaN and infinities are refused.

    Raises:
        ForeactError: the file cannot be written.
        ValueError: a number is not finite.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(data, indent=indent, allow_nan=False) + "\n").encode())


def byte_size(count: float) -> str:
    """A number of bytes as people say it: 12 bytes, 3.4 kB, 1.2 MB, 5.6 GB."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count:.0f} bytes"


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no JSON, or none that `write_json` writes: with NaN, infinities, or lists in lists without end.
    """
    return parse_json(path.read_bytes())


def parse_json(text: bytes) -> Any:
    """The content of a JSON text; raises as `read_json`."""

    def refuse(constant: str) -> None:
        raise ValueError(f"it contains {constant}, which is not a number")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
