"""`foreact fit`: from recordings to models, results and a report, stage by stage; what is done is not done again."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

from accelerate import PartialState

from foreact.core.files import write_json
from foreact.core.lock import locked
from foreact.core.presets import preset
from foreact.core.pretrained import GENERIC
from foreact.core.progress import ProgressFactory, overall_bar, progress_bar
from foreact.core.registry import card
from foreact.core.terminal import printable, show
from foreact.data.contact_sheet import contact_sheet
from foreact.data.inspect import inspect_dataset
from foreact.evaluation.report import summary_table, write_report
from foreact.evaluation.results import Results
from foreact.evaluation.session import evaluate_runs
from foreact.evaluation.summary import details, verdict
from foreact.fitting.measure import measure
from foreact.fitting.motion import advise
from foreact.fitting.overall import Overall
from foreact.fitting.planning import (
    INSPECTION,
    REPORT,
    RESULTS,
    Left,
    describe_machine,
    minutes,
    require_space,
    table,
    what_is_left,
    within,
)
from foreact.fitting.request import FitRequest, Setup, prepare, run_folder
from foreact.fitting.stages import Plan
from foreact.recordings.opening import open_recordings
from foreact.training.journal import read_log
from foreact.training.run import run_training

_SHOWN = 5
"""Defects that are told; all stand in the file."""


def run_fit(request: FitRequest) -> None:
    """Do all that is not done yet, and say beforehand how long it takes and afterwards what came of it.

    Raises:
        ForeactError: bad input, other settings than an earlier start had, a disk that is too small; what was done stays.
    """
    with locked(request.out):
        _fit(request)


def _fit(request: FitRequest) -> None:
    setup = prepare(request, progress_bar)
    plan = Plan.load(request.out, setup.settings) or _plan(setup)
    left = what_is_left(setup, plan)
    if setup.why_no_world_model:
        print(f"{setup.why_no_world_model}: RLA and the image decoder are trained, and no world model", flush=True)
    starts = [card(kind).label for kind in setup.kinds if setup.request.start(kind)]
    if starts:
        print(
            f"{' and '.join(starts)} begin with the weights that ship (systems/{GENERIC}); --from-scratch does not",
            flush=True,
        )
    if any(part.pieces for part in left):
        begun = not all(part.whole for part in left)
        print(f"What is {'left' if begun else 'to be done'}, as measured on {describe_machine(PartialState().device)}:")
        show(table(left))
        require_space(setup, left)
        plan.save(request.out, setup.settings)
        print(
            f"about {minutes(sum(part.seconds for part in left))}; Ctrl-C stops, the same command goes on", flush=True
        )
        _run_stages(setup, left)
    _conclude(setup)


def _plan(setup: Setup) -> Plan:
    with progress_bar("measure this machine", "stages") as on_progress:
        stages = measure(setup, on_progress)
    if setup.request.minutes is not None:
        return within(stages, setup.request.minutes)
    return Plan(stages=stages)


def _run_stages(setup: Setup, left: Sequence[Left]) -> None:
    encodings = iter(setup.encodings.items())
    with overall_bar() as report:
        overall = Overall(left, report)
        for part in left:
            encoding = next(encodings) if part.stage.name.startswith("encode") else None
            if not part.pieces:
                continue
            with overall.stage(part) as stage_progress:
                if part.stage.kind:
                    run_training(setup.training(part.stage.kind, setup.request.out, part.stage.steps), stage_progress)
                elif encoding is not None:
                    (encoder, size), frames = encoding
                    _encode(setup, encoder, size, frames=frames, stage_progress=stage_progress)
                else:
                    {"inspect": _inspect, "evaluate": _evaluate}[part.stage.name](setup, stage_progress)


def _inspect(setup: Setup, stage_progress: ProgressFactory) -> None:
    out = setup.request.out
    found = []
    for dataset in setup.datasets:
        with stage_progress("inspect", "episodes") as on_progress:
            found.append(inspect_dataset(dataset, on_progress=on_progress))
    contact_sheet(setup.datasets[0], out / "contact_sheet.png")
    write_json(out / INSPECTION, [dataclasses.asdict(inspection) for inspection in found])
    defects = [defect for inspection in found for defect in inspection.defects]
    for defect in defects[:_SHOWN]:
        print(f"defect: {printable(defect)}", file=sys.stderr)
    if len(defects) > _SHOWN:
        print(f"and {len(defects) - _SHOWN} more defects, all in {out / INSPECTION}", file=sys.stderr)


def _encode(setup: Setup, encoder: str, size: int, *, frames: bool, stage_progress: ProgressFactory) -> None:
    asked = setup.recordings
    recordings = open_recordings(
        asked["data"],
        camera=asked["camera"],
        encoder=encoder,
        image_size=size,
        cache=asked["cache"],
        frames=frames,
        skip_missing=asked["skip_missing"],
        splits=setup.splits,
        progress=stage_progress,
    )
    if advice := advise(recordings, preset(setup.request.preset).horizon):
        print(advice, flush=True)


def _evaluate(setup: Setup, stage_progress: ProgressFactory) -> None:
    out, asked = setup.request.out, setup.request.recordings
    assert setup.protocol is not None
    results = evaluate_runs(
        [run_folder(out, kind) for kind in setup.world_models],
        setup.datasets[0].root,
        protocol=setup.protocol,
        rla=None,
        image_decoder=None,
        camera=setup.datasets[0].camera,
        cache=asked["cache"],
        progress=stage_progress,
    )
    results = dataclasses.replace(results, dataset={**results.dataset, "name": setup.name})
    results.save(out / RESULTS)
    write_report(results, out / REPORT)


def _conclude(setup: Setup) -> None:
    """The few numbers that matter, and what to do next."""
    out, data = setup.request.out, setup.datasets[0].root
    if setup.protocol is None:
        for kind in setup.kinds:
            last = (read_log(run_folder(out, kind)) or [{}])[-1]
            loss = last.get("held_out_loss", last.get("loss"))
            print(f"{card(kind).label}: " + (f"loss on held-out data {loss:.3g}" if loss else "its log is empty"))
        print(f"Next: foreact benchmark latent-actions --data {data} --out {out / 'latent-actions'}")
        return
    results = Results.load(out / RESULTS)
    show(summary_table(results))
    for sentence in filter(None, (verdict(results), *details(results))):
        print(sentence)
    print(f"report: {out / REPORT}")
    print(f"Next: foreact claims {out / 'rla'} --data {data} --results {out / RESULTS} (what z says)")
