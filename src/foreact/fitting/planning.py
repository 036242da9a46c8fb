"""Before a fit: how many steps the time allows, what is still to be done, and whether the disk is large enough."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.table import Table

from foreact.core.errors import ForeactError
from foreact.core.machine import machine
from foreact.core.precision import bf16_pays
from foreact.core.pretrained import WEIGHTS_FILE, read_kind
from foreact.encoders.loading import load_encoder
from foreact.fitting.request import Setup, run_folder
from foreact.fitting.stages import Plan, Stage, total_disk
from foreact.recordings.opening import cache_root
from foreact.recordings.token_cache import TokenCache
from foreact.training.checkpoint import steps_done

FEWEST = 0.25
"""Smallest share of a preset's steps that still makes a model worth looking at."""
INSPECTION, RESULTS, REPORT = "inspection.json", "results.json", "report.html"


@dataclass(frozen=True, kw_only=True)
class Left:
    """What is still to be done of a stage.

    Attributes:
        stage: as planned.
        share: of its work, from 0 (done) to 1.
    """

    stage: Stage
    share: float

    @property
    def seconds(self) -> float:
        """Of work."""
        return self.share * self.stage.seconds


def within(stages: tuple[Stage, ...], minutes: float) -> Plan:
    """Trainings with an equal share of their steps, such that everything takes `minutes`: from a quarter of them to all."""
    stepping = sum(stage.steps * stage.pieces[0].seconds for stage in stages if stage.kind)
    other = sum(stage.seconds for stage in stages) - stepping
    share = min(1.0, max(FEWEST, (60 * minutes - other) / stepping))
    shortened = tuple(_shortened(stage, share) if stage.kind else stage for stage in stages)
    note = f"--minutes {minutes:g} allows all steps of the preset"
    if share < 1:
        note = f"--minutes {minutes:g} allows {share:.0%} of the preset's steps"
    if sum(stage.seconds for stage in shortened) > 60 * minutes * 1.02:
        note = f"--minutes {minutes:g} is too short here: these are the fewest steps that make sense, {FEWEST:.0%} of the preset's"
    return Plan(stages=shortened, note=note)


def _shortened(stage: Stage, share: float) -> Stage:
    (piece,) = stage.pieces
    return replace(stage, pieces=(replace(piece, count=max(1, math.floor(share * piece.count))),))


def what_is_left(setup: Setup, plan: Plan) -> tuple[Left, ...]:
    """Every stage with the share of its work that is still to be done."""
    out, found = setup.request.out, []
    encodings = iter(setup.encodings.items())
    for stage in plan.stages:
        share = 1.0
        if stage.name == "inspect":
            share = float(not (out / INSPECTION).exists())
        elif stage.name.startswith("encode"):
            (encoder, size), frames = next(encodings)
            share = _not_encoded(setup, encoder, size, frames=frames)
        elif stage.kind:
            run = run_folder(out, stage.kind)
            share = 0.0 if read_kind(run) == stage.kind else 1 - min(steps_done(run) / stage.steps, 0.99)
        elif stage.name == "evaluate":
            share = float(not _evaluated(setup))
        found.append(Left(stage=stage, share=share))
    return tuple(found)


def _not_encoded(setup: Setup, encoder: str, size: int, *, frames: bool) -> float:
    model = load_encoder(encoder, image_size=size)
    whole = TokenCache(setup.dataset, model, Path(".no-cache")).required_bytes(frames=frames)
    root = cache_root(setup.request.recordings["cache"])
    return TokenCache.at(setup.dataset, model, root).required_bytes(frames=frames) / whole


def _evaluated(setup: Setup) -> bool:
    """Whether there are results that are newer than every model."""
    results = setup.request.out / RESULTS
    weights = [run_folder(setup.request.out, kind) / WEIGHTS_FILE for kind in setup.kinds]
    there = results.exists() and all(path.exists() for path in weights)
    return there and all(results.stat().st_mtime >= path.stat().st_mtime for path in weights)


def require_space(setup: Setup, left: Sequence[Left]) -> None:
    """Refuse a disk that cannot hold what is still to be written.

    Raises:
        ForeactError: it is too small.
    """
    out, cache = setup.request.out, cache_root(setup.request.recordings["cache"])
    todo = [part for part in left if part.share > 0]
    runs = total_disk([part.stage for part in todo if not part.stage.name.startswith("encode")])
    tokens = sum(round(part.share * part.stage.disk) for part in todo if part.stage.name.startswith("encode"))
    needs = {out: runs, cache: tokens}
    for folder in needs:
        folder.mkdir(parents=True, exist_ok=True)
    one_disk = out.stat().st_dev == cache.stat().st_dev
    for folder, needed in ({out: runs + tokens} if one_disk else needs).items():
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise ForeactError(
                f"this fit needs {_size(needed)} on the disk of {folder} ({_size(tokens)} of tokens in {cache}, "
                f"{_size(runs)} of runs), which has {_size(free)} free: make room, or choose another --out or --cache"
            )


def table(left: Sequence[Left]) -> Table:
    """Stages with their work, time and disk, and the sum."""
    shown = Table()
    for heading in ("stage", "work", "time", "disk"):
        shown.add_column(heading, justify="left" if heading == "stage" else "right")
    for part in left:
        piece = part.stage.pieces[-1] if part.stage.name == "evaluate" else part.stage.pieces[0]
        count = math.ceil(part.share * piece.count)
        work = f"{count:,} {piece.unit}" if part.share else "done"
        shown.add_row(part.stage.name, work, minutes(part.seconds), _size(part.stage.disk) if part.share else "")
    seconds = sum(part.seconds for part in left)
    disk = total_disk([part.stage for part in left if part.share > 0])
    shown.add_section()
    shown.add_row("all", "", minutes(seconds), _size(disk), style="bold")
    return shown


def describe_machine(device: object) -> str:
    """The machine in a few words."""
    import torch

    found = machine(torch.device(str(device)))
    products = "bf16" if bf16_pays(str(found["device"]) if found["device"] == "cpu" else "cuda") else "float32"
    return f"{found['device']}, {found['threads']} threads, {products}"


def minutes(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _size(number: float) -> str:
    return f"{number / 1e9:.2f} GB" if number >= 1e8 else f"{number / 1e6:.1f} MB"
