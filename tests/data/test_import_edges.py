"""Videos and tables as users have them: what would make wrong data is refused, or told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_foreign_videos import LENGTH, cut, moving, write_foreign
from test_importers import write_iws, write_maniskill

from foreact.cli import main
from foreact.core.errors import ForeactError
from foreact.core.files import byte_size
from foreact.data.importers import import_recordings
from foreact.data.lerobot import LeRobotDataset
from foreact.data.video import write_video

ROWS = 5


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A folder with one video of five frames, 12 per second."""
    folder = tmp_path / "videos"
    folder.mkdir()
    write_video(folder / "clip.mp4", moving(ROWS), 12)
    return folder


def run(source: Path, **options: Any) -> tuple[LeRobotDataset, str]:
    """The imported dataset, and all notes."""
    notes: list[str] = []
    import_recordings(source, source.parent / "out", on_note=notes.append, **options)
    return LeRobotDataset(source.parent / "out"), "\n".join(notes)


def rows(*columns: list[Any], separator: str = ",") -> str:
    return "\n".join(separator.join(map(str, row)) for row in zip(*columns))


X, Y = [0.5, 0.7, 0.1, 0.9, 0.2], [1.5, 1.25, 1.0, 0.5, 1.75]
WANTED = np.float32([X, Y]).T.tolist()


# Tables


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (rows(X, Y), r"clip\.csv, line 1 holds numbers \(0\.5, 1\.5\) where the names of the columns must stand"),
        ("0,1\n" + rows(X, Y), r"line 1 holds numbers \(0, 1\)"),
        ("# x,y\n" + rows(X, Y), r"line 1 \(# x, y\) must be the names of the columns, without #"),
        ("x,y\n" + rows(X, Y) + ",3", r"line 6 has 3 values for 2 columns"),
        ("x,y\n1\n" + rows(X, Y), r"line 2 has 1 values for 2 columns"),
        ("x,y\n1,2\n\n" + rows(X[1:], Y[1:]), r"line 3 is empty"),
        ("x,y\n1,2\n# pause\n" + rows(X[1:], Y[1:]), r"line 3 is a comment"),
        ("x,x\n" + rows(X, Y), r"clip\.csv has 2 columns called 'x'"),
        ("x,\n" + rows(X, Y), r"a column of actions has no name"),
        ("x,y\n", r"clip\.csv has a header and no rows"),
        ("x;y\n" + rows(["0,5"] * 5, Y, separator=";"), r"'x' holds .* '0,5' in line 2: write decimal points"),
        ("x\n" + "0,5\n" * 5, r"line 2 has 2 values for 1 columns: .* separated by commas"),
        ("x,y\n" + rows(X, [1e9 + 0.1, *Y[1:]]), r"column 'y' reaches 1000000000\.1, .*: take off an offset"),
        ("state_x,x\n" + rows(X, Y), r"is the column 'state_x' an action\?"),
        ("time,step\n" + rows(X, Y), r"clip\.csv holds no actions; columns left out .* time \(a clock"),
    ],
)
def test_tables_that_would_be_misread_are_refused(clip: Path, content: str, said: str) -> None:
    (clip / "clip.csv").write_text(content)
    with pytest.raises(ForeactError, match=said):
        run(clip)
    assert not (clip.parent / "out").exists()


def test_other_encodings_are_refused(clip: Path) -> None:
    for encoding in ("latin-1", "utf-16"):
        (clip / "clip.csv").write_bytes(("größe,y\n" + rows(X, Y)).encode(encoding))
        with pytest.raises(ForeactError, match=r"clip\.csv is not UTF-8 text \(byte \d+\): save it as UTF-8"):
            run(clip)
    (clip / "clip.csv").write_bytes(("größe,y\n" + rows(X, Y)).encode("utf-8-sig"))
    assert run(clip)[0].names_of("action") == ("größe", "y")


@pytest.mark.parametrize(
    ("separator", "said"), [(",", ""), (";", "clip.csv is separated by semicolons"), ("\t", "tabs")]
)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_separators_are_found_and_told(clip: Path, separator: str, said: str, ending: str) -> None:
    text = f"x{separator} y\n" + rows(X, Y, separator=separator) + "\n\n"
    (clip / "clip.csv").write_bytes(text.replace("\n", ending).encode())
    dataset, notes = run(clip)
    assert dataset.actions(0).tolist() == WANTED
    assert said in notes if said else notes == ""


CLOCKS = (
    "t time time_s timestamps Timestamp stamp_ns header.stamp.secs unixTime frame_id frameIndex episode_index row step index "
    "task_index __index_level_0__"
)


@pytest.mark.parametrize("name", CLOCKS.split())
def test_clocks_and_counters_are_no_actions(clip: Path, name: str) -> None:
    clock = [1_700_000_000_000 + 83 * t + t % 3 for t in range(ROWS)]
    pq.write_table(pa.table({"x": X, name: clock, "y": Y}), clip / "clip.parquet")
    dataset, notes = run(clip)
    assert dataset.names_of("action") == ("x", "y")
    assert dataset.actions(0).tolist() == WANTED
    assert f"columns left out of the actions: {name} (a clock or counter by its name); to keep one" in notes


