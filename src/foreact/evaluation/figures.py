"""Pictures of results: film strips as data URIs, drift curves as SVG."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import escape
from PIL import Image
from torch import Tensor

from foreact.core.cards import ModelCard
from foreact.core.errors import ForeactError
from foreact.core.files import write_atomically
from foreact.core.registry import card
from foreact.evaluation.metrics import describe
from foreact.evaluation.residuals import SUFFIX
from foreact.evaluation.results import FilmStrip, Results, StripRow
from foreact.evaluation.tables import number

_LABELS = {"fm_wm_trap": "FM-WM that sees its source"}
_COLOURS = {"dino_wm_dressed": "#d9a441", "persistence": "#8a8f98", "oracle": "#6d5bd0", "true_tokens": "#be185d"}
"""Of rows that are no kind of model; a model's own are on its card."""
_MORE_COLOURS = ("#7c2d12", "#1e3a8a", "#db2777", "#65a30d", "#0891b2")
_LEFT_OUT = ("oracle", "true_tokens", *(f"rla_wm #{k}" for k in range(3, 99)))
_REFERENCES = ("persistence", "oracle", "true_tokens")
_INK = "#010203"  # stands for the page's text colour in drawings


Point = tuple[float, float, float | None, float | None]
"""x, mean, low, high."""
Curves = Mapping[str, Sequence[Point]]
"""Per model."""


def film_strip(
    truth: Tensor,
    imagined: Mapping[str, Tensor],
    *,
    episode: int,
    frames: tuple[int, ...],
    task: str,
    moving: bool,
) -> FilmStrip:
    """Pictures of one window, side by side.

    Args:
        truth: what was filmed, (S + 1, height, width, 3) in [0, 1].
        imagined: model -> its samples as pictures, (K, S, height, width, 3).
        episode: number of the episode.
        frames: numbers of the S + 1 frames.
        task: the episode's.
        moving: whether the window is in the subset `moving`.
    """
    rows = [StripRow(label="real", images=tuple(data_uri(image) for image in _uint8(truth)))]
    for name, samples in imagined.items():
        for k, images in enumerate(_uint8(samples)):
            label = name if len(samples) == 1 else f"{name} #{k + 1}"
            rows.append(StripRow(label=label, images=tuple(data_uri(image) for image in images)))
    return FilmStrip(episode=episode, start=frames[0], task=task, moving=moving, frames=frames, rows=tuple(rows))


def data_uri(image: np.ndarray) -> str:
    """uint8 (height, width, 3) as a WebP data URI that looks the same."""
    content = io.BytesIO()
    Image.fromarray(image).save(content, "WEBP", quality=92, method=4)
    return "data:image/webp;base64," + base64.b64encode(content.getvalue()).decode()


