"""Before a fit: how many steps the time allows, what is still to be done, and whether the disk is large enough."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.table import Table

from foreact.core.errors import ForeactError
from foreact.core.files import byte_size
from foreact.core.machine import machine
from foreact.core.precision import bf16_pays
from foreact.core.pretrained import WEIGHTS_FILE, read_kind
from foreact.encoders.loading import load_encoder
from foreact.fitting.request import Setup, run_folder
from foreact.fitting.stages import Piece, Plan, Stage, total_disk
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
        pieces: of its work that are left, with what is left of each; none where it is done.
        disk: bytes still to be written.
    """

    stage: Stage
    pieces: tuple[Piece, ...]
    disk: int

    @classmethod
    def all_of(cls, stage: Stage, share: float = 1.0) -> Left:
        """A share of every piece of a stage; none where the share is 0."""
        pieces = tuple(replace(piece, count=round(share * piece.count)) for piece in stage.pieces if share)
        return cls(stage=stage, pieces=pieces, disk=stage.disk if share else 0)

    @property
    def whole(self) -> bool:
        """Whether nothing of it is done."""
        return self.pieces == self.stage.pieces

    @property
    def seconds(self) -> float:
        """Of work; what is fixed comes again, also where a stage goes on."""
        return (self.stage.fixed if self.pieces else 0.0) + sum(piece.count * piece.seconds for piece in self.pieces)


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
    """Every stage with what is still to be done of it."""
    out, found = setup.request.out, []
    encodings = iter(setup.encodings.items())
    for stage in plan.stages:
        if stage.name.startswith("encode"):
            (encoder, size), frames = next(encodings)
            found.append(_left_to_encode(setup, stage, encoder, size, frames=frames))
        elif stage.kind:
            run = run_folder(out, stage.kind)
            steps = stage.steps if read_kind(run) == stage.kind else min(steps_done(run), stage.steps - 1)
            found.append(Left.all_of(stage, 1 - steps / stage.steps))
        else:
            done = _evaluated(setup) if stage.name == "evaluate" else (out / INSPECTION).exists()
            found.append(Left.all_of(stage, float(not done)))
    return tuple(found)


def _left_to_encode(setup: Setup, stage: Stage, encoder: str, size: int, *, frames: bool) -> Left:
    """Tokens, and frames where they are kept, that the cache does not hold yet."""
    model = load_encoder(encoder, image_size=size)
    root, planned, pieces, disk = cache_root(setup.request.recordings["cache"]), iter(stage.pieces), [], 0
    for dataset, split in zip(setup.datasets, setup.splits, strict=True):
        cache = TokenCache.at(dataset, model, root, episodes=(*split.train, *split.validation))
        missing = cache.missing()
        pieces += [
            replace(next(planned), count=missing[name]) for name in (("tokens", "frames") if frames else ("tokens",))
        ]
        disk += cache.required_bytes(frames=frames)
    return Left(stage=stage, pieces=tuple(piece for piece in pieces if piece.count), disk=disk)


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
    runs = total_disk([part.stage for part in left if part.pieces and not part.stage.name.startswith("encode")])
    tokens = sum(part.disk for part in left if part.stage.name.startswith("encode"))
    needs = {out: runs, cache: tokens}
    for folder in needs:
        folder.mkdir(parents=True, exist_ok=True)
    one_disk = out.stat().st_dev == cache.stat().st_dev
    for folder, needed in ({out: runs + tokens} if one_disk else needs).items():
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise ForeactError(
                f"this fit needs {byte_size(needed)} on the disk of {folder} ({byte_size(tokens)} of tokens in {cache}, "
                f"{byte_size(runs)} of runs), which has {byte_size(free)} free: make room, or choose another --out or --cache"
            )


def table(left: Sequence[Left]) -> Table:
    """Stages with their work, time and disk, and the sum."""
    shown = Table()
    for heading in ("stage", "work", "time", "disk"):
        shown.add_column(heading, justify="left" if heading == "stage" else "right")
    for part in left:
        told = [piece for piece in part.pieces if piece.told] or part.pieces
        work = f"{sum(piece.count for piece in told):,} {told[0].unit}" if told else "done"
        shown.add_row(part.stage.name, work, *((minutes(part.seconds), byte_size(part.disk)) if told else ("", "")))
    shown.add_section()
    seconds, disk = sum(part.seconds for part in left), sum(part.disk for part in left)
    shown.add_row("all", "", minutes(seconds), byte_size(disk), style="bold")
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
