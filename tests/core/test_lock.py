"""A folder is used by one process at a time; what a dead one left behind holds nobody up."""

import contextlib
import os
import subprocess
import sys

import pytest

from foreact.core.errors import ForeactError
from foreact.core.lock import LOCK_FILE, locked

HOLD = """
import sys, time
from pathlib import Path
from foreact.core.lock import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def held(folder):
    """Another process, which has locked the folder."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "locked\n"
        yield holder
    finally:
        holder.kill()
        holder.communicate()


def test_the_second_is_told_who_was_first_and_gets_in_when_that_is_dead(tmp_path):
    run = tmp_path / "run"
    with held(run) as holder:
        with (
            pytest.raises(ForeactError, match=rf"run is in use by process {holder.pid} on \S+ since \d{{4}}-.*choose"),
            locked(run),
        ):
            pass
        assert (run / LOCK_FILE).exists()
    assert (run / LOCK_FILE).exists()  # it was killed
    with locked(run):
        (run / "something").touch()
    assert [path.name for path in run.iterdir()] == ["something"]


def test_nothing_is_left_where_nothing_was_written(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path / "new"):
        raise KeyError
    assert not (tmp_path / "new").exists()


def test_who_waited_for_a_file_that_is_gone_locks_the_new_one(tmp_path, monkeypatch):
    """Between opening the file and locking it, its owner may remove it."""
    from foreact.core import lock

    opened, lock_it = [], lock._try_lock

    def late(file):
        if not opened:
            (tmp_path / LOCK_FILE).unlink()
        opened.append(file)
        lock_it(file)

    monkeypatch.setattr(lock, "_try_lock", late)
    with locked(tmp_path):
        assert len(opened) == 2
        assert os.path.samestat((tmp_path / LOCK_FILE).stat(), os.fstat(opened[1].fileno()))


@pytest.mark.parametrize(
    "words",
    ["train rla --data {data}", "fit {data}", "collect pusht", "benchmark coin-world", "import-weights --rla {data}"],
)
def test_every_verb_that_fills_a_folder_keeps_others_out(words, tiny_dataset, tmp_path, capsys):
    from foreact.cli import main

    with held(tmp_path / "out") as holder, pytest.raises(SystemExit) as ended:
        main([*words.format(data=tiny_dataset).split(), "--out", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert f"in use by process {holder.pid}" in capsys.readouterr().err


def test_an_import_keeps_others_out(tmp_path):
    import numpy as np

    from foreact.data.importers import import_recordings
    from foreact.data.video import write_video

    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "a.mp4", np.zeros((5, 32, 32, 3), np.uint8), 10)
    with held(tmp_path / "out"), pytest.raises(ForeactError, match="in use by process"):
        import_recordings(tmp_path / "videos", tmp_path / "out")
    assert import_recordings(tmp_path / "videos", tmp_path / "out") == 1
    assert not (tmp_path / "out" / LOCK_FILE).exists()
