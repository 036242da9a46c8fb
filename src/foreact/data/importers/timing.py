"""Which frames of a video become the frames of a dataset, which are evenly spaced in time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foreact.core.errors import ForeactError
from foreact.data.video import Video

_SAME = 0.01
# Of the time from frame to frame: as far may a frame lie from its even place.
_LOOSE = 0.25


def common_fps(videos: Sequence[Video]) -> int:
    """The whole number of frames per second that all videos have.

    Raises:
        ForeactError: they differ, are not evenly spaced, do not say, or have no whole number.
    """
    known = [video for video in videos if video.fps]
    silent = [video for video in videos if not video.fps and (video.frame_count > 1 or not known)]
    if silent:
        raise ForeactError(f"{silent[0].path} does not say how many frames per second it has: give fps")
    first = known[0]
    for video in known:
        if not _is_even(video):
            raise ForeactError(
                f"{video.path} has {_spacing(video)}, a dataset needs them evenly spaced: give fps to resample it"
            )
        if abs(video.fps / first.fps - 1) > _SAME:
            raise ForeactError(
                f"{video.path} has {video.fps:.2f} frames per second, the videos before it {first.fps:.2f}: give fps to "
                "resample them"
            )
    if abs(first.fps / max(round(first.fps), 1) - 1) > _SAME:
        raise ForeactError(
            f"{first.path} has {first.fps:.2f} frames per second, a dataset needs a whole number: give fps"
        )
    return round(first.fps)


def choose_frames(video: Video, fps: int, *, table: Path | None) -> tuple[np.ndarray, str]:
    """Numbers of the frames to take for `fps` per second, and what the user should know of it (or nothing).

    A video of another rate, or of none, is resampled: each time gets the frame that was shown nearest to it. A table has a row
    for each frame of its video, so there all frames are kept, and only a rate that is not whole may be rounded.

    Raises:
        ForeactError: a video with a table has another rate.
    """
    every, name = np.arange(video.frame_count), video.path.name
    if len(every) == 1:
        return every, ""
    if not video.fps:
        return every, f"{name} does not say when its frames were taken: taken as {fps} per second"
    even = _is_even(video)
    if even and abs(video.fps / fps - 1) <= _SAME:
        return every, ""
    if even and table and abs(video.fps - fps) < 1:
        return every, f"{name} has {_spacing(video)}: taken as {fps} per second, with all its frames"
    if table:
        raise ForeactError(
            f"{video.path} has {_spacing(video)}, not {fps} per second, and {table.name} has rows for just these frames: bring both "
            "to one even rate, or take the table away to resample the video"
        )
    times = video.times
    wanted = np.arange(int(times[-1] * fps + 0.5) + 1) / fps
    numbers = np.searchsorted((times[1:] + times[:-1]) / 2, wanted, side="right")
    return (
        numbers,
        f"{name} has {_spacing(video)}: resampled to {fps} per second, {len(numbers)} frames from {len(every)}",
    )


def _is_even(video: Video) -> bool:
    """Whether the frames are shown at a constant rate, apart from the rounding of their times."""
    late = video.times * video.fps - np.arange(video.frame_count)
    return float(np.abs(late).max()) <= _LOOSE


def _spacing(video: Video) -> str:
    if _is_even(video):
        return f"{video.fps:.2f} frames per second"
    steps = np.diff(video.times)
    return f"frames that lie {steps.min():.3f} to {steps.max():.3f} s apart"
