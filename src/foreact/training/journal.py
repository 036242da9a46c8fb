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
    """The lines of a run's log; a last line that a kill cut short is left out."""
    path = run / LOG_FILE
    lines = []
    for text in path.read_text().splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines
