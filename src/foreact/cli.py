"""`foreact <verb>`: from robot videos to an imagined future, one command per stage."""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import os
import re
import sys
from collections.abc import Callable
from typing import Any, TextIO

import tyro

from foreact.commands import VERBS
from foreact.commands.options import plain, quiet
from foreact.core.errors import ForeactError

_CONFIG = (
    tyro.conf.OmitArgPrefixes,
    tyro.conf.OmitSubcommandPrefixes,
    tyro.conf.DisallowNone,
    tyro.conf.FlagCreatePairsOff,
)


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
    """What runs the command that was asked for; what tyro says of wrong usage is folded into one line."""
    verb, *rest = arguments or [""]
    if verb in ("-h", "--help"):
        commands: dict[str, Callable[..., Any]] = {name: quiet(_command(name)) for name in VERBS}
        tyro.extras.subcommand_cli_from_dict(commands, prog="foreact", args=["--help"], description=__doc__)
    if verb not in VERBS:
        said = f"unknown verb {verb!r}" if verb else "no verb"
        raise ForeactError(f"{said}: choose one of {', '.join(VERBS)} (see foreact --help)")
    command, words = _command(verb), ["foreact", verb]
    if hasattr(command, "chosen"):
        named, command = command.chosen(rest)
        words, rest = [*words, *named], rest[len(named) :]
    parse = functools.partial(tyro.cli, quiet(command), prog=" ".join(words), args=rest)
    return plain(_in_one_line(parse, " ".join(words))).run


def _command(verb: str) -> Any:
    module, name = VERBS[verb].split(":")
    return getattr(importlib.import_module(module), name)


def _in_one_line(parse: Callable[..., Any], prog: str) -> Any:
    """What `parse` makes of the arguments.

    Raises:
        ForeactError: wrong usage, in one line.
        SystemExit: help was asked for and shown.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return parse(config=_CONFIG)
    except SystemExit as ended:
        if ended.code in (0, None):
            raise
    _, *framed = said.getvalue().splitlines()  # the first line is a title; a plain terminal gets no frames
    lines = [re.sub(r"[│╭╮╰╯─]+|-{3,}", " ", line) for line in framed]
    words = " ".join(" ".join(lines).split())
    message = re.split(" For full helptext| Perhaps you meant| Argument helptext| Got errors", words)[0]
    message = re.sub(r" \(applied to [^)]*\)| Arguments are applied to[^.]*\.", "", message)
    named = re.search(r"(?:run|see):? (foreact [a-z -]*--help)", words)
    shown = named[1] if named else f"{prog} --help"
    if unknown := re.search(r"Unrecognized options: (--?[^ ,=]+)", message):
        message = f"{unknown[1]} is not an option of {re.sub('foreact (train )?| --help', '', shown)}"
    elif "Required options" in said.getvalue():
        missing = [found[1] for line in lines if (found := re.match(r" {2,6}(--[a-z-]+|[A-Z]+\b|\{\S+)", line))]
        message = f"{prog} needs {' and '.join(missing)}"
    raise ForeactError(f"{message} (see {shown})") from None
