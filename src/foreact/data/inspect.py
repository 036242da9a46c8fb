"""Looks through a whole dataset: what is in it, and every defect that can be found, with its place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table

from foreact.core.errors import ForeactError
from foreact.core.terminal import in_markup
from foreact.data.contact_sheet import contact_sheet
from foreact.data.defects import DefectFinder, data_columns, finite_actions
from foreact.data.inspect_episode import defect_lines
from foreact.data.lerobot import ACTION, SUCCESS, LeRobotDataset
from foreact.data.lerobot_meta import holds_numbers

__all__ = ["DimensionRange", "Inspection", "contact_sheet", "inspect_dataset", "render_inspection"]


@dataclass(frozen=True, kw_only=True)
class DimensionRange:
    """Values of one action dimension: its name, least, mean and greatest value and standard deviation."""

    name: str
    low: float
    mean: float
    high: float
    std: float


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What `inspect_dataset` saw.

    Attributes:
        root: the dataset's folder.
        fps, robot_type: as the dataset says.
        lengths: frames of each episode.
        tasks: text -> episodes.
        cameras: full name -> height and width.
        columns: feature -> dimensions, without counters such as the timestamp.
        unread: features that are neither -> what they are, such as depth or annotations in words.
        successes: episodes in which the task was done at some time; None if the column `next.success` is not there.
        actionless: episodes without actions; None if that cannot be read.
        actions: ranges over all finite action rows, per dimension; empty if there are none.
        defects: everything that is wrong, each with episode and place.
        defective: numbers of the episodes in which something is wrong.
    """

    root: str
    fps: float
    robot_type: str | None
    lengths: tuple[int, ...]
    tasks: dict[str, int]
    cameras: dict[str, tuple[int, int]]
    columns: dict[str, int]
    unread: dict[str, str]
    successes: int | None
    actionless: int | None
    actions: tuple[DimensionRange, ...]
    defects: tuple[str, ...]
    defective: tuple[int, ...]


def inspect_dataset(dataset: LeRobotDataset, on_progress: Callable[[int, int], None] | None = None) -> Inspection:
    """Read every row, decode every frame of every camera, and tell what is there and what is wrong.

    Args:
        dataset: an opened dataset.
        on_progress: called with (episodes done, episodes).
    """
    finder = DefectFinder(dataset)
    for done, episode in enumerate(dataset.episodes, start=1):
        finder.check_episode(episode)
        if on_progress:
            on_progress(done, len(dataset.episodes))
    finder.check_whole()
    try:
        actionless = sum(not dataset.has_actions(episode.index) for episode in dataset.episodes)
        actions = _ranges(dataset)
    except ForeactError:  # One of the defects already.
        actionless, actions = None, ()
    return Inspection(
        root=str(dataset.root),
        fps=dataset.fps,
        robot_type=dataset.robot_type,
        lengths=tuple(episode.length for episode in dataset.episodes),
        tasks=dict(Counter(episode.task for episode in dataset.episodes)),
        cameras={camera: dataset.shape_of(camera) for camera in dataset.cameras},
        columns={key: len(dataset.names_of(key)) for key in data_columns(dataset)},
        unread=_unread(dataset),
        successes=_successes(dataset),
        actionless=actionless,
        actions=actions,
        defects=tuple(finder.found),
        defective=tuple(sorted(finder.broken)),
    )


def render_inspection(inspection: Inspection) -> RenderableType:
    """The inspection as tables for a rich console."""
    parts: list[RenderableType] = [_summary(inspection)]
    if inspection.actions:
        parts.append(_action_table(inspection))
    return Group(*parts, *defect_lines(inspection.defects))


def _summary(inspection: Inspection) -> Table:
    lengths = np.array(inspection.lengths)
    table = Table(title=in_markup(inspection.root), title_justify="left", show_header=False, box=None)
    seconds = lengths.sum() / inspection.fps
    table.add_row("episodes", f"{len(lengths)} ({_actionless(inspection)})")
    table.add_row("frames", f"{lengths.sum():,} at {inspection.fps:g} per second: {seconds / 60:.1f} minutes")
    table.add_row("episode length", f"{lengths.min()} to {lengths.max()} frames, median {np.median(lengths):g}")
    table.add_row("robot", in_markup(inspection.robot_type or "not said"))
    for camera, (height, width) in inspection.cameras.items():
        table.add_row("camera", f"{in_markup(camera)}, {height} x {width} pixels")
    for key, dims in inspection.columns.items():
        table.add_row("column", f"{in_markup(key)}, {dims} dimension{'' if dims == 1 else 's'}")
    for key, what in inspection.unread.items():
        table.add_row("not read", f"{in_markup(key)}, {in_markup(what)}")
    for task, episodes in sorted(inspection.tasks.items(), key=lambda item: -item[1])[:20]:
        table.add_row("task", f"{in_markup(task) or '(no text)'}: {episodes} episodes")
    if inspection.successes is not None:
        table.add_row("success", f"{inspection.successes} of {len(lengths)} episodes")
    if len(inspection.tasks) > 20:
        table.add_row("task", f"and {len(inspection.tasks) - 20} more")
    return table


def _unread(dataset: LeRobotDataset) -> dict[str, str]:
    kinds = {key: str(about.get("dtype")) for key, about in dataset.features.items() if not holds_numbers(about)}
    known = {key: kind for key, kind in kinds.items() if key not in dataset.cameras}
    return {key: "depth" if key in dataset.depth_maps else kind for key, kind in known.items()}


def _actionless(inspection: Inspection) -> str:
    if inspection.actionless is None:
        return "whether they have actions cannot be read"
    return f"{inspection.actionless} without actions" if inspection.actionless else "all with actions"


def _action_table(inspection: Inspection) -> Table:
    table = Table("action", "min", "mean", "max", "std", title="actions", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for dim in inspection.actions:
        table.add_row(in_markup(dim.name), *(f"{value:.4g}" for value in (dim.low, dim.mean, dim.high, dim.std)))
    return table


def _successes(dataset: LeRobotDataset) -> int | None:
    if SUCCESS not in dataset.features:
        return None
    try:
        return sum(bool(np.any(dataset.column(SUCCESS, episode.index))) for episode in dataset.episodes)
    except ForeactError:  # One of the defects already.
        return None


def _ranges(dataset: LeRobotDataset) -> tuple[DimensionRange, ...]:
    actions = finite_actions(dataset).astype(np.float64)
    if not len(actions):
        return ()
    return tuple(
        DimensionRange(name=name, low=float(v.min()), mean=float(v.mean()), high=float(v.max()), std=float(v.std()))
        for name, v in zip(dataset.names_of(ACTION), actions.T)
    )
