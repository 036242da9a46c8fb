from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from edited_data import DATA, edit_info, edit_table, join_videos

from foreact.core.errors import ForeactError
from foreact.data.defects import broken_episodes
from foreact.data.inspect import inspect_dataset
from foreact.data.lerobot import LeRobotDataset
from foreact.data.video import write_video

TOP = "videos/observation.images.top/chunk-000/file-{:03d}.mp4"


def set_action(root: Path, row: int, value: float) -> None:
    def change(table: pa.Table) -> pa.Table:
        actions = np.array(table.column("action").to_pylist(), np.float32)
        actions[row, 1] = value
        column = pa.FixedSizeListArray.from_arrays(pa.array(actions.reshape(-1)), 2)
        return table.set_column(table.column_names.index("action"), "action", column)

    edit_table(root / DATA, change)


def test_what_a_dataset_says_about_itself(tiny_dataset: Path) -> None:
    dataset = LeRobotDataset(tiny_dataset)
    assert (dataset.fps, dataset.robot_type, dataset.action_dim) == (10, "square", 2)
    assert dataset.cameras == (dataset.camera,) == ("observation.images.top",)
    assert dataset.image_shape == (48, 64)
    assert [e.length for e in dataset.episodes] == [37, 41, 43, 47, 53, 37]
    assert [e.offset for e in dataset.episodes] == [0, 37, 78, 121, 168, 221]
    assert dataset.total_frames == 258
    assert {e.task for e in dataset.episodes} == {"push the block"}


def test_columns_are_those_of_the_episode(tiny_dataset: Path) -> None:
    dataset = LeRobotDataset(tiny_dataset)
    table = pq.read_table(tiny_dataset / DATA).to_pylist()
    for episode in dataset.episodes:
        rows = table[episode.offset : episode.offset + episode.length]
        assert dataset.actions(episode.index).tolist() == [row["action"] for row in rows]
        assert dataset.actions(episode.index).dtype == np.float32
        assert dataset.column("observation.state", episode.index).tolist() == [row["observation.state"] for row in rows]
        assert dataset.column("frame_index", episode.index)[:, 0].tolist() == list(range(episode.length))


def test_frames_show_the_state(tiny_dataset: Path) -> None:
    dataset = LeRobotDataset(tiny_dataset)
    for episode in (0, 4):
        frames = dataset.frames(episode).astype(int)
        blue = (frames[..., 2] - frames[..., 0]) > 80
        for t in range(0, len(frames), 5):
            _, columns = np.nonzero(blue[t])
            assert abs(columns.mean() + 0.5 - dataset.column("observation.state", episode)[t, 0] / 8) < 1.5


def test_part_of_an_episode(tiny_dataset: Path) -> None:
    dataset = LeRobotDataset(tiny_dataset)
    assert np.array_equal(dataset.frames(2, start=7, count=5), dataset.frames(2)[7:12])
    assert dataset.frames(2, start=40).shape == (3, 48, 64, 3)
    assert dataset.frames(2, count=2, size=24).shape == (2, 24, 24, 3)
    for start, count in ((40, 4), (-1, 1), (0, 0)):
        with pytest.raises(ForeactError, match="episode 2 has 43 frames, not frames"):
            dataset.frames(2, start=start, count=count)


@pytest.mark.parametrize("name", ["tiny_dataset", "joined"])
def test_gathered_frames_are_those_of_the_episodes(name: str, request: pytest.FixtureRequest, copy: Path) -> None:
    if name == "joined":
        join_videos(copy)
    dataset = LeRobotDataset(copy if name == "joined" else request.getfixturevalue(name))
    rng = np.random.default_rng(0)
    episodes = rng.integers(len(dataset.episodes), size=23)
    indices = np.array([rng.integers(dataset.episodes[e].length) for e in episodes])
    frames = dataset.gather_frames(episodes, indices, size=32)
    assert frames.shape == (23, 32, 32, 3)
    for frame, episode, index in zip(frames, episodes, indices):
        assert np.array_equal(frame, dataset.frames(int(episode), size=32)[index])
    with pytest.raises(ForeactError, match="episode 1 has no frame 99"):
        dataset.gather_frames(np.array([0, 1]), np.array([0, 99]))


def test_cameras_by_full_and_short_name(two_camera_dataset: Path) -> None:
    dataset = LeRobotDataset(two_camera_dataset, camera="side")
    assert dataset.camera == "observation.images.side"
    side, top = dataset.frames(1), dataset.frames(1, camera="top")
    assert top.mean() > side.mean() + 30
    assert np.array_equal(top, LeRobotDataset(two_camera_dataset).frames(1))
    assert np.array_equal(dataset.frames(1, camera="observation.images.top"), top)
    with pytest.raises(
        ForeactError, match=r"no camera 'back'; it has \['observation.images.top', 'observation.images.side'\]"
    ):
        LeRobotDataset(two_camera_dataset, camera="back")


