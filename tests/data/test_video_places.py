"""Episodes that share a video file: their frames are their own, or there is an error, whatever the metadata says."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from edited_data import EPISODES, join_videos, set_column

from foreact.core.errors import ForeactError
from foreact.data.inspect import inspect_dataset
from foreact.data.lerobot import LeRobotDataset
from foreact.data.video import Video
from foreact.data.video_places import Span, find_places

FIRST = {0: 0, 1: 11, 2: 24}
LENGTHS = {0: 11, 1: 13, 2: 17}
TOP = "observation.images.top"
FILE = f"videos/{TOP}/chunk-000/file-000.mp4"
EVEN = tuple(range(41))
HOLE = tuple(n for n in EVEN if n != 15)


def film(path: Path, numbers: Sequence[int], times: Sequence[int]) -> None:
    """A video whose frames are grey by their number, shown at times in tenths of a second."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=10, options={"crf": "1", "g": "2"})
        stream.width, stream.height = 64, 48
        for number, time in zip(numbers, times, strict=True):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 6 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def numbers_of(dataset: LeRobotDataset, episode: int) -> list[int]:
    return np.rint(dataset.frames(episode).mean(axis=(1, 2, 3)) / 6).astype(int).tolist()


def shift(root: Path, moved: Mapping[int, float]) -> None:
    for end in ("from_timestamp", "to_timestamp"):
        key = f"videos/{TOP}/{end}"
        seconds = pq.read_table(root / EPISODES).column(key).to_pylist()
        set_column(root / EPISODES, key, [s + moved.get(e, 0.0) for e, s in enumerate(seconds)])


NOTHING: dict[int, str] = {}
BETWEEN, OVERLAP = "between two frames", "frames before episode 0 ends"
CASES = {
    "as it should be": ({}, EVEN, EVEN, NOTHING, ()),
    "one start late": ({1: 0.06}, EVEN, EVEN, NOTHING, ("episode 1: .* at 1.16 s .* 0.60 frames after",)),
    "one start early": ({1: -0.06}, EVEN, EVEN, NOTHING, ("episode 1: .* at 1.04 s .* 0.60 frames before",)),
    "all later starts late": ({1: 0.06, 2: 0.06}, EVEN, EVEN, NOTHING, ("episode 1: .*0.60", "episode 2: .*0.60")),
    "beyond doubt": ({2: 0.16}, EVEN, EVEN, {2: BETWEEN}, (BETWEEN,)),
    "merged badly": ({1: -0.3}, EVEN, EVEN, {0: OVERLAP, 1: OVERLAP}, (OVERLAP,)),
    "a whole frame late": ({2: 0.1}, EVEN, EVEN, {2: "has 41 frames, not frames 25 to 41"}, ("has 41 frames, not",)),
    "idle frames between": (
        {1: 0.2, 2: 0.2}, (*range(11), 42, 42, *range(11, 41)), range(43), NOTHING, ("43 frames, but there are 41 rows",)
    ),
    "a frame is missing, in its time": (
        {}, HOLE, HOLE, {1: "12 frames in the time of the 13 of episode 1"},
        ("12 frames in the time", "episode 1: .* lacks frames from row 4 on", "40 frames, but there are 41 rows"),
    ),
    "a frame is missing, and nothing shows where": (
        {}, HOLE, range(40), dict.fromkeys(FIRST, "40 frames for the 41 rows of the episodes 0 to 2: where frames are missing"),
        ("where frames are missing", "40 frames, but there are 41 rows"),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def joined(make_dataset, tmp_path_factory) -> Path:
    root = make_dataset(lengths=tuple(LENGTHS.values()))
    join_videos(root)
    return root


@pytest.mark.parametrize("case", CASES)
def test_frames_are_those_of_the_episode_or_an_error_says_why(case: str, joined: Path, tmp_path: Path) -> None:
    moved, shown, times, errors, found = CASES[case]
    root = Path(shutil.copytree(joined, tmp_path / "data"))
    film(root / FILE, shown, list(times))
    shift(root, moved)
    dataset = LeRobotDataset(root)
    for episode, first in FIRST.items():
        at = np.array([episode]), np.array([3])
        if episode in errors:
            with pytest.raises(ForeactError, match=errors[episode]):
                dataset.frames(episode)
            continue
        assert numbers_of(dataset, episode) == list(range(first, first + LENGTHS[episode]))
        assert round(dataset.gather_frames(*at).mean() / 6) == first + 3
    said = "\n".join(d for d in inspect_dataset(dataset).defects if "no motion" not in d)
    assert bool(said) == bool(found)
    for words in found:
        assert re.search(words, said), said


class Filmed(Video):
    """Frames at times that nobody has to film."""

    def __init__(self, ticks: np.ndarray, seconds: float):
        super().__init__("filmed.mp4")
        self.__dict__["_index"] = type(
            "Index", (), {"shown": ticks, "keys": ticks, "seconds": seconds, "shape": (1, 1)}
        )


@pytest.mark.parametrize(("written", "meant"), [(29.97, 30_000), (59.94, 60_000), (23.976, 24_000)])
def test_an_hour_at_a_rate_of_broadcasting_does_not_drift(written: float, meant: int) -> None:
    count = 3600 * meant // 1001 // 500 * 500
    video = Filmed(np.arange(count) * 1001, 1 / meant)
    spans = [Span(index=k, length=500, begin=k * 500 / written) for k in range(count // 500)]
    places = find_places(video, spans, meant / 1001)
    assert dict(places.first) == {k: 500 * k for k in range(len(spans))}
    assert not places.wrong
    assert not places.off


def test_a_film_of_another_rate_is_not_read_by_seconds_that_are_not_its_own() -> None:
    video = Filmed(np.arange(600), 1 / 9.8)
    own = [Span(index=k, length=100, begin=k * 100 / 9.8) for k in range(6)]
    assert dict(find_places(video, own, 10).first) == {k: 100 * k for k in range(6)}
    others = find_places(video, [Span(index=k, length=100, begin=k * 10.0) for k in range(6)], 10)
    assert len(others.wrong) == 6
