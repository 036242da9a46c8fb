from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreact.core.errors import ForeactError
from foreact.data import video as video_module
from foreact.data.rates import exact_rate
from foreact.data.video import Video, count_frames, read_video, write_video


def moving(length: int, height: int = 48, width: int = 64) -> np.ndarray:
    """Frames that are all different: the number of the frame is their grey level, with a bar that moves."""
    frames = np.empty((length, height, width, 3), np.uint8)
    for t, frame in enumerate(frames):
        frame[:] = 40 + 3 * (t % 60)
        frame[:, t % (width - 8) : t % (width - 8) + 8] = (220, 30, 30)
    return frames


def write_with(path: Path, frames: np.ndarray, codec: str, options: dict[str, str]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10, options=options)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_video(path, moving(53), 10)
    return path


def test_written_frames_come_back_within_the_codecs_error(clip: Path) -> None:
    frames = read_video(clip)
    assert frames.shape == (53, 48, 64, 3)
    assert frames.dtype == np.uint8
    assert np.abs(frames.astype(int) - moving(53)).mean() < 3
    assert count_frames(clip) == 53
    assert Video(clip).fps == pytest.approx(10)


def test_the_same_frames_are_the_same_bytes_whatever_memory_held_before(tmp_path: Path) -> None:
    """Token caches and splits are named by what is in the recordings; x264's lookahead gave 6 files of 10 writes."""
    frames = np.full((60, 96, 96, 3), 250, np.uint8)
    for t, frame in enumerate(frames):
        frame[20 + t // 2 : 50 + t // 2, 10 + t : 30 + t] = (120, 136, 153)
        frame[60:70, 70 - t : 80 - t] = (65, 105, 225)
    rng = np.random.default_rng(0)
    rubbish: list[np.ndarray] = []
    written = set()
    for _ in range(12):
        rubbish = [*rubbish[-15:], np.full(int(rng.integers(1000, 500_000)), int(rng.integers(256)), np.uint8)]
        write_video(tmp_path / "clip.mp4", frames, 10)
        written.add((tmp_path / "clip.mp4").read_bytes())
    assert len(written) == 1


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_any_range_equals_the_slice_of_the_whole(clip: Path, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, 52))
    count = data.draw(st.integers(1, 53 - start))
    assert np.array_equal(read_video(clip, start=start, count=count), read_video(clip)[start : start + count])


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libx264", {"g": "12", "bf": "2"}),
        ("libx264", {"g": "250", "bf": "3", "x264-params": "open-gop=1"}),
        ("libsvtav1", {"g": "2", "crf": "30", "preset": "12"}),
        ("libsvtav1", {"g": "30", "crf": "30", "preset": "12"}),
    ],
)
def test_every_frame_of_foreign_videos_is_found(tmp_path: Path, codec: str, options: dict[str, str]) -> None:
    frames = moving(37, 96, 128)
    write_with(tmp_path / "foreign.mp4", frames, codec, options)
    video = Video(tmp_path / "foreign.mp4")
    assert video.frame_count == 37
    whole = video.read()
    assert np.abs(whole.astype(int) - frames).mean() < 6
    for start in range(37):
        assert np.array_equal(video.read(start=start, count=1)[0], whole[start])
    numbers = np.random.default_rng(0).integers(37, size=50)
    assert np.array_equal(video.read_frames(numbers), whole[numbers])


def test_size_squashes_to_a_square(clip: Path) -> None:
    frames = read_video(clip, start=3, count=2, size=32)
    assert frames.shape == (2, 32, 32, 3)
    whole = read_video(clip, start=3, count=2).astype(float)
    pooled = whole.reshape(2, 48, 32, 2, 3).mean(3)
    assert abs(frames.mean() - pooled.mean()) < 3
    assert read_video(clip, count=1, size=96).shape == (1, 96, 96, 3)


def test_time_finds_the_frame(clip: Path) -> None:
    video = Video(clip)
    assert [video.frame_at(t) for t in (0.0, 0.1, 0.34, 5.2, 99.0)] == [0, 1, 3, 52, 52]


def test_one_frame(tmp_path: Path) -> None:
    write_video(tmp_path / "one.mp4", moving(1), 10)
    assert read_video(tmp_path / "one.mp4").shape == (1, 48, 64, 3)
    assert Video(tmp_path / "one.mp4").fps == 0.0


@pytest.mark.parametrize(("start", "count"), [(0, 54), (53, 1), (-1, 2), (5, 0)])
def test_frames_outside_the_file_are_refused(clip: Path, start: int, count: int) -> None:
    with pytest.raises(ForeactError, match="has 53 frames, not frames"):
        read_video(clip, start=start, count=count)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ForeactError, match=r"none\.mp4 is missing"):
        count_frames(tmp_path / "none.mp4")


def test_truncated_without_index(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.mp4").write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    with pytest.raises(ForeactError, match=r"cut\.mp4 is truncated"):
        read_video(tmp_path / "cut.mp4")


def test_truncated_behind_its_index_names_the_first_lost_frame(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "fast.mp4"), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=10, options={"g": "2"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for frame in np.random.default_rng(0).integers(0, 255, (53, 48, 64, 3), np.uint8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    data = (tmp_path / "fast.mp4").read_bytes()
    (tmp_path / "fast.mp4").write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(
        ForeactError, match=r"fast\.mp4 (is truncated or damaged: frame \d+ cannot|has \d+ frames, not)"
    ):
        read_video(tmp_path / "fast.mp4", start=0, count=53)


def test_not_a_video(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(ForeactError, match="truncated or not a video"):
        read_video(tmp_path / "text.mp4")


@pytest.mark.parametrize("shape", [(5, 48, 64), (5, 3, 48, 64), (0, 48, 64, 3), (5, 47, 64, 3)])
def test_frames_of_other_shapes_are_not_written(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ForeactError, match=r"bad\.mp4"):
        write_video(tmp_path / "bad.mp4", np.zeros(shape, np.uint8), 10)
    assert not list(tmp_path.iterdir())


def test_full_disk_leaves_no_trace_and_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "a.mp4", moving(3), 10)
    before = (tmp_path / "a.mp4").read_bytes()

    class FullDisk:
        def reformat(self, *_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(video_module, "VideoReformatter", FullDisk)
    with pytest.raises(ForeactError, match=r"cannot write .*a\.mp4: no space left"):
        write_video(tmp_path / "a.mp4", moving(5), 10)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_bytes() == before


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (10, Fraction(10)),
        (29.97, Fraction(30_000, 1001)),
        (30_000 / 1001, Fraction(30_000, 1001)),
        (59.94, Fraction(60_000, 1001)),
        (23.976, Fraction(24_000, 1001)),
        (23.98, Fraction(1199, 50)),
        (12.5, Fraction(25, 2)),
        (0.5, Fraction(1, 2)),
    ],
)
def test_rates_are_exact(written: float, meant: Fraction, tmp_path: Path) -> None:
    assert exact_rate(written) == meant
    write_video(tmp_path / "video.mp4", np.zeros((31, 32, 32, 3), np.uint8), written)
    assert Video(tmp_path / "video.mp4").fps == pytest.approx(float(meant), rel=1e-6)
