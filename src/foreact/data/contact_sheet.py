"""One picture that shows a whole dataset, or one episode: rows are episodes or cameras, columns are evenly spaced frames."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from foreact.core.errors import ForeactError
from foreact.core.files import write_atomically
from foreact.data.lerobot import Episode, LeRobotDataset

_LABEL = 18
_GAP = 4


def contact_sheet(
    dataset: LeRobotDataset, path: str | Path, *, episodes: int = 12, frames: int = 8, height: int = 96
) -> None:
    """Write a PNG of evenly spaced episodes of the chosen camera; an episode that cannot be read says so in its row.

    Args:
        dataset: the dataset.
        path: the PNG file; its folder must exist.
        episodes: rows at most.
        frames: columns at most.
        height: of one picture, in pixels.

    Raises:
        ForeactError: the file cannot be written.
    """
    chosen = [dataset.episodes[i] for i in _spread(len(dataset.episodes), episodes)]
    labels = [f"episode {episode.index}, {episode.length} frames  {episode.task}" for episode in chosen]
    _draw([(dataset, *row) for row in zip(chosen, labels)], Path(path), frames, height)


def episode_sheet(
    dataset: LeRobotDataset,
    number: int,
    path: str | Path,
    *,
    camera: str | None = None,
    frames: int = 12,
    height: int = 144,
) -> None:
    """Write a PNG of one episode with a row for each camera; a camera that cannot be read says so in its row.

    Args:
        dataset: the dataset.
        number: of the episode.
        path: the PNG file; its folder must exist.
        camera: which camera alone; all if None.
        frames: columns at most.
        height: of one picture, in pixels.

    Raises:
        ForeactError: no such episode, or the file cannot be written.
    """
    episode = dataset.episode(number)
    label = f"episode {number}, {episode.length} frames  {episode.task}"
    seen = [dataset.with_camera(name) for name in ([camera] if camera else dataset.cameras)]
    _draw([(view, episode, f"{view.camera}, {label}") for view in seen], Path(path), frames, height)


def _draw(rows: Sequence[tuple[LeRobotDataset, Episode, str]], path: Path, frames: int, height: int) -> None:
    """Rows of evenly spaced frames of the chosen camera, each under its label."""
    widths = [_width(dataset, height) for dataset, _, _ in rows]
    size = (frames * (max(widths) + _GAP) + _GAP, len(rows) * (height + _LABEL + _GAP) + _GAP)
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for row, ((dataset, episode, label), width) in enumerate(zip(rows, widths)):
        top = _GAP + row * (height + _LABEL + _GAP)
        try:
            for column, (number, picture) in enumerate(_pictures(dataset, episode, frames)):
                left = _GAP + column * (width + _GAP)
                sheet.paste(picture.resize((width, height), Image.Resampling.BOX), (left, top + _LABEL))
                draw.text((left + 2, top + _LABEL + 1), str(number), "white", font, stroke_width=1, stroke_fill="black")
        except ForeactError as error:
            label = f"episode {episode.index} cannot be read: {error}"
        draw.text((_GAP, top + 1), label.encode("latin-1", "replace").decode("latin-1"), "black", font)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    write_atomically(path, buffer.getvalue())


def _width(dataset: LeRobotDataset, height: int) -> int:
    rows, columns = dataset.shape_of(dataset.camera)
    return max(round(height * columns / rows), 1)


def _pictures(dataset: LeRobotDataset, episode: Episode, most: int) -> list[tuple[int, Image.Image]]:
    """Evenly spaced frames of an episode with their numbers."""
    numbers = _spread(episode.length, most)
    return [(t, Image.fromarray(dataset.frames(episode.index, start=t, count=1)[0])) for t in numbers]


def _spread(count: int, most: int) -> list[int]:
    """At most `most` evenly spaced numbers below `count`, the first and the last among them."""
    return [int(i) for i in np.linspace(0, count - 1, min(count, most)).round()]