def test_actionless_dataset(actionless_dataset: Path) -> None:
    dataset = LeRobotDataset(actionless_dataset)
    assert dataset.action_dim is None
    assert not dataset.has_actions(0)
    assert dataset.frames(0).shape == (11, 48, 64, 3)
    with pytest.raises(ForeactError, match="has no actions"):
        dataset.actions(0)


def test_single_actionless_episodes(partly_actionless_dataset: Path) -> None:
    dataset = LeRobotDataset(partly_actionless_dataset)
    assert [dataset.has_actions(i) for i in range(4)] == [True, False, True, False]
    assert dataset.actions(2).shape == (29, 2)
    with pytest.raises(ForeactError, match="episode 1 has no actions"):
        dataset.actions(1)


@pytest.mark.parametrize(
    "size",
    [
        -1,
        pytest.param(
            2,
            marks=pytest.mark.skipif(
                int(pa.__version__.split(".")[0]) < 26, reason="older Arrow does not read null rows of fixed-size lists"
            ),
        ),
    ],
)
def test_null_rows_count_as_missing_actions(copy: Path, size: int) -> None:
    def change(table: pa.Table) -> pa.Table:
        rows = table.column("action").to_pylist()
        rows[11:24] = [None] * 13
        column = pa.array(rows, pa.list_(pa.float32(), size))
        return table.set_column(table.column_names.index("action"), "action", column)

    before = LeRobotDataset(copy).actions(2)
    edit_table(copy / DATA, change)
    dataset = LeRobotDataset(copy)
    assert [dataset.has_actions(i) for i in range(3)] == [True, False, True]
    assert np.array_equal(dataset.actions(2), before)


def test_a_dataset_can_be_sent_to_another_process(tiny_dataset: Path) -> None:
    dataset = LeRobotDataset(tiny_dataset)
    dataset.frames(0, count=1)
    twin = pickle.loads(pickle.dumps(dataset))
    assert np.array_equal(twin.frames(1), dataset.frames(1))


def test_many_episodes_in_one_video(two_camera_dataset: Path, copy: Path) -> None:
    join_videos(copy)
    joined, single = LeRobotDataset(copy, camera="side"), LeRobotDataset(two_camera_dataset, camera="side")
    for episode in range(3):
        difference = joined.frames(episode).astype(int) - single.frames(episode)
        assert np.abs(difference).mean() < 1
    assert np.array_equal(joined.frames(1, start=4, count=3), joined.frames(1)[4:7])
    with pytest.raises(ForeactError, match="episode 1 has 13 frames"):
        joined.frames(1, start=12, count=2)


def make_v21(source: Path, root: Path, version: str = "v2.1") -> Path:
    """The dataset at `source` in the layout of version 2.1."""
    dataset, info = LeRobotDataset(source), json.loads((source / "meta/info.json").read_text())
    (root / "meta").mkdir(parents=True)
    (root / "data/chunk-000").mkdir(parents=True)
    table = pq.read_table(source / DATA)
    for e in dataset.episodes:
        pq.write_table(table.slice(e.offset, e.length), root / f"data/chunk-000/episode_{e.index:06d}.parquet")
        for camera in dataset.cameras:
            target = root / f"videos/chunk-000/{camera}/episode_{e.index:06d}.mp4"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / f"videos/{camera}/chunk-000/file-{e.index:03d}.mp4", target)
    lines = [json.dumps({"episode_index": e.index, "tasks": [e.task], "length": e.length}) for e in dataset.episodes]
    (root / "meta/episodes.jsonl").write_text("\n".join(lines) + "\n")
    (root / "meta/tasks.jsonl").write_text('{"task_index": 0, "task": "push"}\n{"task_index": 1, "task": "pull"}\n')
    info["codebase_version"] = version
    info["data_path"] = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
    info["video_path"] = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
    (root / "meta/info.json").write_text(json.dumps(info | {"total_chunks": 1, "unknown": {"key": 1}}))
    return root


@pytest.mark.parametrize("version", ["v2.0", "v2.1"])
def test_version_2_reads_the_same(two_camera_dataset: Path, tmp_path: Path, version: str) -> None:
    new, old = (
        LeRobotDataset(two_camera_dataset),
        LeRobotDataset(make_v21(two_camera_dataset, tmp_path / "old", version)),
    )
    assert old.episodes == new.episodes
    for episode in range(3):
        assert np.array_equal(old.actions(episode), new.actions(episode))
        assert np.array_equal(old.frames(episode, camera="side"), new.frames(episode, camera="side"))


