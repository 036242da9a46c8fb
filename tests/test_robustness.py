"""What people type and do at the command line that used to end in a traceback, in every verb alike."""

import os
import signal
import subprocess
import sys
from functools import partial

import pytest

from foreact.cli import main
from foreact.commands.parsing import parse


def said_by(capsys, words):
    """The one line with which a command refuses."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    told = capsys.readouterr().err.strip().splitlines()
    assert ended.value.code == 2
    assert len(told) == 1
    return told[0]


@pytest.mark.parametrize(
    "words",
    [
        ["collect", "pusht", "--out=~/new/x"],
        ["collect", "pusht", "--out", "~/new/x"],
        ["train", "rla", "--data=~/new/x", "--out=~/new/x", "--encoder=~/new/x", "--cache=~/new/x"],
        ["evaluate", "~/new/x", "--data=~/new/x", "--out=~/new/x"],
        ["benchmark", "world-models", "--data=~/new/x", "--out=~/new/x"],
    ],
)
def test_the_home_folder_is_meant_with_and_without_an_equals_sign(words, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    command = parse(words).__self__
    told = str(vars(command))
    assert "~" not in told
    assert told.count(f"{tmp_path}/new/x") == sum("~" in word for word in words)


WRITING = {
    "fit": "data --out", "collect": "pusht --out", "import": "source --out", "inspect": "data --contact-sheet",
    "train": "rla --data data --out", "evaluate": "run --data data --out", "claims": "run --data data --results",
    "report": "results --out", "benchmark": "coin-world --out",
}  # fmt: skip


@pytest.mark.parametrize("verb", [*WRITING, "report --picture", "train --cache", "fit --cache"])
def test_nothing_is_begun_that_could_not_be_written(verb, tmp_path, capsys):
    (tmp_path / "file").write_text("kept")
    verb, _, option = verb.partition(" ")
    options = [*WRITING[verb].split(), *([str(tmp_path / "out"), option] if option else [])]
    said = said_by(capsys, [verb, *options, str(tmp_path / "file" / "x")])
    assert said == f"foreact: cannot write {tmp_path}/file/x: {tmp_path}/file is a file and no folder"
    assert "File name too long" in said_by(capsys, [verb, *options, str(tmp_path / ("a" * 5000))])


@pytest.mark.parametrize("verb", [verb for verb in WRITING if verb not in ("inspect", "report", "evaluate", "claims")])
def test_a_file_is_no_folder_and_a_folder_no_file(verb, tmp_path, capsys):
    (tmp_path / "file").write_text("kept")
    assert "is a file and no folder" in said_by(capsys, [verb, *WRITING[verb].split(), str(tmp_path / "file")])
    assert "it is a folder" in said_by(capsys, ["report", "results", "--out", str(tmp_path)])


@pytest.mark.parametrize(
    "words",
    ["collect pusht --out x --seed", "fit d --out x --seed", "train rla --data d --out x --seed",
     "evaluate r --data d --out x --seed", "claims r --data d --results x --seed", "collect pusht --out x --workers",
     "collect pusht --out x --episodes", "claims r --data d --results x --pairs"],
)  # fmt: skip
@pytest.mark.parametrize("number", ["-2", "2147483648", "many"])
def test_seeds_and_counts_are_numbers_that_can_be(words, number, capsys):
    assert f"{number!r} is not a " in said_by(capsys, [*words.split(), number])


@pytest.mark.parametrize(
    "words", [["inspect"], ["import", "--out", "x"], ["report"], ["evaluate", "--data", "d", "--out", "x"]]
)
def test_a_path_that_is_too_long_is_refused(words, capsys):
    assert "File name too long" in said_by(capsys, [*words, "a" * 5000])


INTERRUPTED = """
import os, signal, sys
from foreact.cli import main

class Interrupt:
    def find_spec(self, name, path, target=None):
        if name == sys.argv[1]:
            try:
                os.kill(os.getpid(), signal.SIGINT)
                for _ in range(1000): pass
            except BaseException:
                raise RecursionError from None

sys.meta_path.insert(0, Interrupt())
main(sys.argv[2:])
"""


@pytest.mark.parametrize("module", ["foreact.commands.parsing", "tyro", "numpy", "foreact.envs.pusht"])
def test_ctrl_c_while_something_is_imported_ends_as_anywhere(module, tmp_path):
    """Some libraries turn what is raised while they are imported into something else."""
    words = ["collect", "pusht", "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, module, *words],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=partial(
            signal.signal, signal.SIGINT, signal.SIG_DFL
        ),  # it is ignored in what shells start behind them
    )
    assert done.stderr == "foreact: interrupted; run the same command again to go on\n"
    assert done.returncode == 130


def test_ctrl_c_that_was_switched_off_stays_so(tmp_path):
    """As for what a shell runs in the background."""
    script = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n{INTERRUPTED}"
    words = [sys.executable, "-c", script, "numpy", "inspect", str(tmp_path / "none")]
    assert subprocess.run(words, capture_output=True, text=True, check=False).returncode == 2


def commands(data, place):
    video = place / "videos"
    video.mkdir()
    import numpy as np

    from foreact.data.video import write_video

    for name in ("a", "b"):
        write_video(video / f"{name}.mp4", np.zeros((5, 32, 32, 3), np.uint8), 10)
    return {
        "inspect": ["inspect", str(data), "--contact-sheet", str(place / "sheet.png")],
        "import": ["import", str(video), "--out", str(place / "imported")],
        "collect": ["collect", "pusht", "--out", str(place / "collected"), "--episodes", "1", "--image-size", "32"],
        "train": ["train", "dino-wm", "--data", str(data), "--out", str(place / "run"), "--steps", "1", "--encoder", "pixels",
                  "--image-size", "32", "--batch-size", "2", "--cache", str(place / "cache")],
    }  # fmt: skip


@pytest.mark.parametrize(
    "verb", ["import", *(pytest.param(v, marks=pytest.mark.slow) for v in ("inspect", "collect", "train"))]
)
def test_work_whose_reader_left_ends_in_silence(verb, tiny_dataset, tmp_path):
    """As in `foreact train ... 2>&1 | head -1`: on both streams, so that nobody is there to be told."""
    if verb == "collect":
        pytest.importorskip("gym_pusht")
    read, write = os.pipe()
    os.close(read)
    words = [sys.executable, "-m", "foreact", *commands(tiny_dataset, tmp_path)[verb]]
    ended = subprocess.run(words, stdout=write, stderr=write, check=False, timeout=300)
    assert ended.returncode == 141
    with open(tmp_path / "err", "w+") as errors:  # and where errors go to a file
        ended = subprocess.run(words, stdout=write, stderr=errors, check=False, timeout=300)
        errors.seek(0)
        said = errors.read()
    os.close(write)
    assert ended.returncode == 141
    assert "Traceback" not in said
