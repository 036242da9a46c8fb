"""What makes imagination cheaper, and what it costs in accuracy, with several training seeds.

RLA-WM is trained plain, with merged condition tokens, and with a merged decoder, too; the last is the teacher of students with
one step, one of them with one block in its flow. All have the same data and batch, and are compared with 30 Euler steps of the
plain one (RLA-WM, section A.2). DINO-WM of the same depth stands beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from foreact.core.presets import preset
from foreact.core.pretrained import load_model
from foreact.core.progress import ProgressFactory
from foreact.evaluation.metrics import describe
from foreact.evaluation.results import Results
from foreact.evaluation.rollouts import Protocol
from foreact.evaluation.verdicts import Verdict
from foreact.recordings.opening import open_recordings
from foreact.studies.sampler_variants import METRICS, SamplerComparison, SamplerVariant, compare, flops
from foreact.studies.settings import CheaperStudy
from foreact.studies.study import Unit
from foreact.studies.trained import train_run
from foreact.studies.values import Values, smaller, stack

PROTOCOL = Protocol()
REFERENCE = SamplerVariant(run="plain", solver="euler", steps=30)
VARIANTS = (
    REFERENCE,
    SamplerVariant(run="plain", solver="midpoint"),
    SamplerVariant(run="merged-condition", solver="midpoint"),
    SamplerVariant(run="merged", solver="euler", steps=30),
    SamplerVariant(run="merged", solver="midpoint"),
    SamplerVariant(run="student", solver="euler"),
    SamplerVariant(run="student-shallow", solver="euler"),
    SamplerVariant(run="dino-wm"),
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
"""Folder -> what is trained, and its options; `rla` and `teacher` are folders beside it."""
_PARTS = ("rla", "teacher")


class Cheaper(SamplerComparison):
    """A unit is a run of `_RUNS`."""

    name = "cheaper"

    def __init__(self, settings: CheaperStudy, progress: ProgressFactory) -> None:
        super().__init__(settings, progress)
        self.protocol = PROTOCOL
        sizes = preset(settings.preset)
        self.recordings = open_recordings(
            settings.data, camera=None, encoder=settings.encoder or sizes.encoder,
            image_size=settings.image_size or sizes.image_size, cache=settings.cache, progress=progress,
        )  # fmt: skip

    @property
    def units(self) -> Sequence[Unit]:
        """The runs, after what they stand on."""
        scored = {variant.run for variant in VARIANTS}
        return [
            Unit(
                name=name,
                folder=name,
                needs=tuple(options[part] for part in _PARTS if part in options),
                scored=name in scored,
            )
            for name, (_, options) in _RUNS.items()
        ]

    def train(self, unit: Unit, seed: int, run: Path) -> None:
        """As `_RUNS` says."""
        kind, options = _RUNS[unit.name]
        beside = {part: run.parent / options[part] for part in _PARTS if part in options}
        steps = self.settings.merged_steps if "merge" in options else None
        train_run(self.settings, kind, run, self.progress, seed=seed, steps=steps, **options | beside)

    def score(self, unit: Unit, seed: int, run: Path) -> Results:
        """The run in all its variants."""
        return self.score_variants(load_model(run), (v for v in VARIANTS if v.run == unit.name), seed)

    def summarise(self, seeds: Sequence[Results]) -> Results:
        """Differences to the reference."""
        values, chunk, settings = stack(seeds), len(PROTOCOL.boundaries), self.settings
        steps = settings.steps or preset(settings.preset).train.steps
        told = [v for v in VARIANTS if v.key(METRICS[0], chunk) in values]
        rows, paired = compare(values, told, REFERENCE, chunk)
        return Results(
            **self.about,
            seeds=(),
            rows=rows,
            paired=paired,
            dataset={"name": self.recordings.dataset.root.resolve().name},
            cost={str(variant): self._flops(variant) for variant in told},
            settings={
                "preset": settings.preset,
                "steps": steps,
                "merged_steps": settings.merged_steps or steps,
                "reference": str(REFERENCE),
            },
            verdicts=tuple(verdicts(values)),
        )

    def _flops(self, variant: SamplerVariant) -> dict[str, int]:
        """Of the first seed's run that is there."""
        runs = (self.out / f"seed{seed}" / variant.run for seed in range(self.seeds))
        return flops(variant, load_model(next(run for run in runs if (run / "config.json").exists())))


def verdicts(values: Values) -> list[Verdict]:
    """Whether each variant is as good as the reference, but for the margin."""
    told, chunk = [], len(PROTOCOL.boundaries)
    for variant in VARIANTS[1:]:
        for metric in METRICS:
            key, base = variant.key(metric, chunk), REFERENCE.key(metric, chunk)
            if key in values:
                claim = f"{variant} is at most {MARGIN:.0%} worse than {REFERENCE} in {describe(metric).label}"
                told += smaller(values, claim, key, base, bound=MARGIN * float(values[base].mean()))
    return told
