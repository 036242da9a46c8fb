"""What reaches the terminal: text out of files that can do nothing there, and consoles whose closed pipe is told as such."""

from __future__ import annotations

import unicodedata
from typing import Any

import rich.console
from rich.markup import escape

_ACTING = ("Cc", "Cf", "Cs")
"""Unicode's categories of control and formatting characters, and of halves of characters, which cannot be printed."""


def printable(text: str) -> str:
    r"""The text with what a terminal would act on written out, such as \x1b for an escape: one line that moves no cursor."""
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in _ACTING else c  # a half has no other code
        for c in text
    )


def in_markup(text: str) -> str:
    """`printable`, for tables and titles in which rich reads markup: the text's own brackets stay brackets."""
    return escape(printable(text))


class Console(rich.console.Console):
    """A console that leaves it to the command line what becomes of a pipe that nobody reads."""

    def on_broken_pipe(self) -> None:
        """Called while a `BrokenPipeError` is handled: it goes on."""
        raise


def show(content: Any) -> None:
    """Print a table or text with markup on standard output."""
    Console().print(content)
