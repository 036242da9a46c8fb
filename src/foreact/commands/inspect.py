"""`foreact inspect`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from foreact.core.arguments import OutFile
from foreact.core.progress import progress_bar


@dataclass(frozen=True, kw_only=True)
class Inspect:
    """Show what a dataset holds and every defect found; draw a contact sheet.

    Attributes:
        dataset: a LeRobot dataset.
        camera: which camera is drawn; the first by default.
        contact_sheet: where the picture goes.
    """

    dataset: Annotated[Positional[Path], arg(metavar="DATASET")]
    camera: str | None = None
    contact_sheet: OutFile = Path("contact_sheet.png")

    def run(self) -> None:
        """Look through it."""
        from foreact.core.terminal import show
        from foreact.data.inspect import contact_sheet, inspect_dataset, render_inspection
        from foreact.data.lerobot import LeRobotDataset

        recordings = LeRobotDataset(self.dataset, camera=self.camera)
        with progress_bar("inspect", "episodes") as on_progress:
            inspection = inspect_dataset(recordings, on_progress=on_progress)
        show(render_inspection(inspection))
        contact_sheet(recordings, self.contact_sheet)
        print(f"contact sheet: {self.contact_sheet}")
