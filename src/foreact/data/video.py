"""Video files: written with short groups of pictures, read by frame number."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from foreact.core.errors import ForeactError
from foreact.data.rates import exact_rate
from foreact.data.video_index import VideoIndex, read_index, reason

# Waking threads for one small picture takes longer than scaling it. Older PyAV has no such option.
_ONE_THREAD: dict[str, Any] = {"threads": 1} if "threads" in (VideoReformatter.reformat.__doc__ or "") else {}


class Video:
    """A video file that is read by frame number.

    The presentation times of all frames are read once, without decoding, and kept: so frame k is the k-th picture shown,
    whatever the container says about its frame rate, and every read starts at the key frame before it. No file stays open.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def __str__(self) -> str:
        return f"video {self.path}"

    @cached_property
    def _index(self) -> VideoIndex:
        return read_index(self.path)

    @property
    def frame_count(self) -> int:
        """Frames listed in the file (that they can be decoded is seen when they are read)."""
        return len(self._index.shown)

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Height and width of the first picture, as it is shown."""
        height, width = self.read(count=1).shape[1:3]
        return height, width

    @cached_property
    def times(self) -> np.ndarray:
        """When each frame is shown, in seconds from the first (T,); all zero where the file does not say."""
        shown, seconds = self._index.shown, self._index.seconds
        return (shown - shown[0]) * seconds

    @property
    def fps(self) -> float:
        """Mean frames per second; 0.0 for a single frame, and where the file does not say."""
        duration = float(self.times[-1])
        return (self.frame_count - 1) / duration if duration else 0.0

    @property
    def damage(self) -> str:
        """What tells that the file is damaged or cut short; empty if nothing does."""
        return self._index.damage

    def frame_at(self, timestamp: float) -> int:
        """Number of the frame shown nearest to `timestamp`, in seconds from the first frame."""
        after = int(np.searchsorted(self.times, timestamp))
        near = range(max(after - 1, 0), min(after + 1, self.frame_count))
        return min(near, key=lambda number: abs(self.time_of(number) - timestamp))

    def time_of(self, frame: int) -> float:
        """Seconds from the first frame at which a frame is shown; beyond the last one, as the mean rate has it."""
        last = min(frame, self.frame_count - 1)
        beyond = (frame - last) / self.fps if frame > last and self.fps else 0.0
        return float(self.times[last]) + beyond

    def first_gap(self, fps: float, start: int = 0, end: int | None = None) -> int | None:
        """Number of the first frame (of start .. end - 1) after which, by the times at a rate, frames are missing; None if none."""
        apart = np.diff(self.times[start:end]) * fps
        return next((start + int(place) for place in np.flatnonzero(apart > 1.5)), None)

    def read(
        self, *, start: int = 0, count: int | None = None, size: int | tuple[int, int] | None = None
    ) -> np.ndarray:
        """Frames start .. start + count - 1, uint8 (T, height, width, 3).

        Args:
            start: number of the first frame.
            count: frames to read; to the end if None.
            size: squash each frame to size x size pixels, or to (height, width); as stored if None.

        Raises:
            ForeactError: the file is missing, damaged or has fewer frames.
        """
        count = self.frame_count - start if count is None else count
        self._require(start, start + count - 1)
        return self.read_frames(np.arange(start, start + count), size=size)

    def read_frames(self, numbers: np.ndarray, *, size: int | tuple[int, int] | None = None) -> np.ndarray:
        """Frames of any numbers, in their order, repeated ones too: uint8 (B, height, width, 3).

        Args:
            numbers: of the frames, (B,), at least one.
            size: as in `read`.

        Raises:
            ForeactError: the file is missing, damaged or has fewer frames.
        """
        size = (size, size) if isinstance(size, int) else size
        unique, inverse = np.unique(numbers, return_inverse=True)
        self._require(int(unique[0]), int(unique[-1]))
        frames: list[np.ndarray] = []
        try:
            self._decode(unique, size, frames)
        except (av.FFmpegError, OSError) as error:
            raise self._damaged(int(unique[len(frames)]), reason(error)) from error
        if len(frames) < len(unique):
            raise self._damaged(int(unique[len(frames)]), "end of data")
        stacked = np.stack(frames)
        return stacked if np.array_equal(unique, numbers) else stacked[inverse]

    def _require(self, first: int, last: int) -> None:
        if first < 0 or last < first or last >= self.frame_count:
            raise ForeactError(f"{self} has {self.frame_count} frames, not frames {first} to {last}")

    def _decode(self, numbers: np.ndarray, size: tuple[int, int] | None, frames: list[np.ndarray]) -> None:
        """Append the frames of the rising `numbers`; stops early where one cannot be decoded."""
        index = self._index
        reformat = VideoReformatter()
        with av.open(str(self.path)) as container:
            stream = container.streams.video[0]
            if numbers[-1] - numbers[0] == len(numbers) - 1 > 32:
                stream.thread_type = "AUTO"
            else:  # Several threads work ahead, on frames that the next seek throws away.
                stream.codec_context.thread_count = 1
            pictures = _timed(container.decode(stream), index)
            previous = None
            for number in numbers:
                wanted = index.shown[number]
                key = index.keys[max(np.searchsorted(index.keys, wanted, side="right") - 1, 0)]
                follows = previous is not None and (number - 1 == previous or key <= index.shown[previous])
                if index.seekable and not follows:
                    container.seek(int(key), stream=stream)
                    pictures = _timed(container.decode(stream), index)
                time, picture = next((found for found in pictures if found[0] >= wanted), (None, None))
                if picture is None or time != wanted:
                    return
                frames.append(self._upright(picture, size, reformat))
                previous = number

    def _upright(self, frame: av.VideoFrame, size: tuple[int, int] | None, reformat: VideoReformatter) -> np.ndarray:
        """A frame as it is shown, uint8 (height, width, 3): phones store theirs lying on a side, with a matrix that says so."""
        beside: Any = frame.side_data
        stored = next((data for data in beside if data.type.name == "DISPLAYMATRIX"), None)
        # New column and row from the stored ones, times 65536.
        a, b, _, c, d = struct.unpack("=5i", bytes(stored)[:20]) if stored is not None else (1, 0, 0, 0, 1)
        if (a or d) and (b or c):
            raise ForeactError(f"{self} is to be turned by an angle that is not a right one: turn it upright first")
        shape = size or ((frame.width, frame.height) if b else (frame.height, frame.width))
        picture = _scaled(frame, shape[::-1] if b else shape, reformat)
        picture = picture.swapaxes(0, 1) if b else picture
        return picture[:: -1 if b + d < 0 else 1, :: -1 if a + c < 0 else 1]

    def _damaged(self, frame: int, reason: str) -> ForeactError:
        return ForeactError(f"video {self.path} is truncated or damaged: frame {frame} cannot be decoded ({reason})")


def read_video(path: str | Path, *, start: int = 0, count: int | None = None, size: int | None = None) -> np.ndarray:
    """Frames of a video file, uint8 (T, height, width, 3); see `Video.read`."""
    return Video(path).read(start=start, count=count, size=size)


def count_frames(path: str | Path) -> int:
    """Number of frames in a video file.

    Raises:
        ForeactError: the file is missing or not a readable video.
    """
    return Video(path).frame_count


def write_video(
    path: str | Path, frames_THWC: np.ndarray, fps: float, *, codec: str = "libx264", crf: int = 20, gop: int = 2
) -> None:
    """Write frames to an mp4 file that is quick to read at random places; the file appears whole or not at all.

    Args:
        path: the file; its folder must exist.
        frames_THWC: uint8 (T, height, width, 3), height and width even.
        fps: frames per second.
        codec: an encoder of FFmpeg.
        crf: constant quality, lower is better.
        gop: frames from one key frame to the next.

    Raises:
        ForeactError: frames of another shape or type; the disk is full or not writable.
    """
    path = Path(path)
    if frames_THWC.ndim != 4 or frames_THWC.shape[-1] != 3 or frames_THWC.dtype != np.uint8 or not len(frames_THWC):
        raise ForeactError(
            f"{path}: frames must be uint8 (T, height, width, 3), not {frames_THWC.dtype} {frames_THWC.shape}"
        )
    height, width = frames_THWC.shape[1:3]
    if height % 2 or width % 2:
        raise ForeactError(
            f"{path}: H.264 needs an even height and width, not {height} x {width}: crop or pad by one pixel"
        )
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    # One thread, so that the bytes do not depend on the machine's number of cores; no lookahead, whose choices depend on
    # what lay in memory beside small frames, and which has nothing to gain between key frames this near.
    options = {"crf": str(crf), "g": str(gop), "preset": "veryfast", "threads": "1", "rc-lookahead": "0"}
    try:
        with av.open(str(temporary), "w", format="mp4") as container:
            stream: Any = container.add_stream(codec, rate=exact_rate(fps), options=options)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            reformat = VideoReformatter()
            for picture in frames_THWC:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
                container.mux(stream.encode(reformat.reformat(frame, format="yuv420p", **_ONE_THREAD)))
            container.mux(stream.encode())
        temporary.replace(path)
    except (av.FFmpegError, OSError) as error:
        temporary.unlink(missing_ok=True)
        raise ForeactError(f"cannot write {path}: {reason(error)}") from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def scale_frames(frames_THWC: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Squash uint8 frames (T, height, width, 3) to `size` (height, width)."""
    if frames_THWC.shape[1:3] == size:
        return frames_THWC
    reformat = VideoReformatter()
    pictures = (av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24") for frame in frames_THWC)
    return np.stack([_scaled(picture, size, reformat) for picture in pictures])


def _timed(pictures: Iterator[av.VideoFrame], index: VideoIndex) -> Iterator[tuple[int, av.VideoFrame]]:
    """Decoded frames with their times in ticks."""
    if index.counted:
        return zip(index.shown.tolist(), pictures)
    return ((picture.pts, picture) for picture in pictures if picture.pts is not None)


def _scaled(frame: av.VideoFrame, size: tuple[int, int], reformat: VideoReformatter) -> np.ndarray:
    """A frame as uint8 (height, width, 3): averaged over areas where it shrinks."""
    how = Interpolation.AREA if size[0] < frame.height else Interpolation.BICUBIC
    return reformat.reformat(frame, size[1], size[0], "rgb24", interpolation=how, **_ONE_THREAD).to_ndarray()