@pytest.mark.parametrize(
    ("header", "shown"), [("Unnamed: 0,x,y", "Unnamed: 0 (a clock"), (",x,y", "(no name) (it only")]
)
def test_the_index_that_pandas_writes_is_no_action(clip: Path, header: str, shown: str) -> None:
    (clip / "clip.csv").write_text(f"{header}\n" + rows(list(range(ROWS)), X, Y))
    dataset, notes = run(clip)
    assert dataset.actions(0).tolist() == WANTED
    assert shown in notes


def test_a_column_that_only_counts_up_in_every_table_is_no_action_unless_called_one(clip: Path) -> None:
    write_video(clip / "clop.mp4", moving(ROWS), 12)
    counting, steps = [100 + 3 * t for t in range(ROWS)], [2 * t for t in range(ROWS)]
    (clip / "clip.csv").write_text("mark,x,y\n" + rows(counting, steps, Y))
    (clip / "clop.csv").write_text("mark,x,y\n" + rows(counting, X, Y))
    dataset, notes = run(clip)
    assert dataset.names_of("action") == ("x", "y")
    assert "mark (it only counts up)" in notes
    for name in ("clip", "clop"):
        (clip / f"{name}.csv").write_text("action.mark,action.x,time\n" + rows(counting, X, steps))
    (clip.parent / "out").rename(clip.parent / "first")
    assert run(clip)[0].names_of("action") == ("mark", "x")


def test_lerobots_own_columns_are_features(clip: Path) -> None:
    pairs = pa.array([[x, y] for x, y in zip(X, Y)])
    table = {"action": pairs, "observation.state": pairs, "timestamp": [t / 12 for t in range(ROWS)]}
    pq.write_table(pa.table(table), clip / "clip.parquet")
    dataset, _ = run(clip)
    assert (dataset.names_of("action"), dataset.names_of("observation.state")) == (
        ("action_0", "action_1"),
        ("state_0", "state_1"),
    )
    assert dataset.actions(0).tolist() == WANTED


def test_parquet_of_the_same_faults(clip: Path) -> None:
    path = clip / "clip.parquet"
    for table, said in (
        (pa.Table.from_arrays([pa.array(X), pa.array(Y)], names=["x", "x"]), r"2 columns called 'x'"),
        (pa.table({"x": pa.array([], pa.float32())}), r"holds no rows"),
        (pa.table({"x_0": X, "x": [[x, x] for x in X]}), r"2 columns called 'x_0'"),
    ):
        pq.write_table(table, path)
        with pytest.raises(ForeactError, match=said):
            run(clip)


# Rates


UNEVEN = np.cumsum([0, *([1, 3, 2] * LENGTH)])[:LENGTH]


