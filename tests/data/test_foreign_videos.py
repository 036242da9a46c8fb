"""Videos as phones, webcams and other programs leave them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from foreact.core.errors import ForeactError
from foreact.data.video import Video, write_video

LENGTH = 37


def moving(length: int = LENGTH) -> np.ndarray:
    """Frames whose brightness tells their number, with a white corner at the top left."""
    frames = np.repeat((40 + 4 * np.arange(length, dtype=np.uint8))[:, None, None, None], 48, 1)
    frames = np.broadcast_to(frames, (length, 48, 64, 3)).copy()
    frames[:, :12, :12] = 255
    return frames


def write_foreign(
    path: Path,
    codec: str,
    *,
    prepare: Callable[[av.VideoStream], object] = lambda stream: None,
    times: np.ndarray | None = None,
    muxing: dict[str, str] | None = None,
    pix_fmt: str = "yuv420p",
    **options: str,
) -> Path:
    """`moving` at 10 frames per second, or at `times`, in tenths of a second."""
    with av.open(str(path), "w", options=muxing or {}) as container:
        stream = container.add_stream(codec, rate=10, options=options)
        stream.height, stream.width, stream.pix_fmt = 48, 64, pix_fmt
        prepare(stream)
        for number, frame in enumerate(moving()):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts = number if times is None else int(times[number])
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def cut(path: Path, share: float) -> Path:
    """The file with its end missing."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def remux_from(source: Path, out: Path, first: int) -> Path:
    """The file from frame `first` on without encoding it anew, as `ffmpeg -ss -c copy` does: what lies before stays in it, hidden."""
    with av.open(str(source)) as reading, av.open(str(out), "w") as writing:
        stream = reading.streams.video[0]
        copied, shift = writing.add_stream_from_template(stream), round(first / 10 / stream.time_base)
        for packet in reading.demux(stream):
            if packet.dts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, copied
                writing.mux(packet)
    return out


@pytest.mark.parametrize(
    ("name", "codec", "options", "fps"),
    [
        ("raw.h264", "libx264", {"g": "12", "bf": "2"}, 0.0),
        ("raw.mjpeg", "mjpeg", {"pix_fmt": "yuvj420p"}, 0.0),
        ("webcam.avi", "mjpeg", {"pix_fmt": "yuvj420p"}, 10.0),
        ("b_frames.avi", "libx264", {"g": "12", "bf": "2"}, 10.0),
        ("b_frames.mkv", "libx264", {"g": "12", "bf": "2"}, 10.0),
        ("camera.ts", "libx264", {"g": "12", "bf": "2"}, 10.0),
        ("screen.webm", "libvpx-vp9", {}, 10.0),
    ],
)
def test_containers_with_and_without_times(
    tmp_path: Path, name: str, codec: str, options: dict[str, str], fps: float
) -> None:
    video = Video(write_foreign(tmp_path / name, codec, **options))
    whole = video.read()
    assert np.abs(whole.astype(int) - moving()).mean() < 6
    assert video.fps == pytest.approx(fps)
    numbers = np.array([30, 3, 4, 17, 3, 36])
    assert np.array_equal(video.read_frames(numbers), whole[numbers])


@pytest.mark.parametrize("first", [9, 12, 20])
def test_frames_behind_a_hidden_key_frame_are_read(tmp_path: Path, first: int) -> None:
    source = write_foreign(tmp_path / "whole.mp4", "libx264", g="12", bf="2")
    video = Video(remux_from(source, tmp_path / "cut.mp4", first))
    assert video.frame_count == LENGTH - first
    assert np.abs(video.read().astype(int) - moving()[first:]).mean() < 6
    assert np.array_equal(video.read(start=1, count=1)[0], video.read()[1])
    assert video.damage == ""


@pytest.mark.parametrize(
    ("matrix", "upright"),
    [
        ((0, -1, 1, 0), lambda frames: np.rot90(frames, 1, (1, 2))),
        ((-1, 0, 0, -1), lambda frames: np.rot90(frames, 2, (1, 2))),
        ((0, 1, -1, 0), lambda frames: np.rot90(frames, -1, (1, 2))),
        ((-1, 0, 0, 1), lambda frames: frames[:, :, ::-1]),
        ((0, 1, 1, 0), lambda frames: frames.swapaxes(1, 2)),
    ],
)
def test_pictures_are_turned_upright(
    tmp_path: Path, matrix: tuple[int, ...], upright: Callable[[np.ndarray], np.ndarray]
) -> None:
    a, b, c, d = (entry << 16 for entry in matrix)
    turn = [a, b, 0, c, d, 0, 0, 0, 1 << 30]
    video = Video(write_foreign(tmp_path / "phone.mp4", "libx264", prepare=lambda s: s.set_display_matrix(turn)))
    expected = upright(moving())
    assert video.shape == expected.shape[1:3]
    assert np.abs(video.read().astype(int) - expected).mean() < 6
    height, width = video.shape
    assert np.abs(video.read(size=(height // 2, width // 2)).astype(int) - expected[:, ::2, ::2]).mean() < 8


def test_a_slanted_picture_is_refused(tmp_path: Path) -> None:
    path = write_foreign(tmp_path / "slanted.mp4", "libx264", prepare=lambda s: s.set_display_rotation(45))
    with pytest.raises(ForeactError, match=r"slanted\.mp4 is to be turned by an angle that is not a right one"):
        Video(path).read()


@pytest.mark.parametrize(
    ("name", "codec", "muxing", "said"),
    [
        ("fast.mp4", "libx264", {"movflags": "faststart"}, "1 of its frames is not whole"),
        ("webcam.avi", "mpeg4", {}, "1 of its frames is not whole"),
        ("screen.mkv", "libx264", {}, r"it ends after \d\.\d of 3\.7 s"),
    ],
)
def test_the_missing_end_of_a_file_is_seen(
    tmp_path: Path, name: str, codec: str, muxing: dict[str, str], said: str
) -> None:
    path = write_foreign(tmp_path / name, codec, muxing=muxing, g="4")
    assert Video(path).damage == ""
    assert Video(cut(path, 0.8)).frame_count < LENGTH
    assert re.fullmatch(said, Video(path).damage)


def test_sound_alone_is_named(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "talk.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(ForeactError, match=r"talk\.mp4 holds no pictures, only audio"):
        Video(tmp_path / "talk.mp4").read()


def test_an_empty_beginning_is_called_damage(tmp_path: Path) -> None:
    path = write_foreign(tmp_path / "fast.mp4", "libx264", muxing={"movflags": "faststart"})
    cut(path, 0.25)
    with pytest.raises(ForeactError, match=r"fast\.mp4 (holds no frames|is truncated)"):
        Video(path).read()


def test_distant_frames_are_read_without_decoding_between_key_frames_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every third frame of a video with one key frame was decoded from that key frame again for each."""
    from foreact.data import video as video_module

    path, decoded = write_foreign(tmp_path / "long.mp4", "libx264", g="250"), []
    timed = video_module._timed
    monkeypatch.setattr(
        video_module, "_timed", lambda pictures, index: timed((decoded.append(1) or p for p in pictures), index)
    )
    assert len(Video(path).read_frames(np.arange(0, LENGTH, 3))) == 13
    assert len(decoded) <= LENGTH
    write_video(tmp_path / "short.mp4", moving(), 10)
    decoded.clear()
    Video(tmp_path / "short.mp4").read_frames(np.array([0, 30]))
    assert len(decoded) <= 4
