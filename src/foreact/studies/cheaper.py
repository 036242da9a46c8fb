"""What makes imagination cheaper, and what it costs in accuracy, with several training seeds.

RLA-WM is trained plain, with merged condition tokens, and with a merged decoder, too; the last is the teacher of students with
one step, one of them with one block in its flow. All have the same data and batch, and are compared with 30 Euler steps of the
plain one (RLA-WM, section A.2). DINO-WM of the same depth stands beside them. Each seed's runs and scores lie in `out/seed<k>`
and are made once.

Shape legend: S training seeds, n held-out episodes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState

from foreact.core.errors import DivergedError, ForeactError
from foreact.core.presets import preset
from foreact.core.pretrained import load_model
from foreact.core.progress import Bar
from foreact.dreams.fast import FastWorldModel
from foreact.evaluation.metrics import describe
from foreact.evaluation.results import EpisodeValues, Results
from foreact.evaluation.rollouts import Protocol
from foreact.recordings.opening import open_recordings
from foreact.recordings.recordings import Recordings
from foreact.studies.scores import save_study, stack, stored
from foreact.studies.settings import CheaperStudy
from foreact.studies.trained import train_run
from foreact.studies.verdicts import Verdict, below
from foreact.studies.ways import Scores, Way, compare, difference, flops, score, windows_that_move

PROTOCOL = Protocol()
REFERENCE = Way(run="plain", solver="euler", steps=30)
WAYS = (
    REFERENCE,
    Way(run="plain", solver="midpoint"),
    Way(run="merged-condition", solver="midpoint"),
    Way(run="merged", solver="euler", steps=30),
    Way(run="merged", solver="midpoint"),
    Way(run="student", solver="euler"),
    Way(run="student-shallow", solver="euler"),
    Way(run="dino-wm"),
)
MARGIN = 0.02
"""As a share of the reference's score: a difference that is called none."""

_RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "rla": ("rla", {}),
    "rla-merged": ("rla", {"merge": 2}),
    "plain": ("rla_wm", {"rla": "rla"}),
    "merged-condition": ("rla_wm", {"rla": "rla", "merge": 2}),
    "merged": ("rla_wm", {"rla": "rla-merged", "merge": 2}),
    "student": ("rla_wm", {"teacher": "merged", "flow_steps": 1}),
    "student-shallow": ("rla_wm", {"teacher": "merged", "flow_steps": 1, "flow_depth": 1}),
    "dino-wm": ("dino_wm", {}),
}
"""Folder -> what is trained, and how; `rla` and `teacher` are folders beside it."""


def run(study: CheaperStudy, *, bar: Bar) -> dict[str, Any]:
    """Train and score what is not there yet, put the seeds together and write `out/results.json`.

    Raises:
        ForeactError: no seeds, a grid that cannot be merged, no usable episode, or runs and scores of other settings in `out`.
    """
    if study.seeds < 1:
        raise ForeactError("--seeds must be at least 1")
    recipe = preset(study.preset)
    recordings = open_recordings(
        study.data, camera=None, encoder=study.encoder or recipe.encoder,
        image_size=study.image_size or recipe.image_size, cache=study.cache, bar=bar,
    )  # fmt: skip
    diverged: dict[str, list[int]] = {}
    found = [_seed_scores(study, seed, recordings, diverged, bar) for seed in range(study.seeds)]
    values = stack(found)
    scores: dict[Way, Scores] = {
        way: {m: v for (name, m, _, _), v in values.items() if name == str(way)} for way in WAYS if _told(values, way)
    }
    if REFERENCE not in scores:
        raise ForeactError(f"the plain model's training diverged with every seed: {diverged}")
    results = {
        "schema": 1,
        "study": "cheaper",
        "dataset": study.data.name,
        "split_hash": recordings.split.hash,
        "preset": study.preset,
        "steps": study.steps or recipe.train.steps,
        "merged_steps": study.merged_steps or study.steps or recipe.train.steps,
        "seeds": list(range(study.seeds)),
        "diverged": diverged,
        "protocol": dataclasses.asdict(PROTOCOL),
        "reference": str(REFERENCE),
        "rows": compare(scores, {way: _flops(study, way, diverged) for way in scores}, REFERENCE),
        "verdicts": [dataclasses.asdict(v) for v in verdicts(scores)],
    }
    save_study(study, results)
    return results