def test_uneven_videos_are_resampled_by_their_times_or_refused(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    write_foreign(folder / "phone.mp4", "libx264", times=UNEVEN)
    with pytest.raises(ForeactError, match=r"frames that lie 0\.100 to 0\.300 s apart, .* give fps to resample"):
        run(folder)
    dataset, notes = run(folder, fps=10)
    assert "phone.mp4 has frames that lie 0.100 to 0.300 s apart: resampled to 10 per second" in notes
    numbers = [int(np.abs(UNEVEN - t).argmin()) for t in range(UNEVEN[-1] + 1)]
    shown = dataset.frames(0)[:, 30:, 30:].mean((1, 2, 3))
    truth = moving()[numbers][:, 30:, 30:].mean((1, 2, 3))
    assert len(shown) == UNEVEN[-1] + 1
    assert np.abs(np.diff(UNEVEN)).max() == 3
    assert (np.abs(shown - truth) <= 5).all()  # halfway between two frames either one is nearest
    (folder / "phone.csv").write_text("x\n" + rows([k * k for k in range(LENGTH)]))
    with pytest.raises(
        ForeactError, match=r"phone\.mp4 has frames that lie .*, and phone\.csv has rows for just these"
    ):
        import_recordings(folder, tmp_path / "other", fps=10)


def test_another_rate_is_resampled_where_no_rows_belong_to_the_frames(clip: Path) -> None:
    write_video(clip / "clip.mp4", moving(LENGTH), 30)
    write_video(clip / "clop.mp4", moving(LENGTH), 10)
    with pytest.raises(
        ForeactError, match=r"clop\.mp4 has 10\.00 .* the videos before it 30\.00: give fps to resample"
    ):
        run(clip)
    dataset, notes = run(clip, fps=10)
    assert [episode.length for episode in dataset.episodes] == [13, LENGTH]
    assert notes == "clip.mp4 has 30.00 frames per second: resampled to 10 per second, 13 frames from 37"
    shown = dataset.frames(0)[:, 30:, 30:].mean((1, 2, 3))
    assert np.allclose(shown, moving()[::3][:, 30:, 30:].mean((1, 2, 3)), atol=3)


def test_a_rate_that_is_not_whole_may_be_rounded_where_rows_belong_to_the_frames(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    write_foreign(folder / "slow.mp4", "libx264", times=np.arange(LENGTH) * 4)
    (folder / "slow.csv").write_text("x\n" + rows([k * k for k in range(LENGTH)]))
    with pytest.raises(ForeactError, match=r"slow\.mp4 has 2\.50 frames per second, a dataset needs a whole number"):
        run(folder)
    with pytest.raises(ForeactError, match=r"slow\.mp4 has 2\.50 frames per second, not 5 per second, and slow\.csv"):
        run(folder, fps=5)
    dataset, notes = run(folder, fps=3)
    assert (dataset.episodes[0].length, notes) == (
        LENGTH,
        "slow.mp4 has 2.50 frames per second: taken as 3 per second, with all its frames",
    )


def test_videos_without_times_need_a_rate(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    write_foreign(folder / "raw.h264", "libx264")
    with pytest.raises(ForeactError, match=r"raw\.h264 does not say how many frames per second it has: give fps"):
        run(folder)
    dataset, notes = run(folder, fps=10)
    assert dataset.episodes[0].length == LENGTH
    assert notes == "raw.h264 does not say when its frames were taken: taken as 10 per second"


@pytest.mark.parametrize(
    ("control_freq", "said"),
    [("20", "says 20 frames"), (0, "says 0")],
)
def test_rates_that_are_none(tmp_path: Path, control_freq: object, said: str) -> None:
    source = write_maniskill(tmp_path / "demos")
    path = next(source.glob("*.json"))
    described = json.loads(path.read_text())
    described["env_info"]["env_kwargs"]["sim_config"] = {"control_freq": control_freq}
    path.write_text(json.dumps(described))
    with pytest.raises(ForeactError, match=said):
        run(source)
    assert run(source, fps=20)[0].fps == 20


def test_a_rate_other_than_the_recorded_one_is_told(tmp_path: Path) -> None:
    path = write_iws(tmp_path / "demos", 0, 5)
    assert "episode_0.hdf5 says 10.00 frames per second: taken as 5" in run(tmp_path / "demos", fps=5)[1]
    with h5py.File(path, "a") as file:
        file["timestamp"][:] = 7.0
    with pytest.raises(ForeactError, match=r"says inf frames per second: give fps|contains Infinity"):
        import_recordings(tmp_path / "demos", tmp_path / "other")


# Files and options


def test_a_file_that_is_cut_short_is_called_so(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    cut(write_foreign(folder / "screen.mkv", "libx264", g="4"), 0.8)
    with pytest.raises(
        ForeactError, match=r"screen\.mkv is damaged or cut short, it ends after \d\.\d of 3\.7 s: copy"
    ):
        run(folder)


def test_a_single_video_and_videos_of_one_name(clip: Path) -> None:
    for format in ("auto", "folder"):
        with pytest.raises(ForeactError, match=r"clip\.mp4 is a file: give the folder that holds the videos"):
            run(clip / "clip.mp4", format=format)
    (clip / "clip.csv").write_text("x,y\n" + rows(X, Y))
    (clip / "._clip.mp4").write_bytes(b"what a file system leaves")
    (clip / "._clip.csv").write_bytes(b"\xff\xfe")
    assert run(clip)[0].actions(0).tolist() == WANTED
    (clip / "clip.mkv").write_bytes((clip / "clip.mp4").read_bytes())
    with pytest.raises(ForeactError, match=r"clip\.csv has several videos of the same name"):
        run(clip)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--fps", "0"], "fps must be a whole number of at least 1, not 0"),
        (["--fps", "-5"], "fps must be a whole number of at least 1, not -5"),
        (["--fps", "nan"], "--fps"),
        (["--height", "0"], "height must be an even number of at least 2, not 0"),
        (["--height", "47"], "height must be an even number of at least 2, not 47"),
    ],
)
def test_options_that_make_no_sense(
    clip: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["import", str(clip), "--out", str(clip.parent / "out"), *options])
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("foreact: ")
    assert said in captured.err
    assert captured.err.count("\n") == 1


def test_too_much_for_the_memory_is_told_in_fitting_units(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from foreact.data.importers import folder

    monkeypatch.setattr(folder, "_MOST_BYTES", 40_000)
    with pytest.raises(ForeactError, match=r"clip\.mp4: its frames need 46\.1 kB of memory, more than 40\.0 kB"):
        run(clip)


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 bytes"), (999, "999 bytes"), (1_500, "1.5 kB"), (2_340_000, "2.3 MB"), (5e9, "5.0 GB")]
)
def test_sizes_as_people_say_them(count: float, said: str) -> None:
    assert byte_size(count) == said
