"""What a video file says of its frames without decoding them: when each is shown, and where reading can begin."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from foreact.core.errors import ForeactError

_NO_TIMESTAMPS = 0x80  # FFmpeg's AVFMT_NOTIMESTAMPS
# The order of AVI's packets is that of decoding, and they carry no presentation times.
_COUNTED = ("avi",)
# Seeking finds a place near a time there, not the key frame before it.
_VAGUE_SEEK = ("mpeg", "mpegts")
# Their headers say how long the recording was when it was whole.
_TELL_LENGTH = ("matroska,webm", "flv")


class VideoIndex(NamedTuple):
    """The frames of a video file.

    Attributes:
        shown: presentation times of all frames, sorted, in ticks (T,); their numbers where the file holds no times.
        keys: presentation times of the key frames, sorted, those before the first shown frame among them.
        seconds: per tick; 0.0 where the file holds no times.
        seekable: whether reading can begin at a key frame; else only at the file's beginning.
        counted: whether a decoded frame is known by its place in the order of decoding, not by its presentation time.
        damage: what tells that the file is damaged or cut short; empty if nothing does.
    """

    shown: np.ndarray
    keys: np.ndarray
    seconds: float
    seekable: bool
    counted: bool
    damage: str


def read_index(path: Path) -> VideoIndex:
    """The index of a file.

    Raises:
        ForeactError: the file is missing, damaged, or holds no pictures.
    """
    if not path.is_file():
        raise ForeactError(f"video {path} is missing")
    try:
        with av.open(str(path)) as container:
            return _read(container, path)
    except (av.FFmpegError, OSError) as error:
        raise ForeactError(f"video {path} is truncated or not a video ({reason(error)})") from error


def reason(error: Exception) -> str:
    """What went wrong, in FFmpeg's or the system's words."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "no space left on the disk: free some and run it again"
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).strip()


def _read(container: av.container.InputContainer, path: Path) -> VideoIndex:
    if not container.streams.video:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise ForeactError(
            f"video {path} holds no pictures, only {kinds}: take it out, or put the recording in its place"
        )
    stream, name = container.streams.video[0], container.format.name
    announced = (container.duration or 0) / av.time_base if name in _TELL_LENGTH else 0.0
    packets, end, broken = [], 0.0, 0
    for packet in container.demux() if announced else container.demux(stream):
        if announced and packet.pts is not None:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if packet.size and packet.stream.index == stream.index:
            broken += packet.is_corrupt
            packets.append((packet.pts, packet.is_keyframe, packet.is_discard))
    timed = not container.format.flags & _NO_TIMESTAMPS and all(pts is not None for pts, _, _ in packets)
    times = np.array([pts for pts, _, _ in packets] if timed else range(len(packets)), dtype=np.int64)
    shown = np.sort(times[[not is_discard for _, _, is_discard in packets]])
    keys = np.sort(times[[is_key for _, is_key, _ in packets]])
    if not len(shown) or not len(keys):
        raise ForeactError(f"video {path} holds no frames: it is empty or cut short")
    seconds = float(stream.time_base or 1) if timed else 0.0
    damage = f"{broken} of its frames {'is' if broken == 1 else 'are'} not whole" if broken else ""
    if len(shown) > 1 and not broken and announced - end > 2 * seconds * np.diff(shown).max():
        damage = f"it ends after {end:.1f} of {announced:.1f} s"
    return VideoIndex(
        shown=shown,
        keys=keys,
        seconds=seconds,
        seekable=timed and name not in (*_COUNTED, *_VAGUE_SEEK),
        counted=not timed or name in _COUNTED,
        damage=damage,
    )
