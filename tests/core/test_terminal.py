"""Text out of files does nothing on a terminal, and a closed pipe is an error that the command line sees."""

import os
import sys

import pytest
from rich.text import Text

from foreact.core.progress import progress_bar
from foreact.core.terminal import Console, in_markup, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("push the T · 推す", "push the T · 推す"),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("one\nforeact: two\r", r"one\nforeact: two\r"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        (os.fsdecode(b"caf\xe9"), r"caf\udce9"),
    ],
)
def test_what_a_terminal_acts_on_is_written_out(text, shown):
    assert printable(text) == shown
    assert Text.from_markup(in_markup(f"[red]{text}[/]")).plain == f"[red]{shown}[/]"


def test_a_task_cannot_write_on_the_terminal(make_dataset, tmp_path, capsys):
    from foreact.cli import main

    data = make_dataset(lengths=(5,), tasks=("\x1b[31mred[/] [bold]task",))
    with pytest.raises(SystemExit) as ended:
        main(["inspect", str(data), "--contact-sheet", str(tmp_path / "sheet.png")])
    assert ended.value.code in (None, 0, 1)
    told = capsys.readouterr()
    assert "\x1b" not in told.out + told.err
    assert r"\x1b[31mred[/] [bold]task: 1 episodes" in told.out
    with pytest.raises(SystemExit):
        main(["inspect", str(data), "--camera", "\x1b[2Jtop"])
    assert "\x1b" not in capsys.readouterr().err


def test_a_closed_pipe_is_told_as_such(monkeypatch):
    """Rich would end the program itself, with another status."""
    read, write = os.pipe()
    os.close(read)
    with open(write, "w", buffering=1) as closed:
        monkeypatch.setattr(sys, "stderr", closed)
        with pytest.raises(BrokenPipeError), progress_bar("work", "things") as on_progress:
            on_progress(1, 1)
        with pytest.raises(BrokenPipeError):
            Console(file=closed).print("text")
        os.dup2(os.open(os.devnull, os.O_WRONLY), write)