def picture(uri: str) -> np.ndarray:
    """Inverse of `data_uri`: uint8 (height, width, 3)."""
    content = base64.b64decode(uri.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def label(name: str) -> str:
    """A model's name, or that of one of its samples, for a reader."""
    model, _, sample = name.partition(" ")
    plain = model.removesuffix(SUFFIX)
    known = _card(plain)
    shown = known.label if known else _LABELS.get(plain, plain.replace("_", " "))
    shown += " + resampled residuals" if plain != model else ""
    return f"{shown} {sample}" if sample else shown


_ABOUT = {
    "persistence": "A copy of the first frame: a model that is not better has learnt nothing about motion.",
    "oracle": "RLA's decoder with the true z, read off the filmed future: the best that a world model on this z could do.",
    "true_tokens": "The filmed frames' own tokens, drawn and read: the error of the image decoder and of the pose reader alone.",
}


def about(name: str, *, stochastic: bool | None = None) -> str:
    """What a row of a table is, in a sentence.

    Args:
        name: of the row.
        stochastic: whether a model draws futures or has one answer; None where that is not known.
    """
    plain = name.removesuffix(SUFFIX)
    if plain != name:
        return (
            f"{label(plain)}'s one answer with its own errors in other held-out episodes added, as K futures. A control: any spread "
            "of the right size improves the energy score, so a model that draws futures should do better than this."
        )
    if name in _ABOUT or stochastic is None:
        return _ABOUT.get(name, "A world model.")
    return (
        "A world model that draws futures at random."
        if stochastic
        else "A world model with one answer, always the same."
    )


def is_reference(name: str) -> bool:
    """Whether a row is no model of its own."""
    return name in _REFERENCES or name.endswith(SUFFIX)


def colour(model: str, models: Sequence[str]) -> str:
    """A model's colour, the same in all drawings of a report."""
    own = {m: _own_colour(m) for m in (*models, model)}
    others = [m for m in own if own[m] is None]
    return own[model] or _MORE_COLOURS[others.index(model) % len(_MORE_COLOURS)]


def _own_colour(model: str) -> str | None:
    known = _card(model)
    return known.colour if known else _COLOURS.get(model)


@lru_cache
def _card(kind: str) -> ModelCard | None:
    """None where a row is no kind of model."""
    try:
        return card(kind)
    except ForeactError:
        return None


def drift_curve(results: Results, metric: str, *, subset: str) -> str:
    """Mean and interval of a metric after each chunk, for every model.

    Returns:
        An SVG element whose text has the colour of the page, and which says its last values to a screen reader.
    """
    steps = results.protocol.get("boundaries") or list(range(1, results.last_chunk + 1))
    models = results.names()
    curves: dict[str, list[Point]] = {}
    for model in models:
        rows = [(step, results.row(model, metric, chunk, subset)) for chunk, step in enumerate(steps, start=1)]
        curves[model] = [(step, row.mean, row.low, row.high) for step, row in rows if row is not None]
    colours, shown = {model: colour(model, models) for model in models}, describe(metric)
    drawn = drawing(lambda axes: draw_curves(axes[0], curves, colours, title=shown.label, x="steps", metric=metric))
    ends = (f"{label(m)} {number(c[-1][1], shown.digits)} after {c[-1][0]} steps" for m, c in curves.items() if c)
    said = escape(f"{shown.label}, {shown.direction}: {'; '.join(ends)}")
    return drawn.replace("<svg", f'<svg role="img" aria-label="{said}"', 1)


def drawing(draw: Callable[[Any], None], *, panels: int = 1) -> str:
    """Panels side by side as an SVG element, the same text for the same drawing.

    Args:
        draw: fills the list of matplotlib axes that it is given.
        panels: how many.
    """
    import matplotlib
    from matplotlib.figure import Figure

    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": "foreact", "font.size": 9, "font.family": "sans-serif"}
    settings |= dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK)
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(3.5 * panels, 2.4), layout="constrained")
        draw(list(figure.subplots(1, panels, squeeze=False)[0]))
        content = io.StringIO()
        figure.savefig(
            content, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
    found = content.getvalue()
    return found[found.index("<svg") :].replace(_INK, "currentColor")


def draw_curves(
    axis: Any, curves: Curves, colours: Mapping[str, str], *, title: str, x: str, metric: str = "", named: bool = False
) -> None:
    """Curves with their bands on one axis.

    Args:
        axis: matplotlib's.
        curves: per model the points.
        colours: per model.
        title: above the axis.
        x: below it.
        metric: where good values are 1, a line is drawn there.
        named: add a legend.
    """
    for model, points in ((m, sorted(c)) for m, c in curves.items() if c):
        style = "--" if is_reference(model) else "-"
        at, means = [p[0] for p in points], [p[1] for p in points]
        axis.plot(at, means, style, color=colours[model], marker="o", markersize=3, linewidth=1.6, label=label(model))
        bands = [(at, low, high) for at, _, low, high in points if low is not None and high is not None]
        if bands:
            axis.fill_between(*zip(*bands), color=colours[model], alpha=0.15, linewidth=0)
    axis.set_title(title, fontsize=9, loc="left")
    if describe(metric).better == "one":
        axis.axhline(1, color=_INK, linewidth=0.6, alpha=0.6)
    axis.set_xticks(sorted({point[0] for points in curves.values() for point in points}))
    axis.set_xlabel(x, fontsize=8)
    axis.margins(x=0.08)
    axis.grid(axis="y", linewidth=0.4, alpha=0.35)
    axis.spines[["top", "right"]].set_visible(False)
    if named:
        axis.legend(fontsize=7, frameon=False)


def write_picture(results: Results, path: str | Path, *, strips: int = 2) -> None:
    """Film strips as one PNG, for a README: real, first samples, DINO-WM, persistence; time runs downwards.

    Args:
        results: with film strips.
        path: of the PNG.
        strips: how many, side by side.

    Raises:
        ForeactError: the results hold no film strips, or the file cannot be written.
    """
    from matplotlib.figure import Figure

    if not results.strips:
        raise ForeactError("the results hold no film strips: evaluate with an image decoder")
    shown = results.strips[:strips]
    columns = [[row for row in strip.rows if row.label not in _LEFT_OUT] for strip in shown]
    steps = len(shown[0].frames)
    size = (1.15 * sum(map(len, columns)) + 0.5, 1.15 * steps + 0.3)
    figure = Figure(figsize=size, layout="constrained", dpi=120)
    parts = figure.subfigures(1, len(shown), width_ratios=[len(rows) for rows in columns], squeeze=False)[0]
    for part, strip, rows in zip(parts, shown, columns, strict=True):
        axes = part.subplots(steps, len(rows), squeeze=False, gridspec_kw={"wspace": 0.04, "hspace": 0.04})
        for axis in axes.ravel():
            axis.set_axis_off()
        for k, row in enumerate(rows):
            axes[0, k].set_title(label(row.label), fontsize=8)
            for time, image in enumerate(row.images, start=steps - len(row.images)):
                axes[time, k].imshow(picture(image), interpolation="nearest")
        for time, frame in enumerate(strip.frames):
            text = f"+{frame - strip.start}" if time else "start"
            axes[time, 0].text(-0.08, 0.5, text, transform=axes[time, 0].transAxes, ha="right", va="center", fontsize=8)
    save_png(figure, path)


def save_png(figure: Any, path: str | Path) -> None:
    """Write a matplotlib figure on white, atomically, the same bytes for the same drawing."""
    content = io.BytesIO()
    figure.savefig(content, format="png", facecolor="white", metadata={"Software": None})
    write_atomically(Path(path), content.getvalue())


def _uint8(images: Tensor) -> np.ndarray:
    return (images.clamp(0, 1) * 255).round().byte().cpu().numpy()
