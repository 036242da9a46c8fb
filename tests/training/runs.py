"""Trainings of real models on a small dataset, as `foreact train` asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from foreact.core.progress import OnProgress
from foreact.core.registry import card
from foreact.encoders.tiny import TinyEncoderConfig
from foreact.training.run import TrainRequest, run_training


class Stopped(Exception):
    """A training was stopped on purpose."""


class Runs:
    """Runs under a folder, over one dataset and a small encoder."""

    def __init__(self, root: Path, data: Path) -> None:
        self.root, self.data = root, data
        TinyEncoderConfig(stem=(8, 8, 8), dim=24, depth=1, heads=3).build().save_pretrained(root / "encoder")

    def train(self, kind: str, out: Path, *, stop: int | None = None, data: Path | None = None, **options: Any) -> Path:
        """Train for four steps with a checkpoint after two; stopped before the step `stop` where given."""
        overrides = {"steps": 4, "batch_size": 4, "precision": "no", "save_every": 2, "log_every": 1}
        chosen = {"encoder": str(self.root / "encoder")} | options
        request = TrainRequest(
            kind=kind,
            options=card(kind).training(**chosen),
            data=data or self.data,
            out=out,
            cache=self.root / "cache",
            overrides=overrides,
        )

        @contextmanager
        def progress(title: str, unit: str) -> Iterator[OnProgress]:
            def on_progress(done: int, total: int, values: dict[str, float] | None = None) -> None:
                if unit == "steps" and done == stop:
                    raise Stopped

            yield on_progress

        with suppress(Stopped):
            run_training(request, progress)
        return out
