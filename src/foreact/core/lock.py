"""One process at a time in a folder: a lock that the operating system holds, and drops when its process ends."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from foreact.core.errors import ForeactError

LOCK_FILE = ".lock"

if sys.platform == "win32":
    import msvcrt

    _FAR = 1 << 30  # bytes that Windows has locked cannot be read, so one is locked that is not there

    def _try_lock(file: IO[str]) -> None:
        file.seek(_FAR)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        file.seek(0)
else:
    import fcntl

    def _try_lock(file: IO[str]) -> None:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not inherited by workers, which may outlive a killed process


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Inside, no other process gets past this line with the same folder; it is made where it is missing.

    A lock file that a killed process left behind holds nobody up.

    Raises:
        ForeactError: another process is there (the message says which, where and since when), or the folder cannot be made.
    """
    path, made = folder / LOCK_FILE, not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = _open(path)
    except OSError as error:
        raise ForeactError(f"cannot write in {folder}: {error.strerror or error}") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        file.close()
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()  # where nothing was written


def _open(path: Path) -> IO[str]:
    """The lock file, opened and locked."""
    while True:
        file = open(path, "a+")  # noqa: SIM115
        try:
            _try_lock(file)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                print(
                    f"foreact: {path.parent} cannot be locked ({error.strerror}): use it once at a time",
                    file=sys.stderr,
                )
                return file
            file.seek(0)
            said = file.read(1000)
            file.close()
            raise ForeactError(
                f"{path.parent} is in use{_holder(said)}: wait until that ends, or choose another folder"
            ) from None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(file.fileno())):
                break
        file.close()  # the one before has just removed it
    file.truncate(0)
    file.write(json.dumps({"pid": os.getpid(), "host": platform.node(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}))
    file.flush()
    return file


def _holder(said: str) -> str:
    """What the lock file says of its owner, in words."""
    try:
        return " by process {pid} on {host} since {since}".format(**json.loads(said))
    except (ValueError, TypeError, KeyError):
        return " by another process"
