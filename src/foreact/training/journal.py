"""What a run says: one JSON line and TensorBoard scalars per logging interval, written by the main process alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

LOG_FILE = "log.jsonl"


class Journal:
    """Appends to `RUN/log.jsonl` and TensorBoard event files in `RUN/tensorboard`."""

    def __init__(self, run: Path, *, first_step: int) -> None:
        """Open the journal; lines that a resumed run will write again are dropped."""
        path = run / LOG_FILE
        kept = [line for line in read_log(run) if line["step"] <= first_step]
        path.write_text("".join(json.dumps(line) + "\n" for line in kept))
        self._file = open(path, "a", buffering=1)  # noqa: SIM115
        self._board = SummaryWriter(str(run / "tensorboard"), purge_step=first_step + 1)

    def write(self, step: int, values: dict[str, Any]) -> None:
        """Log `values` after `step` steps."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close both files."""
        self._file.close()
        self._board.close()


def read_log(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's log; what is no line, such as a last one that a kill cut short, is left out."""
    path = run / LOG_FILE
    texts = path.read_bytes().splitlines() if path.exists() else []
    return [line for line in map(_parsed, texts) if line is not None]


def _parsed(text: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(text)  # not strict: a gradient's norm may be infinite
    except (ValueError, RecursionError):
        return None
    return line if isinstance(line, dict) and isinstance(line.get("step"), int) else None
