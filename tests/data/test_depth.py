"""Cameras of depth are not offered as cameras, wherever they say what they are."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from edited_data import DATA, edit_feature, set_column
from PIL import Image

from foreact.core.errors import ForeactError
from foreact.data.inspect import inspect_dataset
from foreact.data.lerobot import LeRobotDataset

TOP, SIDE = "observation.images.top", "observation.images.side"
MARKS: dict[str, dict[str, Any]] = {
    "in info, under the old name": {"info": {"video.is_depth_map": True}},
    "in info, under the new name": {"info": {"is_depth_map": True}},
    "in video_info": {"info": None, "video_info": {"video.is_depth_map": True}},
    "in video_info, under the new name": {"info": {}, "video_info": {"is_depth_map": True}},
}


def store_pictures(root: Path, camera: str, picture: np.ndarray) -> None:
    """One picture in every row, instead of the camera's video."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="TIFF" if picture.dtype == np.float32 else "PNG")
    rows = [{"bytes": buffer.getvalue(), "path": None}] * 41
    set_column(root / DATA, camera, pa.array(rows, pa.struct([("bytes", pa.binary()), ("path", pa.string())])))
    edit_feature(root, camera, {"dtype": "image"})


def expect_no_camera_but_side(root: Path) -> None:
    dataset = LeRobotDataset(root)
    assert (dataset.camera, dataset.cameras, dataset.depth_maps) == (SIDE, (SIDE,), (TOP,))
    for name in (TOP, "top"):
        with pytest.raises(ForeactError, match=rf"no camera '{name}' of colour, only of depth \({TOP}\); it has"):
            LeRobotDataset(root, camera=name)
    with pytest.raises(ForeactError, match="has no column"):
        dataset.column(TOP, 0)
    inspection = inspect_dataset(dataset)
    assert inspection.unread == {TOP: "depth"}
    assert inspection.defects == ()


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("stored", [False, True])
def test_a_mark_of_depth_is_seen_wherever_it_is(mark: str, stored: bool, copy: Path) -> None:
    if stored:
        store_pictures(copy, TOP, np.zeros((48, 64), np.uint8))
    edit_feature(copy, TOP, MARKS[mark])
    expect_no_camera_but_side(copy)


@pytest.mark.parametrize("picture", [np.uint16, np.float32])
def test_pictures_of_more_than_eight_bits_are_depth_without_any_mark(picture: type, copy: Path) -> None:
    store_pictures(copy, TOP, np.arange(48 * 64).reshape(48, 64).astype(picture))
    expect_no_camera_but_side(copy)


def test_grey_pictures_are_a_camera(copy: Path) -> None:
    store_pictures(copy, TOP, np.full((48, 64), 77, np.uint8))
    dataset = LeRobotDataset(copy)
    assert dataset.cameras == (SIDE, TOP)
    assert (dataset.frames(1, camera="top", count=2) == 77).all()


def test_a_dataset_of_depth_alone_says_so(copy: Path) -> None:
    for camera in (TOP, SIDE):
        edit_feature(copy, camera, MARKS["in info, under the new name"])
    with pytest.raises(ForeactError, match=r"no camera of colour, only \['observation.images.top', .*\] of depth"):
        LeRobotDataset(copy)


def test_depth_among_pictures_in_colour_is_no_white_picture(copy: Path) -> None:
    store_pictures(copy, TOP, np.full((48, 64), 5000, np.uint16))
    deep = pq.read_table(copy / DATA).column(TOP).to_pylist()[0]
    store_pictures(copy, TOP, np.full((48, 64, 3), 9, np.uint8))
    rows = pq.read_table(copy / DATA).column(TOP).to_pylist()
    rows[12] = deep
    set_column(copy / DATA, TOP, rows)
    dataset = LeRobotDataset(copy, camera="top")
    assert dataset.frames(0).shape == (11, 48, 64, 3)
    with pytest.raises(ForeactError, match="row 12 holds depth, not a picture in colour"):
        dataset.frames(1)
