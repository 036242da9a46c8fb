"""Checks of the files that hold a camera's pictures, each of which may hold several episodes."""

from __future__ import annotations

from collections.abc import Iterator

from foreact.core.errors import ForeactError
from foreact.data.lerobot import Episode, LeRobotDataset
from foreact.data.pictures import StoredPictures
from foreact.data.video import Video


def file_defects(
    dataset: LeRobotDataset, camera: str, only: Episode | None = None
) -> Iterator[tuple[list[Episode], str]]:
    """Files whose size, rate or number of frames is not what the dataset says, and the episodes that they hold: all files, or
    the one that holds the episode `only`.
    """
    files: dict[Video, list[Episode]] = {}
    for episode in dataset.episodes:
        files.setdefault(dataset.video_of(episode.index, camera), []).append(episode)
    height, width = dataset.shape_of(camera)
    for video, episodes in files.items():
        if only is not None and only not in episodes:
            continue
        try:
            shape, fps, count = video.shape, video.fps, video.frame_count
        except ForeactError:
            continue  # The episodes that need the file have said so.
        where = f"{_who(episodes)}: {video.path.relative_to(dataset.root)}"
        rows = sum(episode.length for episode in episodes)
        if not isinstance(video, StoredPictures):
            yield from _place_defects(dataset, video, camera)
        if shape != (height, width):
            yield episodes, f"{where} has pictures of {shape[0]} x {shape[1]}, info.json says {height} x {width}"
        if fps and abs(fps / dataset.fps - 1) > 0.01:
            yield episodes, f"{where} has {fps:.2f} frames per second, info.json says {dataset.fps:g}"
        if count < rows or (count > rows and not dataset.has_gaps):
            yield episodes, f"{where} has {count} frames, but there are {rows} rows"


def _place_defects(dataset: LeRobotDataset, video: Video, camera: str) -> Iterator[tuple[list[Episode], str]]:
    """Episodes whose seconds in the file do not fit its frames or their own rows."""
    places = dataset.places_in(video, camera)
    for span in places.spans:
        episode = dataset.episode(span.index)
        if span.end is not None and (lasts := round((span.end - span.begin) * dataset.fps)) != span.length:
            words = f"{camera} lasts {lasts} frames by its metadata, but there are {span.length} rows"
            yield [episode], f"episode {span.index}: {words}"
        if span.index in places.off and span.index not in places.wrong:
            words = f"{camera} begins at {span.begin:g} s by its metadata, {abs(places.off[span.index]):.2f} frames"
            before_or_after = "before" if places.off[span.index] < 0 else "after"
            yield [episode], f"episode {span.index}: {words} {before_or_after} where its first frame is"
    if video.frame_count < sum(span.length for span in places.spans):
        yield from _cut_defects(dataset, video, camera)


def _cut_defects(dataset: LeRobotDataset, video: Video, camera: str) -> Iterator[tuple[list[Episode], str]]:
    """From where on the pictures of a file that lacks some no longer belong to their rows."""
    places, gap = dataset.places_in(video, camera), video.first_gap(dataset.fps)
    if gap is None:
        return
    hit = [span for span in places.spans if places.first[span.index] <= gap < places.first[span.index] + span.length]
    for span in hit:
        row = gap - places.first[span.index] + 1
        words = f"{camera} lacks frames from row {row} on, so what comes after it in the episode is shown too early"
        yield [dataset.episode(span.index)], f"episode {span.index}: {words}"


def _who(episodes: list[Episode]) -> str:
    return f"episode {episodes[0].index}" + (f" to {episodes[-1].index}" if len(episodes) > 1 else "")
