"""The drawings of docs/evidence.md, made from result files alone: text of SVG files by their names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from foreact.evaluation.figures import Curves, Point, colour, draw_curves, drawing
from foreact.evaluation.latent_pairs import TRUE
from foreact.evaluation.metrics import describe
from foreact.evaluation.results import Results
from foreact.evaluation.rows import Row, distinct, select
from foreact.studies.latent_claims import label

_DRIFT = ("token_l1", "token_energy_score", "ssim", "_error_px", "_error_mm")
_FEW = 3  # panels of a drawing
_BETWEEN = {
    TRUE: ("from noise to z", "#0f766e"),
    "line": ("tokens interpolated", "#b45309"),
    "shuffled": ("from noise to another episode's z", "#8a8f98"),
}


def drift(result: Results) -> str | None:
    """Metrics after each chunk, of an evaluation or of the arena; nothing where there is one chunk alone."""
    steps = result.settings.get("boundaries") or result.protocol.get("boundaries") or []
    rows = select(result.rows, subset=result.headline_subset)
    metrics = [m for ending in _DRIFT for m in distinct(rows, "metric") if m.endswith(ending)][:_FEW]
    if len(steps) < 2 or not metrics:
        return None
    models = distinct(rows, "model")
    colours = {model: colour(model, models) for model in models}

    def draw(axes: Sequence[Any]) -> None:
        for metric, axis in zip(metrics, axes, strict=True):
            curves = {
                model: [_point(steps[r["chunk"] - 1], r) for r in select(rows, metric=metric, model=model)]
                for model in models
            }
            draw_curves(axis, curves, colours, title=describe(metric).label, x="steps", named=False)
        _name(axes)

    return _on_white(drawing(draw, panels=len(metrics)))


def latents(result: Results) -> str | None:
    """Reconstruction against |z| of every learner, and the frames in between that RLA's z draws."""
    rows, sizes = select(result.rows, subset="held_out"), result.settings["sizes"]
    own = {
        r["model"]: _point(sizes[r["model"]], r) for r in select(rows, metric=f"skill_{TRUE}") if r["model"] in sizes
    }
    rlas = [model for model in own if model.startswith("rla-")]
    if not rlas:
        return None
    curves: Curves = {"RLA": [own[m] for m in rlas], **{label(m): [own[m]] for m in own if m not in rlas}}
    widest = max(rlas, key=lambda model: sizes[model])
    between = {words: _between(rows, widest, name) for name, (words, _) in _BETWEEN.items()}

    def draw(axes: Sequence[Any]) -> None:
        shades = {model: colour("rla_wm" if model == "RLA" else model, list(curves)[1:]) for model in curves}
        draw_curves(axes[0], curves, shades, title="skill of the reconstruction", x="numbers in z", named=True)
        axes[0].set_xscale("log", base=2)
        axes[0].minorticks_off()
        lines = dict(_BETWEEN.values())
        title = f"skill for the frame in between, {label(widest)}"
        draw_curves(axes[1], between, lines, title=title, x="part of the way", named=True)

    return _on_white(drawing(draw, panels=2))


def _name(axes: Sequence[Any]) -> None:
    """One legend for all panels, to the right of the last."""
    named = {line.get_label(): line for axis in axes for line in axis.get_lines()}
    axes[-1].legend(named.values(), named, loc="upper left", bbox_to_anchor=(1.02, 1), fontsize=7, frameon=False)


def _between(rows: Sequence[Row], model: str, name: str) -> list[Point]:
    found = []
    for row in select(rows, model=model):
        kind, _, rest = row.metric.partition("_")
        alpha, _, of = rest.partition("_")
        if (kind, of) == ("between", name):
            found.append(_point(float(alpha), row))
    return found


def _point(x: float, row: Row) -> Point:
    return x, row.mean, row.low, row.high


def _on_white(svg: str) -> str:
    """Readable on dark pages too, where an image's own text stays black."""
    return svg.replace("<svg ", '<svg style="background: white" ', 1)
