from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreact.core.errors import ForeactError
from foreact.data.layout import write_parquet
from foreact.data.lerobot import LeRobotDataset
from foreact.data.video import read_video
from foreact.data.writer import LeRobotWriter

COLUMNS = {"action": ("x", "y"), "observation.state": ("a", "b", "c"), "next.reward": ("reward",)}


def open_writer(root: Path, **changes: object) -> LeRobotWriter:
    options: dict = {"fps": 10, "cameras": {"top": (32, 48)}, "columns": COLUMNS} | changes
    return LeRobotWriter(root, **options)


def episode(length: int, seed: int = 0) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    frames = np.broadcast_to(rng.integers(0, 255, (length, 1, 1, 3), np.uint8), (length, 32, 48, 3))
    return {"top": frames}, {key: rng.normal(size=(length, len(names))) for key, names in COLUMNS.items()}


def assert_same_files(one: Path, other: Path) -> None:
    """The same files with the same bytes; videos with the same frames, as the encoder gives no promise about bytes."""
    names = {path.relative_to(one) for path in one.rglob("*") if path.is_file()}
    assert names == {path.relative_to(other) for path in other.rglob("*") if path.is_file()}
    for name in names:
        if name.suffix == ".mp4":
            difference = read_video(one / name).astype(int) - read_video(other / name)
            assert np.abs(difference).mean() < 3, name
        else:
            assert (one / name).read_bytes() == (other / name).read_bytes(), name


@settings(max_examples=8, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 13), min_size=1, max_size=4),
    tasks=st.lists(st.text(max_size=12), min_size=4, max_size=4),
    dims=st.lists(st.sampled_from([1, 2, 3, 5, 7]), min_size=1, max_size=2),
    actionless=st.sets(st.integers(0, 3)),
    seed=st.integers(0, 2**31),
)
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    lengths: list[int],
    tasks: list[str],
    dims: list[int],
    actionless: set[int],
    seed: int,
) -> None:
    root, rng = tmp_path_factory.mktemp("round") / "data", np.random.default_rng(seed)
    names = {"action": [f"a{i}" for i in range(dims[0])], "observation.state": [f"s{i}" for i in range(dims[-1])]}
    written = []
    with LeRobotWriter(root, fps=7, cameras={"top": (16, 32)}, columns=names) as writer:
        for index, length in enumerate(lengths):
            rows = {key: rng.normal(size=(length, len(n))).astype(np.float32) for key, n in names.items()}
            if index in actionless:
                del rows["action"]
            frames = np.broadcast_to(rng.integers(0, 255, (length, 1, 1, 3), np.uint8), (length, 16, 32, 3))
            writer.add_episode({"top": frames}, rows, tasks[index])
            written.append((frames, rows))
    dataset = LeRobotDataset(root)
    assert [(e.length, e.task) for e in dataset.episodes] == list(zip(lengths, tasks))
    assert [e.offset for e in dataset.episodes] == [sum(lengths[:i]) for i in range(len(lengths))]
    for index, (frames, rows) in enumerate(written):
        assert dataset.has_actions(index) == (index not in actionless)
        assert np.abs(dataset.frames(index).astype(int) - frames).mean() < 6
        for key, values in rows.items():
            assert np.array_equal(dataset.column(key, index), values)
        assert np.allclose(dataset.column("timestamp", index)[:, 0], np.arange(lengths[index]) / 7)


