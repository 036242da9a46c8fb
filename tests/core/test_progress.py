"""How progress is told."""

import re
from functools import partial

import pytest
from rich.console import Console
from rich.progress import Progress

from foreact.core import progress as telling
from foreact.core.progress import progress_bar, rate


@pytest.mark.parametrize(
    ("speed", "said"), [(0.1, "6.0 episodes/min"), (1.0, "1.0 episodes/s"), (2500.0, "2,500.0 episodes/s")]
)
def test_slow_work_is_counted_by_the_minute(speed, said):
    assert rate(speed, "episodes") == said


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still unless it is put forward, and a screen that is wide enough."""
    now = [100.0]
    monkeypatch.setattr(telling, "Progress", partial(Progress, get_time=lambda: now[0], auto_refresh=False))
    monkeypatch.setattr(telling, "Console", partial(Console, width=140, force_terminal=True, color_system=None))
    return now


def lines(err: str) -> list[str]:
    """What stands on the screen in the end, without the codes that moved the cursor."""
    return [
        line for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", err).replace("\r", "\n").splitlines() if line.strip()
    ]


def test_a_bar_tells_what_is_done_how_fast_and_the_latest_values(clock, capsys):
    with progress_bar("record", "episodes") as on_progress:
        for done in range(1, 9):
            clock[0] += 0.25
            on_progress(done, 12, {"loss": 1 / (3 * done), "skill": -0.02, "gradient_norm": 7.0})
    out, err = capsys.readouterr()
    assert out == ""  # what a command prints can go on through a pipe
    line = lines(err)[-1]
    assert line.split()[0] == "record" or line.split()[1] == "record"
    assert "8/12" in line
    assert "4.0 episodes/s" in line
    assert "00:01" in line  # four episodes are left
    assert "loss 0.0417  skill -0.02" in line
    assert "gradient_norm" not in line


def test_work_that_is_done_already_says_nothing(clock, capsys):
    with progress_bar("encode frames", "frames"):
        pass
    assert lines(capsys.readouterr().err) == []


def test_a_bar_of_work_that_fails_shows_how_far_it_came(clock, capsys):
    with pytest.raises(RuntimeError, match="full"), progress_bar("record", "episodes") as on_progress:
        on_progress(3, 8)
        raise RuntimeError("the disk is full")
    assert "3/8" in lines(capsys.readouterr().err)[-1]


@pytest.fixture
def log(monkeypatch):
    """A clock as above, and no terminal."""
    now = [100.0]
    monkeypatch.setattr(telling.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(telling, "Console", partial(Console, force_terminal=False))
    return now


def test_without_a_terminal_there_is_a_line_for_every_twentieth_or_half_a_minute(log, capsys):
    with progress_bar("encode", "frames") as on_progress:
        for done in range(401):  # 100 s, a frame each quarter of a second
            on_progress(done, 400, {"loss": 0.5})
            log[0] += 0.25
    err = capsys.readouterr().err
    said = err.splitlines()
    assert len(said) == 20
    assert said[0] == "encode: 20/400 frames (5%), 4.0 frames/s, 1:35 left, loss 0.5"
    assert said[-1] == "encode: 400/400 frames (100%), 4.0 frames/s, done, loss 0.5"
    assert "\r" not in err
    assert "\x1b" not in err


def test_slow_work_is_told_every_half_minute_and_fast_work_not_in_a_flood(log, capsys):
    with progress_bar("train", "steps") as on_progress:
        for done in range(11):  # of a thousand, ten seconds each
            on_progress(done, 1000)
            log[0] += 10
    assert [line.split()[1] for line in capsys.readouterr().err.splitlines()] == ["3/1,000", "6/1,000", "9/1,000"]
    with progress_bar("train", "steps") as on_progress:
        for done in range(101):  # all in one second
            on_progress(done, 100)
            log[0] += 0.01
    assert [line.split()[1] for line in capsys.readouterr().err.splitlines()] == ["100/100"]


def test_work_that_goes_on_is_not_counted_as_done_now(log, capsys):
    with telling.overall_bar() as report:
        report(600.0, 1000.0, "rla")
        log[0] += 50
        report(700.0, 1000.0, "rla: 700/1,000 steps")
    assert capsys.readouterr().err == " 70%  rla: 700/1,000 steps  2:30 left\n"


@pytest.mark.parametrize(("seconds", "said"), [(4.4, "0:04"), (245, "4:05"), (3723, "1:02:03"), (-1, "0:00")])
def test_clock(seconds, said):
    assert telling.clock(seconds) == said
