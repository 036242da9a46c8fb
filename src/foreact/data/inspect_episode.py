"""Looks into one episode: its pictures' and rows' times, every dimension with its largest jump, and what is wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from foreact.core.errors import ForeactError
from foreact.data.defects import DefectFinder, data_columns
from foreact.data.lerobot import ACTION, LeRobotDataset
from foreact.data.pictures import StoredPictures


@dataclass(frozen=True, kw_only=True)
class Spacing:
    """Times from one frame or row to the next, in seconds: the least, the greatest, and how far any lies from its even place."""

    least: float
    greatest: float
    jitter: float


@dataclass(frozen=True, kw_only=True)
class CameraOfEpisode:
    """A camera in an episode: its full name, the file, height and width, and the spacing of its frames (None if not known)."""

    name: str
    file: str
    height: int
    width: int
    spacing: Spacing | None


@dataclass(frozen=True, kw_only=True)
class DimensionOfEpisode:
    """One dimension of a column in an episode.

    Attributes:
        column, name: of the feature and of the dimension.
        low, mean, high, std: of its finite values.
        jump: the largest change from a row to the next.
        jump_row: the row before that change.
    """

    column: str
    name: str
    low: float
    mean: float
    high: float
    std: float
    jump: float
    jump_row: int


@dataclass(frozen=True, kw_only=True)
class EpisodeInspection:
    """What `inspect_episode` saw.

    Attributes:
        root: the dataset's folder.
        episode: its number.
        task: what the robot was to do.
        length: frames.
        fps: as the dataset says.
        actionless: whether it has no actions; None if that cannot be read.
        timestamps: spacing of the column `timestamp`; None if it cannot be read, or for one row.
        cameras: of all cameras that can be read.
        dimensions: of all numeric columns that can be read.
        defects: everything that is wrong in it, each with its place.
    """

    root: str
    episode: int
    task: str
    length: int
    fps: float
    actionless: bool | None
    timestamps: Spacing | None
    cameras: tuple[CameraOfEpisode, ...]
    dimensions: tuple[DimensionOfEpisode, ...]
    defects: tuple[str, ...]


def inspect_episode(dataset: LeRobotDataset, number: int) -> EpisodeInspection:
    """Read every row and decode every frame of an episode; that it is a copy of another one only the whole inspection tells.

    Raises:
        ForeactError: there is no such episode.
    """
    episode = dataset.episode(number)
    finder = DefectFinder(dataset)
    finder.check_episode(episode)
    finder.check_files(episode)
    return EpisodeInspection(
        root=str(dataset.root),
        episode=number,
        task=episode.task,
        length=episode.length,
        fps=dataset.fps,
        actionless=_actionless(dataset, number),
        timestamps=_timestamps(dataset, number),
        cameras=tuple(found for name in dataset.cameras if (found := _camera(dataset, number, name))),
        dimensions=tuple(found for key in data_columns(dataset) for found in _dimensions(dataset, number, key)),
        defects=tuple(finder.found),
    )


def render_episode(inspection: EpisodeInspection) -> RenderableType:
    """The inspection as tables for a rich console."""
    title = f"{escape(inspection.root)}, episode {inspection.episode}"
    about = Table(title=title, title_justify="left", show_header=False, box=None)
    actions = {None: "whether it has actions cannot be read", True: "no actions", False: "with actions"}
    seconds = inspection.length / inspection.fps
    about.add_row("task", escape(inspection.task) or "(no text)")
    about.add_row(
        "frames",
        f"{inspection.length:,} at {inspection.fps:g} per second: {seconds:.1f} s, {actions[inspection.actionless]}",
    )
    about.add_row("timestamps", _in_words(inspection.timestamps))
    for camera in inspection.cameras:
        words = f"{camera.height} x {camera.width} pixels, {_in_words(camera.spacing)}"
        about.add_row("camera", f"{escape(camera.name)}, {words}, in {escape(camera.file)}")
    columns = dict.fromkeys(dim.column for dim in inspection.dimensions)
    return Group(about, *(_dimension_table(inspection, key) for key in columns), *defect_lines(inspection.defects))


def defect_lines(defects: tuple[str, ...]) -> list[str]:
    """The defects as lines of markup, under their number."""
    count = len(defects)
    head = f"[bold]{count} defect{'' if count == 1 else 's'}[/]" if count else "[green]no defects found[/]"
    return [head, *(f"  [red]-[/] {escape(defect)}" for defect in defects)]


def _dimension_table(inspection: EpisodeInspection, column: str) -> Table:
    table = Table(
        "", "min", "mean", "max", "std", "largest step\nof the range", title=escape(column), title_justify="left"
    )
    table.columns[0].overflow = "fold"
    for head in table.columns[1:]:
        head.justify, head.no_wrap = "right", True
    for dim in (dim for dim in inspection.dimensions if dim.column == column):
        numbers = [f"{value:.3g}" for value in (dim.low, dim.mean, dim.high, dim.std)]
        share = f"{dim.jump / (dim.high - dim.low):.0%}, row {dim.jump_row}" if dim.jump else "none"
        table.add_row(escape(dim.name), *numbers, share)
    return table


def _in_words(spacing: Spacing | None) -> str:
    if spacing is None:
        return "times not known"
    return f"{1e3 * spacing.least:.1f} to {1e3 * spacing.greatest:.1f} ms apart, at most {1e3 * spacing.jitter:.1f} ms from their places"


def _spacing(times: np.ndarray, fps: float) -> Spacing | None:
    if len(times) < 2 or not np.isfinite(times).all():
        return None
    steps, late = np.diff(times), times - times[0] - np.arange(len(times)) / fps
    return Spacing(least=float(steps.min()), greatest=float(steps.max()), jitter=float(np.abs(late).max()))


def _actionless(dataset: LeRobotDataset, number: int) -> bool | None:
    try:
        return not dataset.has_actions(number)
    except ForeactError:  # One of the defects already, here and below.
        return None


def _timestamps(dataset: LeRobotDataset, number: int) -> Spacing | None:
    try:
        return _spacing(dataset.column("timestamp", number)[:, 0].astype(np.float64), dataset.fps)
    except ForeactError:
        return None


def _camera(dataset: LeRobotDataset, number: int, name: str) -> CameraOfEpisode | None:
    try:
        video, first = dataset.place_of(number, name)
        height, width = video.shape
        stored = isinstance(video, StoredPictures)
        times = np.zeros(0) if stored else video.times[first : first + dataset.episode(number).length]
    except ForeactError:
        return None
    file = video.path.relative_to(dataset.root).as_posix()
    return CameraOfEpisode(name=name, file=file, height=height, width=width, spacing=_spacing(times, dataset.fps))


def _dimensions(dataset: LeRobotDataset, number: int, key: str) -> list[DimensionOfEpisode]:
    try:
        if key == ACTION and not dataset.has_actions(number):
            return []
        rows = dataset.column(key, number).astype(np.float64)
    except ForeactError:
        return []
    described = zip(dataset.names_of(key), rows.T)
    return [_dimension(key, name, values) for name, values in described if np.isfinite(values).any()]


def _dimension(key: str, name: str, values: np.ndarray) -> DimensionOfEpisode:
    finite, steps = values[np.isfinite(values)], np.abs(np.diff(values))
    known = np.where(np.isfinite(steps), steps, 0.0)
    return DimensionOfEpisode(
        column=key,
        name=name,
        low=float(finite.min()),
        mean=float(finite.mean()),
        high=float(finite.max()),
        std=float(finite.std()),
        jump=float(known.max(initial=0.0)),
        jump_row=int(known.argmax()) if len(known) else 0,
    )