def test_files_are_those_of_lerobot_v3(two_camera_dataset: Path) -> None:
    info = json.loads((two_camera_dataset / "meta/info.json").read_text())
    assert (info["codebase_version"], info["total_episodes"], info["total_frames"], info["total_tasks"]) == (
        "v3.0",
        3,
        41,
        2,
    )
    assert info["features"]["observation.images.side"]["shape"] == [48, 64, 3]
    file = pq.ParquetFile(two_camera_dataset / "data/chunk-000/file-000.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [11, 13, 17]
    rows = pq.read_table(two_camera_dataset / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [row["tasks"] for row in rows] == [["push"], ["pull"], ["push"]]
    assert [row["videos/observation.images.top/file_index"] for row in rows] == [0, 1, 2]
    assert [(row["dataset_from_index"], row["dataset_to_index"]) for row in rows] == [(0, 11), (11, 24), (24, 41)]
    table = pq.read_table(two_camera_dataset / "data/chunk-000/file-000.parquet")
    assert table.column("index").to_pylist() == list(range(41))
    assert set(table.column("task_index").to_pylist()[11:24]) == {1}
    tasks = pq.read_table(two_camera_dataset / "meta/tasks.parquet")
    assert tasks.to_pylist() == [{"task_index": 0, "task": "push"}, {"task_index": 1, "task": "pull"}]
    assert not (two_camera_dataset / "unfinished").exists()


def test_statistics_are_those_of_the_rows(two_camera_dataset: Path) -> None:
    stats = json.loads((two_camera_dataset / "meta/stats.json").read_text())
    dataset = LeRobotDataset(two_camera_dataset)
    actions = np.concatenate([dataset.actions(e.index) for e in dataset.episodes])
    assert stats["action"]["count"] == [41]
    for name, expected in {
        "mean": actions.mean(0),
        "std": actions.std(0),
        "q10": np.quantile(actions, 0.1, axis=0),
    }.items():
        assert np.allclose(stats["action"][name], expected, rtol=1e-4)
    picture = stats["observation.images.top"]
    frames = np.concatenate([dataset.frames(e.index) for e in dataset.episodes]) / 255
    assert np.shape(picture["mean"]) == (3, 1, 1)
    assert np.allclose(np.ravel(picture["mean"]), frames.mean((0, 1, 2)), atol=0.02)
    assert np.allclose(np.ravel(picture["std"]), frames.std((0, 1, 2)), atol=0.02)


def test_statistics_of_pictures_are_those_of_all_episodes(tmp_path: Path) -> None:
    frames, columns = episode(8)
    with open_writer(tmp_path / "data") as writer:
        for shade in (10, 240, 240, 240):
            writer.add_episode({key: np.full_like(video, shade) for key, video in frames.items()}, columns, "push")
        for staged in sorted((tmp_path / "data/unfinished").glob("*.parquet"))[
            :2
        ]:  # of a version that counted no levels
            write_parquet(staged, [pq.read_table(staged).replace_schema_metadata({"episode": '{"task": "push"}'})])
    for picture in json.loads((tmp_path / "data/meta/stats.json").read_text()).values():
        if np.shape(picture["mean"]) == (3, 1, 1):
            assert np.ravel(picture["q01"]) == pytest.approx([10 / 255] * 3, abs=0.01)
            assert np.ravel(picture["q50"]) == pytest.approx([240 / 255] * 3, abs=0.01)
            assert np.ravel(picture["mean"]) == pytest.approx([(10 + 3 * 240) / 4 / 255] * 3, abs=0.01)
            assert picture["count"] == [32]


def test_statistics_leave_actionless_episodes_out(partly_actionless_dataset: Path) -> None:
    stats = json.loads((partly_actionless_dataset / "meta/stats.json").read_text())
    assert stats["action"]["count"] == [19 + 29]
    assert np.isfinite(stats["action"]["mean"]).all()


def test_interrupted_recording_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    episodes = [episode(5 + i, seed=i) for i in range(4)]
    with open_writer(tmp_path / "whole") as writer:
        for parts in episodes:
            writer.add_episode(*parts, task="t")
    with pytest.raises(KeyboardInterrupt), open_writer(tmp_path / "cut") as writer:
        for parts in episodes[:2]:
            writer.add_episode(*parts, task="t")
        raise KeyboardInterrupt
    with pytest.raises(ForeactError, match=r"meta/info\.json is missing"):
        LeRobotDataset(tmp_path / "cut")
    with open_writer(tmp_path / "cut") as writer:
        assert writer.episodes_written == 2
        for parts in episodes[2:]:
            writer.add_episode(*parts, task="t")
    assert_same_files(tmp_path / "cut", tmp_path / "whole")


def record_forty(root: Path) -> None:
    with open_writer(root) as writer:
        for i in range(writer.episodes_written, 40):
            writer.add_episode(*episode(5 + i % 7, seed=i), task=str(i % 3))


def counting(work: Callable[[], None], *, until: int | None = None) -> int:
    """How many functions `work` calls and returns from, C's too; at number `until` the process is killed."""
    count = 0

    def tick(*_: object) -> None:
        nonlocal count
        count += 1
        if count == until:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(tick)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def test_killed_at_any_moment_it_ends_the_same(tmp_path: Path) -> None:
    record_forty(tmp_path / "whole")
    whole = counting(lambda: record_forty(tmp_path / "again"))  # the first time much is imported
    written = []
    for moment in np.random.default_rng(0).integers(
        [1, 1, 1, whole // 3, whole // 3], [whole // 10] * 3 + [whole // 2] * 2
    ):
        child = os.fork()
        if child == 0:
            try:
                counting(lambda: record_forty(tmp_path / "killed"), until=int(moment))
            finally:
                os._exit(0)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        written.append(len(list((tmp_path / "killed").glob("unfinished/*.parquet"))))
    assert (
        0 < written[0] < written[2] < written[3] == written[4] == 40
    )  # while episodes are written, and while they are gathered
    record_forty(tmp_path / "killed")
    assert_same_files(tmp_path / "killed", tmp_path / "whole")


def test_kill_between_the_last_file_and_the_clean_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = open_writer(tmp_path / "data")
    writer.add_episode(*episode(5), task="t")
    with monkeypatch.context() as patch:
        patch.setattr("foreact.data.writer.shutil.rmtree", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            writer.finalize()
    assert LeRobotDataset(tmp_path / "data").total_frames == 5


def test_full_disk_while_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    writer = open_writer(tmp_path / "data")
    writer.add_episode(*episode(5), task="t")
    with monkeypatch.context() as patch:
        patch.setattr(pq.ParquetWriter, "write_table", no_space)
        with pytest.raises(ForeactError, match=r"cannot write .*episode-000001\.parquet: No space left on device"):
            writer.add_episode(*episode(7, seed=1), task="t")
        with pytest.raises(ForeactError, match=r"cannot write .*file-000\.parquet: No space left on device"):
            writer.finalize()
    assert not list((tmp_path / "data").rglob("*.partial"))
    assert writer.episodes_written == 1
    writer.add_episode(*episode(7, seed=1), task="t")
    writer.finalize()
    assert [e.length for e in LeRobotDataset(tmp_path / "data").episodes] == [5, 7]


def test_other_settings_and_other_folders_are_refused(tmp_path: Path) -> None:
    open_writer(tmp_path / "data").add_episode(*episode(5), task="t")
    with pytest.raises(ForeactError, match="interrupted recording with other settings"):
        open_writer(tmp_path / "data", fps=11)
    with open_writer(tmp_path / "data"):
        pass
    with pytest.raises(ForeactError, match="already holds a finished dataset"):
        open_writer(tmp_path / "data")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("dear")
    with pytest.raises(ForeactError, match="is not an interrupted recording"):
        open_writer(tmp_path / "mine")


def test_no_episode_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ForeactError, match="no episode was written"):
        open_writer(tmp_path / "data").finalize()


def change(key: str, values: np.ndarray | None) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    frames, columns = episode(5)
    where = frames if key == "top" else columns
    if values is None:
        del where[key]
    else:
        where[key] = values
    return frames, columns


@pytest.mark.parametrize(
    ("key", "values", "message"),
    [
        ("top", None, "episode 0 has cameras"),
        ("top", np.zeros((5, 32, 40, 3), np.uint8), r"observation.images.top: frames must be uint8 \(T, 32, 48, 3\)"),
        ("top", np.zeros((5, 32, 48, 3), np.float32), "not float32"),
        ("observation.state", None, "lacks the column 'observation.state'"),
        ("observation.state", np.zeros((4, 3)), r"'observation.state' has shape \(4, 3\), not \(5, 3\)"),
        ("observation.state", np.full((5, 3), np.nan), "row 0, a is nan"),
        (
            "action",
            np.array([[0, 1], [2, 3], [4, np.nan], [0, 0], [0, 0]]),
            "episode 0, column 'action', row 2, y is nan",
        ),
        ("action", np.array([[0, 1], [np.inf, 3], [4, 5], [0, 0], [0, 0]]), "row 1, x is inf"),
        ("unknown", np.zeros((5, 1)), "unknown column 'unknown'"),
    ],
)
def test_bad_episodes_are_refused_and_cost_nothing(
    tmp_path: Path, key: str, values: np.ndarray | None, message: str
) -> None:
    writer = open_writer(tmp_path / "data")
    with pytest.raises(ForeactError, match=message):
        writer.add_episode(*change(key, values), task="t")
    writer.add_episode(*episode(3), task="t")
    writer.finalize()
    assert LeRobotDataset(tmp_path / "data").total_frames == 3


def test_cameras_of_different_lengths_are_refused(tmp_path: Path) -> None:
    frames, columns = episode(5)
    writer = open_writer(tmp_path / "data", cameras={"top": (32, 48), "side": (32, 48)})
    with pytest.raises(ForeactError, match=r"different lengths: .*top': 5, .*side': 4"):
        writer.add_episode(frames | {"side": frames["top"][:4]}, columns, task="t")


def test_settings_may_change_until_the_first_episode(tmp_path: Path) -> None:
    open_writer(tmp_path / "data", fps=3)
    with open_writer(tmp_path / "data") as writer:
        writer.add_episode(*episode(5), task="t")
    assert LeRobotDataset(tmp_path / "data").fps == 10
