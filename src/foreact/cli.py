"""`foreact <verb>`: from robot videos to an imagined future, one command per stage."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import sys
from collections.abc import Callable
from typing import Any

import tyro

from foreact.core.errors import ForeactError
from foreact.verbs import VERBS


def main(arguments: list[str] | None = None) -> None:
    """Entry point: errors of the user's making end with one line on standard error and exit status 2.

    Where nobody reads on, as in `foreact --help | head -1`, it ends in silence, with the status that shells give.
    """
    try:
        try:
            _run(sys.argv[1:] if arguments is None else arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _leave_closed_pipe():
            raise
        sys.exit(141)


def _leave_closed_pipe() -> bool:
    """Whether standard output or error is a pipe that its reader closed; what is left to say to it is dropped.

    Only a further line tells: the broken pipe may also be one to another process of a training.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            print(file=stream, flush=True)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            return True
    return False


def _run(arguments: list[str]) -> None:
    debug = "--debug" in arguments
    try:
        _parse([a for a in arguments if a != "--debug"])()
    except ForeactError as error:
        if debug:
            raise
        print(f"foreact: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        if debug:
            raise
        print("foreact: interrupted; run the same command again to go on", file=sys.stderr)
        sys.exit(130)


def _parse(arguments: list[str]) -> Callable[[], None]:
    """The verb with its arguments, ready to be called; what tyro says of wrong usage is folded into one line."""
    verbs = {name: _deferred(function) for name, function in VERBS.items()}
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.extras.subcommand_cli_from_dict(
                verbs,
                prog="foreact",
                args=arguments,
                description=__doc__,
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes),
            )
    except SystemExit as ended:
        if ended.code in (0, None):
            raise
        words = " ".join(re.sub(r"[│╭╮╰╯─]+", " ", said.getvalue()).split())
        message = re.split(" For full helptext| Perhaps you meant", words)[0]
        message = re.sub(r" \(applied to [^)]*\)| Arguments are applied to[^.]*\.", "", message)
        named = re.search(r"run: (foreact [a-z-]+ .*--help)", words)
        verb = [a for a in arguments[:1] if a in VERBS]
        shown = named[1] if named else " ".join(["foreact", *verb, "--help"])
        raise ForeactError(f"{message} (see {shown})") from None


def _deferred(verb: Callable[..., None]) -> Callable[..., Callable[[], None]]:
    @functools.wraps(verb)
    def prepare(*args: Any, **options: Any) -> Callable[[], None]:
        return functools.partial(verb, *args, **options)

    prepare.__annotations__["return"] = Callable[[], None]
    return prepare
