"""How many steps, which solver: trained RLA-WMs sampled in many ways, on the same windows with the same noise.

Every row is compared, paired by episode, with 30 Euler steps of the first run (RLA-WM, section A.2). Runs that differ in how
they were built (merged condition tokens, say) are rows of the same table.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from foreact.core.errors import ForeactError
from foreact.core.pretrained import load_model
from foreact.core.progress import ProgressFactory
from foreact.evaluation.metrics import describe
from foreact.evaluation.results import Results
from foreact.evaluation.rollouts import Protocol
from foreact.evaluation.verdicts import Verdict
from foreact.nn.flow import Solver
from foreact.recordings.opening import open_recordings
from foreact.studies.sampler_variants import (
    METRICS,
    SamplerComparison,
    SamplerVariant,
    compare,
    flops,
    has_sampler,
)
from foreact.studies.settings import SamplerStudy
from foreact.studies.study import Unit
from foreact.studies.values import Values, smaller, stack

REFERENCE: tuple[Solver, int] = ("euler", 30)
SAMPLERS: tuple[tuple[Solver, int], ...] = (
    *(("euler", steps) for steps in (1, 2, 4, 8, 16, 30)),
    *(("midpoint", steps) for steps in (1, 2, 4, 8)),
    *(("heun", steps) for steps in (1, 2, 4, 8)),
)
PROTOCOL = Protocol()


class Samplers(SamplerComparison):
    """A unit is a trained run; nothing is trained here."""

    name = "samplers"
    protocol = PROTOCOL

    def __init__(self, settings: SamplerStudy, progress: ProgressFactory) -> None:
        super().__init__(settings, progress)
        if not settings.runs:
            raise ForeactError("samplers needs a trained rla-wm: --runs RUN ...")
        self.models: dict[str, Any] = {path.name: load_model(path) for path in settings.runs}
        for name, model in self.models.items():
            if not has_sampler(model.config):
                raise ForeactError(f"samplers compares ways to sample rla-wm, {name} holds a {model.config.kind}")
        if len(self.models) < len(settings.runs):
            raise ForeactError("two of the runs have the same folder name; rename one")
        tokens = next(iter(self.models.values())).config.tokens
        self.recordings = open_recordings(
            settings.data, camera=None, encoder=tokens.encoder, image_size=tokens.image_size, cache=settings.cache, progress=progress
        )  # fmt: skip
        for name, model in self.models.items():
            model.config.tokens.require(self.recordings.cache.spec, model=name, source=str(settings.data))
        self.reference = SamplerVariant(run=next(iter(self.models)), solver=REFERENCE[0], steps=REFERENCE[1])

    @property
    def units(self) -> Sequence[Unit]:
        """The runs."""
        return [Unit(name=name, folder=name) for name in self.models]

    @property
    def about(self) -> dict[str, Any]:
        """Which samplers there are, too."""
        return {**super().about, "settings": {"samplers": [list(sampler) for sampler in SAMPLERS]}}

    def train(self, unit: Unit, seed: int, run: Path) -> None:
        """Nothing."""

    def variants(self, run: str) -> list[SamplerVariant]:
        """Of one run."""
        return [SamplerVariant(run=run, solver=solver, steps=steps) for solver, steps in SAMPLERS]

    def score(self, unit: Unit, seed: int, run: Path) -> Results:
        """The run sampled in every way."""
        return self.score_variants(self.models[unit.name], self.variants(unit.name), PROTOCOL.seed)

    def summarise(self, seeds: Sequence[Results]) -> Results:
        """Differences to the reference."""
        values, variants = stack(seeds), [v for name in self.models for v in self.variants(name)]
        rows, paired = compare(values, variants, self.reference, len(PROTOCOL.boundaries))
        return Results(
            **self.about | {"settings": {"reference": str(self.reference)}},
            seeds=(),
            rows=rows,
            paired=paired,
            dataset={"name": self.recordings.dataset.root.resolve().name},
            cost={str(variant): flops(variant, self.models[variant.run]) for variant in variants},
            verdicts=tuple(verdicts(values, variants, self.reference, len(PROTOCOL.boundaries))),
        )


def verdicts(
    values: Values, variants: Sequence[SamplerVariant], reference: SamplerVariant, chunk: int
) -> list[Verdict]:
    """Whether a variant is better than the reference, metric by metric; nothing where one episode gives no interval."""
    told = []
    for variant in (v for v in variants if v != reference):
        for metric in (m for m in METRICS if m != "token_l1_of_mean"):
            key, base = variant.key(metric, chunk), reference.key(metric, chunk)
            if key in values and values[key].shape[1] > 1:
                claim = f"{variant} is better than {reference} in {describe(metric).label}"
                told += smaller(values, claim, key, base)
    return told
