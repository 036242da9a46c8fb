"""The page of a policy server: what is served, what was seen and done last, how fast; it shows, and can do nothing."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, FileSystemLoader
from PIL import Image

if TYPE_CHECKING:
    from foreact.serving.server import PolicyServer

WIDTH, HEIGHT = 260, 60  # of a curve
_COLOURS = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2", "#be185d", "#65a30d")


def draw_page(server: PolicyServer) -> str:
    """The page as HTML that needs nothing else."""
    watch, spec = server.watch, server.spec
    pages = Environment(loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True)
    return pages.get_template("page.html").render(
        spec=spec,
        identity=server.identity,
        memoryless=server.memoryless,
        watch=watch,
        rates=watch.rates(),
        pictures=_pictures(watch.observation),
        state=_numbers(spec.state, watch.observation),
        task=watch.observation.get("task", ""),
        curves=[] if watch.actions is None else _curves(spec.action, watch.actions, spec.execute),
        width=WIDTH,
        height=HEIGHT,
    )


def _pictures(observation: Mapping[str, Any]) -> dict[str, str]:
    """Camera -> its picture as the address of an `img`."""
    found = {}
    for name, value in observation.items():
        if isinstance(value, np.ndarray) and value.ndim == 3:
            file = io.BytesIO()
            Image.fromarray(value).save(file, "PNG", compress_level=1)
            found[name] = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    return found


def _numbers(names: tuple[str, ...], observation: Mapping[str, Any]) -> list[tuple[str, str]]:
    state = observation.get("observation.state")
    return [] if state is None else [(name, f"{value:.4g}") for name, value in zip(names, state)]


def _curves(names: tuple[str, ...], actions: np.ndarray, execute: int) -> list[dict[str, Any]]:
    """One curve for each number of the actions (H, A), over its own range."""
    steps = np.linspace(0, WIDTH, max(len(actions), 2))[: len(actions)]
    found = []
    for k, name in enumerate(names):
        values = actions[:, k].astype(float)
        low, high = float(values.min()), float(values.max())
        rows = HEIGHT - 4 - (values - low) / ((high - low) or 1.0) * (HEIGHT - 8)
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(steps, rows))
        done = float(steps[min(execute, len(steps)) - 1])
        found.append({"name": name, "low": f"{low:.3g}", "high": f"{high:.3g}", "points": points, "done": done,
                      "colour": _COLOURS[k % len(_COLOURS)]})  # fmt: skip
    return found
