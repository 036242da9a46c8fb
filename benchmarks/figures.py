"""The drawings of docs/evidence.md, made from result files alone: text of SVG files by their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from foreact.evaluation.figures import Curves, Point, colour, draw_curves, drawing
from foreact.evaluation.latents import TRUE
from foreact.evaluation.metrics import describe
from foreact.studies.latent_claims import label

Result = dict[str, Any]

_DRIFT = ("token_l1", "token_energy_score", "ssim", "_error_px", "_error_mm")
_FEW = 3  # panels of a drawing
_BETWEEN = {
    TRUE: ("from noise to z", "#0f766e"),
    "line": ("tokens interpolated", "#b45309"),
    "shuffled": ("from noise to another episode's z", "#8a8f98"),
}


def drift(result: Result) -> str | None:
    """Metrics after each chunk, of an evaluation or of the arena; nothing where there is one chunk alone."""
    steps = result.get("boundaries") or result["protocol"].get("boundaries") or []
    rows = [row for row in result["rows"] if row.get("subset", subset(result)) == subset(result)]
    found = dict.fromkeys(row["metric"] for row in rows)
    metrics = [m for ending in _DRIFT for m in found if m.endswith(ending)][:_FEW]
    if len(steps) < 2 or not metrics:
        return None
    models = list(dict.fromkeys(row["model"] for row in rows))
    colours = {model: colour(model, models) for model in models}

    def draw(axes: Sequence[Any]) -> None:
        for metric, axis in zip(metrics, axes, strict=True):
            points = [(r["model"], (steps[r["chunk"] - 1], r["mean"], r["low"], r["high"])) for r in rows if r["metric"] == metric]  # fmt: skip
            curves = {model: [point for name, point in points if name == model] for model in models}
            draw_curves(axis, curves, colours, title=describe(metric).label, x="steps", named=False)
        _name(axes)

    return _on_white(drawing(draw, panels=len(metrics)))


def latents(result: Result) -> str | None:
    """Reconstruction against |z| of every learner, and the frames in between that RLA's z draws."""
    rows, sizes = [r for r in result["rows"] if r["subset"] == "held_out"], result["sizes"]
    own = {r["model"]: (sizes[r["model"]], r["mean"], r["low"], r["high"]) for r in rows if r["metric"] == f"skill_{TRUE}" and r["model"] in sizes}  # fmt: skip
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


def subset(result: Result) -> str:
    """Which episodes are shown: those in which the object moves, where they are known."""
    if "subset" in result:
        return str(result["subset"])
    return "moving" if any(row["subset"] == "moving" for row in result["rows"]) else "all"


def _between(rows: Sequence[Mapping[str, Any]], model: str, name: str) -> list[Point]:
    found = []
    for row in rows:
        kind, _, rest = row["metric"].partition("_")
        alpha, _, of = rest.partition("_")
        if row["model"] == model and (kind, of) == ("between", name):
            found.append((float(alpha), row["mean"], row["low"], row["high"]))
    return found


def _on_white(svg: str) -> str:
    """Readable on dark pages too, where an image's own text stays black."""
    return svg.replace("<svg ", '<svg style="background: white" ', 1)
