"""How many steps, which solver: one or more trained RLA-WMs sampled in many ways, on the same windows with the same noise.

Every row is compared, paired by episode, with 30 Euler steps of the first run (RLA-WM, section A.2). Runs that differ in how
they were built (merged condition tokens, say) are rows of the same table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from accelerate import PartialState

from foreact.core.errors import ForeactError
from foreact.core.pretrained import load_model
from foreact.core.progress import Bar
from foreact.dreams.fast import FastWorldModel
from foreact.evaluation.metrics import describe
from foreact.evaluation.rollouts import Protocol
from foreact.nn.flow import Solver
from foreact.recordings.opening import open_recordings
from foreact.studies.scores import save_study
from foreact.studies.settings import SamplerStudy
from foreact.studies.verdicts import Verdict, below
from foreact.studies.ways import Scores, Way, compare, difference, flops, has_sampler, score, windows_that_move

REFERENCE: tuple[Solver, int] = ("euler", 30)
SAMPLERS: tuple[tuple[Solver, int], ...] = (
    *(("euler", steps) for steps in (1, 2, 4, 8, 16, 30)),
    *(("midpoint", steps) for steps in (1, 2, 4, 8)),
    *(("heun", steps) for steps in (1, 2, 4, 8)),
)
PROTOCOL = Protocol()


def run(study: SamplerStudy, *, bar: Bar) -> dict[str, Any]:
    """Sample every run in every way and write `out/results.json`.

    Raises:
        ForeactError: no run, another kind of model, tokens of another encoder, or no usable episode.
    """
    if not study.runs:
        raise ForeactError("samplers needs a trained rla-wm: --runs RUN ...")
    models: dict[str, Any] = {path.name: load_model(path) for path in study.runs}
    for name, model in models.items():
        if not has_sampler(model.config):
            raise ForeactError(f"samplers compares ways to sample rla-wm, {name} holds a {model.config.kind}")
    if len(models) < len(study.runs):
        raise ForeactError("two of the runs have the same folder name; rename one")
    tokens = next(iter(models.values())).config.tokens
    recordings = open_recordings(
        study.data, camera=None, encoder=tokens.encoder, image_size=tokens.image_size, cache=study.cache, bar=bar
    )
    for name, model in models.items():
        model.config.tokens.require(recordings.cache.spec, model=name, source=str(study.data))
    device = PartialState().device
    ways = [Way(run=name, solver=solver, steps=steps) for name in models for solver, steps in SAMPLERS]
    runs = {name: FastWorldModel(model.to(device)) for name, model in models.items()}
    fast = {way: way.of(runs[way.run]) for way in ways}
    windows = windows_that_move(recordings, PROTOCOL)
    with bar("sample", "windows") as on_progress:
        scores = score(fast, recordings, windows, PROTOCOL, on_progress)
    reference = Way(run=ways[0].run, solver=REFERENCE[0], steps=REFERENCE[1])
    results = {
        "schema": 1,
        "study": "samplers",
        "dataset": recordings.dataset.root.name,
        "split_hash": recordings.split.hash,
        "seeds": [PROTOCOL.seed],
        "protocol": dataclasses.asdict(PROTOCOL),
        "reference": str(reference),
        "rows": compare(scores, {way: flops(model.config) for way, model in fast.items()}, reference),
        "verdicts": [dataclasses.asdict(v) for v in verdicts(scores, reference)],
        "diverged": {},
    }
    save_study(study, results)
    return results


def verdicts(scores: Mapping[Way, Scores], reference: Way) -> list[Verdict]:
    """Whether a way is better than the reference, metric by metric; nothing where one episode gives no interval."""
    return [
        below(
            f"{way} is better than {reference} in {describe(metric).label}", difference(scores, way, reference, metric)
        )
        for way, metrics in scores.items()
        for metric, values in metrics.items()
        if way != reference and metric != "token_l1_of_mean" and values.shape[1] > 1
    ]