def test_fingerprint_follows_the_content(two_camera_dataset: Path, copy: Path) -> None:
    original = LeRobotDataset(two_camera_dataset).fingerprint()
    assert LeRobotDataset(copy).fingerprint() == original
    assert LeRobotDataset(copy, camera="side").fingerprint() != original
    edit_info(copy, robot_type="renamed")
    assert LeRobotDataset(copy).fingerprint() == original
    set_action(copy, 5, 0.25)
    changed = LeRobotDataset(copy).fingerprint()
    assert changed != original
    write_video(copy / TOP.format(0), np.zeros((11, 48, 64, 3), np.uint8), 10)
    assert LeRobotDataset(copy).fingerprint() != changed


def test_no_such_folder_and_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(ForeactError, match="no such dataset folder"):
        LeRobotDataset(tmp_path / "nothing")
    with pytest.raises(ForeactError, match=r"meta/info\.json is missing"):
        LeRobotDataset(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"info\.json cannot be read"),
        ("[1]", r"info\.json cannot be read"),
        ('{"codebase_version": "v4.0"}', r"version v4\.0 is not supported, only v2\.0, v2\.1, v3\.0"),
        ('{"codebase_version": "v3.0"}', "the key 'fps' is missing"),
    ],
)
def test_bad_info(copy: Path, content: str, message: str) -> None:
    (copy / "meta/info.json").write_text(content)
    with pytest.raises(ForeactError, match=message):
        LeRobotDataset(copy)


@pytest.mark.parametrize("fps", [0, -10, None, "ten", True, float("nan"), float("inf")])
def test_fps_must_be_a_positive_number(copy: Path, fps: Any) -> None:
    edit_info(copy, fps=fps)
    with pytest.raises(
        ForeactError,
        match=r"info\.json: fps must be a positive number, not|info\.json cannot be read: it contains .*, which is not a number",
    ):
        LeRobotDataset(copy)


def test_missing_and_damaged_metadata(copy: Path) -> None:
    path = copy / "meta/episodes/chunk-000/file-000.parquet"
    edit_table(path, lambda table: table.drop_columns(["length"]))
    with pytest.raises(ForeactError, match=r"file-000\.parquet: column 'length' is missing"):
        LeRobotDataset(copy)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ForeactError, match="truncated or not a parquet file"):
        LeRobotDataset(copy)
    path.unlink()
    with pytest.raises(ForeactError, match=r"meta/episodes/.* is missing"):
        LeRobotDataset(copy)


@pytest.mark.parametrize("rows_stay", [True, False])
def test_a_gap_in_the_numbers_is_no_defect(copy: Path, two_camera_dataset: Path, rows_stay: bool) -> None:
    path = copy / "meta/episodes/chunk-000/file-000.parquet"
    edit_table(path, lambda table: pa.concat_tables([table.slice(0, 1), table.slice(2)]))
    if not rows_stay:
        edit_table(copy / DATA, lambda table: pa.concat_tables([table.slice(0, 11), table.slice(24)]))
    dataset, whole = LeRobotDataset(copy), LeRobotDataset(two_camera_dataset)
    assert [(e.index, e.length, e.offset) for e in dataset.episodes] == [(0, 11, 0), (2, 17, 11)]
    assert dataset.episode(2).length == 17
    assert dataset.has_gaps
    assert not whole.has_gaps
    for number in (0, 2):
        assert np.array_equal(dataset.actions(number), whole.actions(number))
        assert np.array_equal(dataset.frames(number), whole.frames(number))
    where = np.array([2, 0]), np.array([16, 3])
    assert np.array_equal(dataset.gather_frames(*where), whole.gather_frames(*where))
    with pytest.raises(ForeactError, match=r"no episode 1 \(it has 2, the last is 2\)"):
        dataset.episode(1)
    assert inspect_dataset(dataset).defects == ()


def test_a_number_that_occurs_twice(copy: Path) -> None:
    path = copy / "meta/episodes/chunk-000/file-000.parquet"
    edit_table(path, lambda table: pa.concat_tables([table, table.slice(1, 1)]))
    with pytest.raises(ForeactError, match="has episode 1 twice"):
        LeRobotDataset(copy)


