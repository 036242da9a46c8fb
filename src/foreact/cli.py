"""`foreact <verb>`: from robot videos to an imagined future, one command per stage.

What every command has in common: how it ends. Next to nothing is imported here, so that Ctrl-C is understood from the start.
"""

from __future__ import annotations

import os
import signal
import sys

from foreact.core.errors import ForeactError

TYPE_CHECKING = False  # typing alone would take longer than all else that comes before `main`
if TYPE_CHECKING:
    from types import FrameType
    from typing import TextIO

_INTERRUPTED = "foreact: interrupted; run the same command again to go on"


def main(arguments: list[str] | None = None) -> None:
    """Entry point: errors of the user's making end with one line on standard error and exit status 2.

    Where nobody reads on, as in `foreact --help | head -1`, it ends in silence, with the status that shells give.
    """
    asked = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in asked
    if not debug and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        try:
            _run([a for a in asked if a != "--debug"], debug=debug)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _leave_closed_pipe():
            raise
        sys.exit(141)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Ctrl-C while modules are imported ends at once: what is raised there, libraries may swallow or turn into something else."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os.write(2, f"{_INTERRUPTED}\n".encode())
            os._exit(130)
        frame = frame.f_back
    raise KeyboardInterrupt


def _leave_closed_pipe() -> bool:
    """Whether standard output or error is a pipe that its reader closed; what is left to say to it is dropped.

    Only a further line tells: the broken pipe may also be one to another process of a training.
    """
    found = _drop_if_closed(sys.stdout, "\n") or _drop_if_closed(sys.stderr, "\n")
    if found:  # what the other one holds would fail once more when Python ends
        _drop_if_closed(sys.stderr, "")
    return found


def _drop_if_closed(stream: TextIO, text: str) -> bool:
    try:
        print(text, end="", file=stream, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return True
    return False


def _run(arguments: list[str], *, debug: bool) -> None:
    try:
        from foreact.commands.parsing import parse

        parse(arguments)()
    except ForeactError as error:
        if debug:
            raise
        _end(str(error), 2)
    except KeyboardInterrupt:
        if debug:
            raise
        print(_INTERRUPTED, file=sys.stderr)
        sys.exit(130)
    except OSError as error:  # of a path that the user named: too long, not permitted, on a disk that is full or gone
        if debug or error.filename is None:
            raise
        _end(f"{str(error.filename)[:200]}: {error.strerror}", 2)


def _end(message: str, status: int) -> None:
    from foreact.core.terminal import printable

    print(f"foreact: {printable(message)}", file=sys.stderr)
    sys.exit(status)
