"""`foreact fit`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from foreact.commands.options import RecordingOptions
from foreact.core.arguments import OutFolder, Seed
from foreact.studies.settings import PresetName


@dataclass(frozen=True, kw_only=True)
class Fit(RecordingOptions):
    """From videos to a report: inspect, encode, train RLA, RLA-WM and the image decoder, evaluate; run again to go on.

    It says beforehand how long that takes here and how much disk it needs, as measured on a few steps of everything.

    Attributes:
        data: LeRobot datasets; of several, PATH:WEIGHT says how often each is drawn from, PATH@CAMERA which camera is seen.
        out: folder of the runs, of results.json and of report.html.
        preset: sizes and training recipes.
        encoder: tiny, a Hugging Face id, or a folder; the preset's by default.
        image_size: side of the square frames that the encoder sees, in pixels; the preset's by default.
        compare: world models to be trained and evaluated beside, such as dino-wm.
        steps: optimiser steps of every training; the preset's by default.
        minutes: for everything: trainings get as many steps as that allows on this machine, at least a quarter of the preset's
            and at most all.
        seed: of the trainings; the preset's by default.
        from_scratch: begin with fresh weights; by default RLA and image decoder adapt those that ship, where these are of the preset
            and encoder.
        name: what the dataset is called in the report; its folder's name by default.
    """

    data: Annotated[Positional[tuple[str, ...]], arg(metavar="DATA [DATA ...]", help_behavior_hint="(required)")]
    out: OutFolder
    preset: PresetName = "tiny"
    encoder: str | None = None
    image_size: int | None = None
    compare: Annotated[tuple[str, ...], arg(metavar="MODEL [MODEL ...]")] = ()
    steps: int | None = None
    minutes: float | None = None
    seed: Seed | None = None
    from_scratch: bool = False
    name: str | None = None

    def run(self) -> None:
        """Fit."""
        from foreact.fitting.request import FitRequest
        from foreact.fitting.run import run_fit

        run_fit(
            FitRequest(
                recordings=self.recordings(self.data),
                out=self.out,
                preset=self.preset,
                encoder=self.encoder,
                image_size=self.image_size,
                compare=self.compare,
                steps=self.steps,
                minutes=self.minutes,
                seed=self.seed,
                from_scratch=self.from_scratch,
                name=self.name,
            )
        )
