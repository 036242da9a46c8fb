"""At which frame of its video file each episode begins.

The metadata says it in seconds, and those who write it are sometimes off: where starts are added up as floats, or files are
merged. What must hold as well is that an episode begins where the one before it in the file ends. So both are compared:
where they are less than a frame apart, the running sum of lengths decides; where frames of no episode lie between, the
seconds do, if they name a frame; anything else is an error, because some frames would be those of another episode.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from foreact.core.errors import ForeactError
from foreact.data.episode_files import EpisodeFiles
from foreact.data.video import Video

_SAME = 0.9
"""Frames by which seconds may miss the end of the episode before, and mean it; a whole one is a missing frame."""
_ON_A_FRAME = 0.25
"""Frames by which seconds may miss a frame, and mean it: those of a variable rate do."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """What the metadata says of an episode in a video file: its number, frames, and the seconds at which it begins and ends."""

    index: int
    length: int
    begin: float
    end: float | None = None


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where the episodes of one video file begin.

    Attributes:
        spans: what the metadata says of them, in their order.
        first: episode -> number of its first frame in the file.
        wrong: episodes whose frames cannot be told for certain -> why.
        off: episodes whose seconds miss their first frame -> by how many frames.
    """

    spans: Sequence[Span]
    first: Mapping[int, int]
    wrong: Mapping[int, str]
    off: Mapping[int, float]

    def of(self, episode: int) -> int:
        """Number of the episode's first frame.

        Raises:
            ForeactError: its frames cannot be told for certain.
        """
        if episode in self.wrong:
            raise ForeactError(self.wrong[episode])
        return self.first[episode]


class PlaceFinder:
    """Finds the places in all video files of a dataset, each when it is asked for.

    Args:
        root: the dataset's folder.
        episodes: of the dataset, all.
        fps: frames per second of the dataset.
    """

    def __init__(self, root: Path, episodes: Iterable[EpisodeFiles], fps: float):
        self._fps = fps
        self._spans: dict[tuple[str, Path], list[Span]] = {}
        for files in episodes:
            for camera, (path, begin, end) in files.videos.items():
                span = Span(index=files.index, length=files.length, begin=begin, end=end)
                self._spans.setdefault((camera, root / path), []).append(span)
        self._found: dict[tuple[str, Path], Places] = {}

    def find(self, video: Video, camera: str) -> Places:
        """Where the episodes in a video of a camera begin.

        Raises:
            ForeactError: the file is missing or damaged.
        """
        key = (camera, video.path)
        if key not in self._found:
            self._found[key] = find_places(video, self._spans[key], self._fps)
        return self._found[key]


def find_places(video: Video, spans: Sequence[Span], fps: float) -> Places:
    """Compare what the metadata says of a file with its frames.

    Args:
        video: the file.
        spans: all episodes in it.
        fps: frames per second of the dataset.

    Raises:
        ForeactError: the file is missing or damaged.
    """
    first: dict[int, int] = {}
    wrong: dict[int, str] = {}
    off: dict[int, float] = {}
    spans = sorted(spans, key=lambda span: (span.begin, span.index))
    end = 0
    for span in spans:
        missed = (span.begin - video.time_of(end)) * fps
        first[span.index] = end
        if abs(missed) >= _SAME:
            first[span.index] = video.frame_at(span.begin)
            missed = (span.begin - video.time_of(first[span.index])) * fps
        if abs(missed) > _ON_A_FRAME:
            off[span.index] = missed
            if first[span.index] != end:
                wrong[span.index] = (
                    f"{video}: episode {span.index} begins at {span.begin:g} s by its metadata, which is between two frames, "
                    "and not where the episode before it ends: correct its from_timestamp"
                )
        end = first[span.index] + span.length
    for before, span in pairwise(spans):
        if (shared := first[before.index] + before.length - first[span.index]) > 0:
            _explain_overlap(video, before, span, shared, first, wrong, fps)
    count, rows = video.frame_count, sum(span.length for span in spans)
    if count < rows and len(spans) > 1 and not wrong:
        who = f"{min(s.index for s in spans)} to {max(s.index for s in spans)}"
        why = f"{video} has {count} frames for the {rows} rows of the episodes {who}: where frames are missing cannot be told, so"
        wrong = {
            s.index: f"{why} any of them may show the wrong ones; get the file anew, or leave them out" for s in spans
        }
    return Places(spans=spans, first=first, wrong=wrong, off=off)


def _explain_overlap(
    video: Video, before: Span, span: Span, shared: int, first: Mapping[int, int], wrong: dict[int, str], fps: float
) -> None:
    """Say of which episodes the frames cannot be told where one begins before the one before it has ended."""
    seconds = video.time_of(first[span.index]) - video.time_of(first[before.index])
    gap = video.first_gap(fps, first[before.index], first[span.index] + 1)
    if gap is not None and abs(seconds * fps - before.length) < 0.5:  # in time, nothing overlaps
        wrong[before.index] = (
            f"{video} has {before.length - shared} frames in the time of the {before.length} of episode {before.index}: "
            "some are missing; get the file anew, or leave the episode out"
        )
        return
    both = (
        f"{video}: episode {span.index} begins at {span.begin:g} s by its metadata, which is {shared} frames before "
        f"episode {before.index} ends: correct the from_timestamp of one of them"
    )
    wrong[before.index] = wrong[span.index] = both
