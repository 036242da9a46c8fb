"""From the words of a command line to the command that they ask for; wrong usage is one line."""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import os
import re
from collections.abc import Callable
from typing import Any

import tyro

from foreact.commands import VERBS
from foreact.commands.options import plain, quiet
from foreact.core.errors import ForeactError

_SUMMARY = "`foreact <verb>`: from robot videos to an imagined future, one command per stage."
_CONFIG = (
    tyro.conf.OmitArgPrefixes,
    tyro.conf.OmitSubcommandPrefixes,
    tyro.conf.DisallowNone,
    tyro.conf.FlagCreatePairsOff,
)


def parse(arguments: list[str]) -> Callable[[], None]:
    """What runs the command that was asked for; what tyro says of wrong usage is folded into one line."""
    verb, *rest = map(_from_home, arguments or [""])
    if verb in ("-h", "--help"):
        commands: dict[str, Callable[..., Any]] = {name: quiet(_command(name)) for name in VERBS}
        tyro.extras.subcommand_cli_from_dict(commands, prog="foreact", args=["--help"], description=_SUMMARY)
    if verb not in VERBS:
        said = f"unknown verb {verb!r}" if verb else "no verb"
        raise ForeactError(f"{said}: choose one of {', '.join(VERBS)} (see foreact --help)")
    command, words = _command(verb), ["foreact", verb]
    if hasattr(command, "chosen"):
        named, command = command.chosen(rest)
        words, rest = [*words, *named], rest[len(named) :]
    call = functools.partial(tyro.cli, quiet(command), prog=" ".join(words), args=rest)
    return plain(_in_one_line(call, " ".join(words))).run


def _from_home(argument: str) -> str:
    """`--out=~/x` as shells read `--out ~/x`."""
    option, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    return option + equals + os.path.expanduser(value)  # noqa: PTH111  (pathlib's takes no words that are no paths)


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