def verdicts(scores: Mapping[Way, Scores]) -> list[Verdict]:
    """Whether each way is as good as the reference, but for the margin."""
    told = []
    for way in (w for w in scores if w != REFERENCE):
        for metric, base in scores[REFERENCE].items():
            claim = f"{way} is at most {MARGIN:.0%} worse than {REFERENCE} in {describe(metric).label}"
            told.append(below(claim, difference(scores, way, REFERENCE, metric), MARGIN * float(base.mean())))
    return told


def _told(values: Mapping[tuple[str, str, str, int], np.ndarray], way: Way) -> bool:
    return any(name == str(way) for name, *_ in values)


def _flops(study: CheaperStudy, way: Way, diverged: Mapping[str, list[int]]) -> int:
    """Of the run of the first seed that did not diverge."""
    seed = next(s for s in range(study.seeds) if s not in diverged.get(way.run, []))
    return flops(way.of(FastWorldModel(load_model(study.out / f"seed{seed}" / way.run))).config)


def _seed_scores(
    study: CheaperStudy, seed: int, recordings: Recordings, diverged: dict[str, list[int]], bar: Bar
) -> Results:
    """One seed's scores, made again only where a way is missing in them or they were made on other grounds."""
    folder = study.out / f"seed{seed}"
    failed = _train_seed(study, seed, folder, bar)
    for name in failed:
        diverged.setdefault(name, []).append(seed)
    wanted = [way for way in WAYS if way.run not in failed]
    path = folder / "results.json"
    about: dict[str, Any] = {
        "split_hash": recordings.split.hash,
        "encoder": recordings.cache.spec.fingerprint,
        "protocol": dataclasses.asdict(PROTOCOL),
    }
    if done := stored(path, about):
        kept = tuple(v for v in done.episodes if v.model in map(str, wanted))
        if {str(way) for way in wanted} <= {v.model for v in kept}:
            return dataclasses.replace(done, episodes=kept)
    device = PartialState().device
    runs = {name: FastWorldModel(load_model(folder / name).to(device)) for name in {way.run for way in wanted}}
    models = {way: way.of(runs[way.run]) for way in wanted}
    windows = windows_that_move(recordings, PROTOCOL)
    with bar(f"score seed {seed}", "windows") as on_progress:
        scores = score(models, recordings, windows, PROTOCOL, on_progress)
    episodes = tuple(sorted({w.episode for w in windows}))
    values = [
        EpisodeValues(
            model=str(way), metric=metric, chunk=1, subset="moving", episodes=episodes, values=tuple(map(float, row[0]))
        )
        for way, metrics in scores.items()
        for metric, row in metrics.items()
    ]
    results = Results(seeds=(seed,), rows=(), episodes=tuple(values), **about)
    results.save(path)
    return results


def _train_seed(study: CheaperStudy, seed: int, folder: Path, bar: Bar) -> list[str]:
    """Train the runs of a seed; those that diverged, and those that needed them, are returned."""
    failed: list[str] = []
    for name, (model, choices) in _RUNS.items():
        beside = {key: folder / choices[key] for key in ("rla", "teacher") if key in choices}
        if any(path.name in failed for path in beside.values()):
            failed.append(name)
            continue
        try:
            steps = study.merged_steps if "merge" in choices else None
            train_run(study, model, folder / name, bar, seed=seed, steps=steps, **choices | beside)
        except DivergedError:
            failed.append(name)
    return failed
