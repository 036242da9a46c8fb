"""`foreact import`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from foreact.core.arguments import OutFolder
from foreact.core.progress import progress_bar


@dataclass(frozen=True, kw_only=True)
class Import:
    """Turn recordings of another format, or of too high a rate, into a LeRobot dataset.

    Says which columns it left out (clocks and counters are no actions) and which videos it resampled; refuses what it would have
    to guess.

    Attributes:
        source: a folder of videos (with csv or parquet actions of the same name, or without: actionless), ManiSkill's
            h5 + json recordings, IWS hdf5 episodes, or a LeRobot dataset that is to have a lower rate (--stride).
        out: folder of the LeRobot dataset.
        format: told from the files by default.
        fps: frames per second; the recordings' own by default. Videos of another or of a changing rate are resampled to it, unless
            a table has rows for their frames.
        camera: name of the camera, or which of the recorded ones.
        task: what the robot does, for recordings that do not say.
        height: scale the pictures to this even height.
        actor: ManiSkill: the object whose pose is kept; the only one that moves by default.
        actions: IWS: which of the recorded actions are kept, reached poses by default. LeRobot with --stride: last for actions that
            are targets, sum for changes.
        stride: LeRobot: take every such frame, so that more moves from one to the next.
    """

    source: Annotated[Positional[Path], arg(metavar="SOURCE")]
    out: OutFolder
    format: Literal["auto", "folder", "maniskill", "iws", "lerobot"] = "auto"
    fps: int | None = None
    camera: str | None = None
    task: str | None = None
    height: int | None = None
    actor: str | None = None
    actions: Literal["reached", "joints", "commanded", "last", "sum"] | None = None
    stride: int | None = None

    def run(self) -> None:
        """Import."""
        from foreact.data.importers import import_recordings

        with progress_bar(f"import {self.source.name}", "episodes") as on_progress:
            episodes = import_recordings(**vars(self), on_progress=on_progress)
        print(f"{self.out}: {episodes} episodes. Next: foreact inspect {self.out}")
