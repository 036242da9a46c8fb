"""How progress is told."""

import re
from functools import partial

import pytest
from rich.console import Console
from rich.progress import Progress

from foreact.core import progress
from foreact.core.progress import bar, rate


@pytest.mark.parametrize(
    ("speed", "said"), [(0.1, "6.0 episodes/min"), (1.0, "1.0 episodes/s"), (2500.0, "2,500.0 episodes/s")]
)
def test_slow_work_is_counted_by_the_minute(speed, said):
    assert rate(speed, "episodes") == said


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still unless it is put forward, and a screen that is wide enough."""
    now = [100.0]
    monkeypatch.setattr(progress, "Progress", partial(Progress, get_time=lambda: now[0], auto_refresh=False))
    monkeypatch.setattr(progress, "Console", partial(Console, width=140, force_terminal=True, color_system=None))
    return now


def lines(err: str) -> list[str]:
    """What stands on the screen in the end, without the codes that moved the cursor."""
    return [
        line for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", err).replace("\r", "\n").splitlines() if line.strip()
    ]


def test_a_bar_tells_what_is_done_how_fast_and_the_latest_values(clock, capsys):
    with bar("record", "episodes") as on_progress:
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
    with bar("encode frames", "frames"):
        pass
    assert lines(capsys.readouterr().err) == []


def test_a_bar_of_work_that_fails_shows_how_far_it_came(clock, capsys):
    with pytest.raises(RuntimeError, match="full"), bar("record", "episodes") as on_progress:
        on_progress(3, 8)
        raise RuntimeError("the disk is full")
    assert "3/8" in lines(capsys.readouterr().err)[-1]
