"""Types of command-line arguments that are checked where they are read, alike in every command."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from tyro.constructors import PrimitiveConstructorSpec

from foreact.core.errors import ForeactError


def _whole_number(name: str, least: int, most: int = 2**31) -> PrimitiveConstructorSpec[int]:
    def read(words: list[str]) -> int:
        if not words[0].removeprefix("-").isdecimal() or not least <= int(words[0]) < most:
            raise ForeactError(
                f"{words[0][:40]!r} is not {name}: it must be a whole number, at least {least} and below {most}"
            )
        return int(words[0])

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="INT",
        instance_from_str=read,
        is_instance=lambda value: isinstance(value, int),
        str_from_instance=lambda number: [str(number)],
    )


def _writable(*, folder: bool) -> PrimitiveConstructorSpec[Path]:
    def read(words: list[str]) -> Path:
        path = Path(words[0])
        require_writable(path, folder=folder)
        return path

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=read,
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda path: [str(path)],
    )


def require_writable(path: Path, *, folder: bool) -> None:
    """See at once what would fail only when the work is done.

    Args:
        path: to be written, with the folders above it.
        folder: whether it is one itself.

    Raises:
        ForeactError: a file is where a folder must be or the other way round, or nothing can be written there.
    """
    place = path if folder else path.parent
    try:
        if not folder and path.is_dir():
            raise ForeactError(f"cannot write {path}: it is a folder")
        while not place.exists():
            place = place.parent
    except OSError as error:
        raise ForeactError(f"cannot write {str(path)[:200]}: {error.strerror}") from error
    if not place.is_dir():
        raise ForeactError(f"cannot write {path}: {place} is a file and no folder")
    if not os.access(place, os.W_OK):
        raise ForeactError(f"cannot write {path}: {place} is not writable")


Seed = Annotated[int, _whole_number("a seed", 0)]
Count = Annotated[int, _whole_number("a count", 1)]
OutFolder = Annotated[Path, _writable(folder=True)]
OutFile = Annotated[Path, _writable(folder=False)]
