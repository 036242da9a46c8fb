"""`foreact inspect`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from foreact.core.arguments import OutFile
from foreact.core.progress import progress_bar

if TYPE_CHECKING:
    from foreact.data.lerobot import LeRobotDataset

_SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Inspect:
    """Show what a dataset holds and every defect found; draw a contact sheet.

    Ends with status 0 if there are no defects, 1 if there are some, 2 if it could not look (no dataset there, wrong options).

    Attributes:
        dataset: a LeRobot dataset.
        episode: look into this episode alone: its times, the largest jump of every dimension, its pictures.
        json: print JSON and nothing else: the fields of foreact.data.inspect.Inspection (with --episode: of EpisodeInspection),
            and "schema", which is 1 as long as these keep their meaning.
        camera: which camera is drawn; the first by default, and all cameras of a single episode.
        contact_sheet: where the picture goes; contact_sheet.png by default, and nowhere with --json.
    """

    dataset: Annotated[Positional[Path], arg(metavar="DATASET")]
    episode: int | None = None
    json: bool = False
    camera: str | None = None
    contact_sheet: OutFile | None = None

    def run(self) -> None:
        """Look through it."""
        from dataclasses import asdict
        from json import dumps

        from foreact.core.terminal import show
        from foreact.data.inspect import Inspection, inspect_dataset, render_inspection
        from foreact.data.inspect_episode import EpisodeInspection, inspect_episode, render_episode
        from foreact.data.lerobot import LeRobotDataset

        recordings = LeRobotDataset(self.dataset, camera=self.camera)
        inspection: Inspection | EpisodeInspection
        if self.episode is None:
            with progress_bar("inspect", "episodes") as on_progress:
                inspection = inspect_dataset(recordings, on_progress=on_progress)
        else:
            inspection = inspect_episode(recordings, self.episode)
        if self.json:
            print(dumps({"schema": _SCHEMA, **asdict(inspection)}, indent=2, allow_nan=False))
        elif isinstance(inspection, Inspection):
            show(render_inspection(inspection))
        else:
            show(render_episode(inspection))
        self._draw(recordings)
        if inspection.defects:
            sys.exit(1)

    def _draw(self, recordings: LeRobotDataset) -> None:
        from foreact.data.contact_sheet import contact_sheet, episode_sheet

        path = self.contact_sheet or Path("contact_sheet.png")
        if self.json and not self.contact_sheet:
            return
        if self.episode is None:
            contact_sheet(recordings, path)
        else:
            episode_sheet(recordings, self.episode, path, camera=self.camera)
        if not self.json:
            print(f"contact sheet: {path}")
