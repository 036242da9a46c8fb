"""Datasets of strangers: names of files that lead elsewhere, sizes that nobody means, JSON that is none."""

import json
import shutil

import pytest

from foreact.core.errors import ForeactError
from foreact.data.lerobot import LeRobotDataset
from foreact.data.templates import fill

VALUES = {"video_key": "observation.images.top", "chunk_index": 0, "file_index": 12}


@pytest.fixture(scope="module")
def dataset(make_dataset):
    return make_dataset(lengths=(5, 7))


@pytest.fixture
def opened(dataset, tmp_path):
    """`opened(change)`: a copy of a dataset with another info.json."""

    def change_and_open(change):
        copy = tmp_path / "data"
        shutil.copytree(dataset, copy)
        info = json.loads((copy / "meta/info.json").read_text())
        change(info)
        (copy / "meta/info.json").write_text(json.dumps(info))
        return LeRobotDataset(copy)

    return change_and_open


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet", "data/chunk-000/file-012.parquet"),
        ("{video_key}/{file_index}.mp4", "observation.images.top/12.mp4"),
        ("{file_index:6d}", "000012"),
    ],
)
def test_plain_fields_are_filled(template, path):
    assert fill(template, "info.json", **VALUES) == path


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{x}", "field {x}, which is none of"),
        ("{chunk_index.nope}", "is no name of files"),
        ("{chunk_index[0]}", "is no name of files"),
        ("{}", "is no name of files"),
        ("{chunk_index", "is no name of files"),
        ("{chunk_index!r}", "is no name of files"),
        ("{file_index:0999999999d}", "is no name of files"),
        ("{video_key:>999999999}", "is no name of files"),
        ("{video_key:03d}", "none of"),
        ("/etc/{file_index}", "not in the dataset"),
        ("../{file_index}", "not in the dataset"),
        ("a/../../{file_index}", "not in the dataset"),
        (r"..\{file_index}", "not in the dataset"),
        ("C:/{file_index}", "not in the dataset"),
        ("a\0{file_index}", "not in the dataset"),
        (".", "not in the dataset"),
        ("", "is no name of files"),
    ],
)
def test_other_templates_are_refused(template, said, opened):
    with pytest.raises(ForeactError, match=rf"info\.json: .*{said}"):
        opened(lambda info: info.update(data_path=template)).episodes  # noqa: B018


def test_a_value_leads_nowhere_else():
    with pytest.raises(ForeactError, match="is no name of files"):
        fill(None, "info.json", **VALUES)
    with pytest.raises(ForeactError, match="not in the dataset"):
        fill("videos/{video_key}/{file_index}.mp4", "info.json", **VALUES | {"video_key": "../../.."})


def test_links_such_as_those_of_the_hubs_cache_are_followed(dataset, tmp_path):
    """Snapshots there hold links to files elsewhere."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    shutil.copytree(dataset, blobs)
    for path in blobs.rglob("*"):
        there = snapshot / path.relative_to(blobs)
        if path.is_dir():
            there.mkdir(parents=True)
        else:
            there.parent.mkdir(parents=True, exist_ok=True)
            there.symlink_to(path)
    assert LeRobotDataset(snapshot).frames(1).shape == (7, 48, 64, 3)


def feature(**about):
    return lambda info: info["features"]["action"].update(about)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (feature(shape=["2", "3"]), "the shape of 'action' is .*, not a list of sizes"),
        (feature(shape=[-2]), "the shape of 'action'"),
        (feature(shape=[10**18]), "the shape of 'action'"),
        (feature(shape=[1 << 20, 1 << 20]), "the shape of 'action'"),
        (feature(shape=None), "the shape of 'action'"),
        (feature(shape="ab"), "the shape of 'action'"),
        (feature(names=7), "names or info of action"),
        (feature(info=[1]), "names or info of action"),
        (lambda info: info.update(chunks_size=0), "chunks_size must be a positive number"),
        (lambda info: info.update(features=[1]), "cannot be read"),
        (lambda info: info.update(fps=1e400), "cannot be read"),
    ],
)
def test_sizes_that_nobody_means_are_refused(change, said, opened):
    with pytest.raises(ForeactError, match=rf"info\.json.*{said}"):
        opened(change)


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff\xfe{}", b'{"a":' * 100_000, b"NaN", b""])
@pytest.mark.parametrize("name", ["meta/info.json", "meta/episodes.jsonl"])
def test_json_that_is_none_is_named(content, name, tmp_path):
    (tmp_path / "meta").mkdir()
    info = {"codebase_version": "v2.1", "fps": 5, "features": {"top": {"dtype": "video", "shape": [4, 4, 3]}}}
    info |= {"data_path": "a/{episode_index}", "video_path": "b/{episode_index}"}
    (tmp_path / "meta/info.json").write_text(json.dumps(info))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ForeactError, match=rf"{name}|holds no episodes|metadata"):
        LeRobotDataset(tmp_path)


@pytest.mark.parametrize(
    "row",
    [{"length": -5}, {"length": None}, {"length": "7"}, {"length": 10**30}, {"episode_index": -1}, {"episode_index": [1]},
     {"tasks": {}}, {"length": 1.5}],
)  # fmt: skip
def test_episodes_that_cannot_be_are_refused(row, tmp_path):
    test = {"episode_index": 0, "length": 5, "tasks": ["push"]} | row
    (tmp_path / "meta").mkdir()
    info = {"codebase_version": "v2.1", "fps": 5, "features": {"top": {"dtype": "video", "shape": [4, 4, 3]}}}
    info |= {"data_path": "a/{episode_index}", "video_path": "b/{episode_index}"}
    (tmp_path / "meta/info.json").write_text(json.dumps(info))
    (tmp_path / "meta/episodes.jsonl").write_text(json.dumps(test))
    if row == {"tasks": {}}:  # read as the empty text that it is
        assert len(LeRobotDataset(tmp_path).episodes) == 1
        return
    with pytest.raises(ForeactError, match=r"metadata|episodes\.jsonl"):
        LeRobotDataset(tmp_path)