def test_a_damaged_file_costs_its_own_episodes(tiny_dataset: Path, tmp_path: Path) -> None:
    root = make_v21(tiny_dataset, tmp_path / "v21")
    whole = LeRobotDataset(tiny_dataset)
    (root / "data/chunk-000/episode_000001.parquet").unlink()
    (root / "data/chunk-000/episode_000003.parquet").write_bytes(b"no parquet")
    dataset = LeRobotDataset(root)
    for number in (0, 2, 4, 5):
        assert np.array_equal(dataset.actions(number), whole.actions(number))
        assert dataset.missing_file(number) is None
    assert dataset.missing_file(1) == root / "data/chunk-000/episode_000001.parquet"
    with pytest.raises(ForeactError, match=r"episode_000001\.parquet is missing"):
        dataset.actions(1)
    with pytest.raises(ForeactError, match=r"episode_000003\.parquet is truncated"):
        dataset.actions(3)
    assert dataset.fingerprint() != LeRobotDataset(make_v21(tiny_dataset, tmp_path / "again")).fingerprint()
    broken = broken_episodes(dataset, dataset.episodes)
    assert broken.keys() == {1, 3}
    assert "episode_000001.parquet is missing" in broken[1]


def test_the_same_dataset_seen_by_another_camera(two_camera_dataset: Path) -> None:
    top = LeRobotDataset(two_camera_dataset)
    side = top.with_camera("side")
    assert (top.camera, side.camera) == ("observation.images.top", "observation.images.side")
    other = LeRobotDataset(two_camera_dataset, camera="side")
    assert side.fingerprint() == other.fingerprint() != top.fingerprint()
    assert np.array_equal(side.frames(1), other.frames(1))
    with pytest.raises(ForeactError, match="no camera 'back'"):
        top.with_camera("back")


def test_missing_column(copy: Path) -> None:
    edit_table(copy / DATA, lambda table: table.drop_columns(["action"]))
    dataset = LeRobotDataset(copy)
    assert dataset.column("observation.state", 0).shape == (11, 2)
    for read in (dataset.actions, dataset.has_actions):
        with pytest.raises(ForeactError, match=r"file-000\.parquet: column 'action' is missing"):
            read(0)
    with pytest.raises(ForeactError, match=r"has no column 'observation\.effort'"):
        dataset.column("observation.effort", 0)


def test_truncated_and_missing_data(copy: Path) -> None:
    content = (copy / DATA).read_bytes()
    (copy / DATA).write_bytes(content[: len(content) // 2])
    with pytest.raises(ForeactError, match="truncated or not a parquet file"):
        LeRobotDataset(copy).actions(0)
    (copy / DATA).unlink()
    with pytest.raises(ForeactError, match=r"file-000\.parquet is missing"):
        LeRobotDataset(copy).actions(0)


def test_rows_that_belong_to_another_episode(copy: Path) -> None:
    edit_table(copy / DATA, lambda table: table.slice(1))
    with pytest.raises(ForeactError, match=r"rows 0 to 10 should be the 11 frames of episode 0, but 10 are"):
        LeRobotDataset(copy).actions(0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_actions_that_are_not_finite(copy: Path, value: float) -> None:
    set_action(copy, 11 + 5, value)
    dataset = LeRobotDataset(copy)
    assert dataset.has_actions(1)
    assert np.isfinite(dataset.actions(0)).all()
    with pytest.raises(ForeactError, match=f"episode 1, row 5: action target_y is {value}"):
        dataset.actions(1)


def test_missing_and_truncated_video(copy: Path) -> None:
    path = copy / TOP.format(1)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ForeactError, match=r"episode 1: video .*top/chunk-000/file-001\.mp4 is truncated"):
        LeRobotDataset(copy).frames(1)
    path.unlink()
    with pytest.raises(ForeactError, match=r"episode 1: video .*top/chunk-000/file-001\.mp4 is missing"):
        LeRobotDataset(copy).frames(1)
    assert LeRobotDataset(copy).frames(2).shape == (17, 48, 64, 3)


def test_camera_shorter_than_the_episode(copy: Path) -> None:
    write_video(copy / TOP.format(1), np.zeros((12, 48, 64, 3), np.uint8), 10)
    dataset = LeRobotDataset(copy)
    assert dataset.frames(1, camera="side").shape[0] == 13
    with pytest.raises(ForeactError, match=r"episode 1: video .* has 12 frames, not frames 0 to 12"):
        dataset.frames(1)


def test_episodes_of_one_frame(make_dataset: Callable[..., Path]) -> None:
    dataset = LeRobotDataset(make_dataset(lengths=(1, 5, 1)))
    assert [dataset.frames(i).shape[0] for i in range(3)] == [1, 5, 1]
    assert dataset.actions(2).shape == (1, 2)


def test_dataset_without_video(copy: Path) -> None:
    info = json.loads((copy / "meta/info.json").read_text())
    edit_info(copy, features={k: v for k, v in info["features"].items() if "images" not in k})
    with pytest.raises(ForeactError, match="has no camera"):
        LeRobotDataset(copy)
