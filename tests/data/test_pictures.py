"""Cameras stored as pictures in parquet, as LeRobot writes them without videos."""

import io
import json
import shutil
import struct
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from foreact.core.errors import ForeactError
from foreact.data.inspect import inspect_dataset
from foreact.data.lerobot import LeRobotDataset

TOP = "observation.images.top"


def png(frame):
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, format="PNG")
    return buffer.getvalue()


def store(root, table, contents):
    rows = [{"bytes": content, "path": f"frame-{k:06d}.png"} for k, content in enumerate(contents)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    kept = table.drop_columns([TOP]) if TOP in table.column_names else table
    pq.write_table(
        kept.append_column(TOP, pa.array(rows, kind)), root / "data/chunk-000/file-000.parquet", row_group_size=60
    )


@pytest.fixture
def stored(tiny_dataset, tmp_path):
    """The tiny dataset with PNGs in the table, in several row groups, and no videos; the frames it must show."""
    root = shutil.copytree(tiny_dataset, tmp_path / "stored")
    filmed = LeRobotDataset(root)
    frames = [filmed.frames(episode.index) for episode in filmed.episodes]
    table = pq.read_table(root / "data/chunk-000/file-000.parquet")
    store(root, table, [png(frame) for episode in frames for frame in episode])
    shutil.rmtree(root / "videos")
    info = json.loads((root / "meta/info.json").read_text())
    info["features"][TOP]["dtype"] = "image"
    (root / "meta/info.json").write_text(json.dumps(info))
    return root, frames


def test_frames_are_the_stored_bits_wherever_they_lie(stored):
    root, frames = stored
    dataset = LeRobotDataset(root)
    assert dataset.camera == TOP
    for episode, expected in enumerate(frames):
        np.testing.assert_array_equal(dataset.frames(episode), expected)
    np.testing.assert_array_equal(dataset.frames(3, start=5, count=2), frames[3][5:7])
    episodes, indices = np.array([4, 0, 4, 2]), np.array([52, 3, 0, 7])
    expected = np.stack([frames[e][i] for e, i in zip(episodes, indices)])
    np.testing.assert_array_equal(dataset.gather_frames(episodes, indices), expected)
    assert dataset.frames(1, count=3, size=24).shape == (3, 24, 24, 3)
    with pytest.raises(ForeactError, match="no frame 37"):
        dataset.gather_frames(np.array([0]), np.array([37]))


def test_inspection_finds_nothing_wrong_and_the_fingerprint_follows_the_pictures(stored):
    root, frames = stored
    assert not [d for d in inspect_dataset(LeRobotDataset(root)).defects if TOP in d]
    before = LeRobotDataset(root).fingerprint()
    other = [png(255 - frame) for episode in frames for frame in episode]
    store(root, pq.read_table(root / "data/chunk-000/file-000.parquet"), other)
    assert LeRobotDataset(root).fingerprint() != before


@pytest.mark.parametrize(
    ("content", "message"), [(None, "row 40 holds no picture"), (b"not a picture", "row 40 is damaged")]
)
def test_a_missing_or_damaged_picture_is_named(stored, content, message):
    root, frames = stored
    contents = [png(frame) for episode in frames for frame in episode]
    contents[40] = content
    store(root, pq.read_table(root / "data/chunk-000/file-000.parquet"), contents)
    dataset = LeRobotDataset(root)
    with pytest.raises(ForeactError, match=message):
        dataset.frames(1)
    np.testing.assert_array_equal(dataset.frames(0), frames[0])


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((48, 32), "is 48 x 32, info.json says 48 x 64"),
        ((9000, 9000), "is 9000 x 9000"),
        ((60_000, 60_000), "is no camera's"),
    ],
)
def test_the_size_of_a_picture_is_seen_before_it_is_decoded(stored, size, message):
    root, frames = stored
    contents = [png(frame) for episode in frames for frame in episode]
    contents[40] = announcing(contents[40], *size)
    store(root, pq.read_table(root / "data/chunk-000/file-000.parquet"), contents)
    dataset = LeRobotDataset(root)
    with pytest.raises(ForeactError, match=f"row 40 {message}"):
        dataset.frames(1)
    np.testing.assert_array_equal(dataset.frames(0), frames[0])


def announcing(content, height, width):
    """A PNG whose header says another size than its pixels have, as a bomb's does."""
    header = b"IHDR" + struct.pack(">II", width, height) + content[24:29]
    return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]
