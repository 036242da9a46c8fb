"""What `foreact benchmark` does: one of the studies, its table and its verdicts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import print as show

from foreact.errors import ForeactError
from foreact.studies import coin_scores, coin_world, samplers, world_models


@dataclass(frozen=True, kw_only=True)
class StudyRequest:
    """What was asked for; see `foreact benchmark --help` for the fields."""

    study: str
    out: Path
    seeds: int
    models: tuple[str, ...] | None
    runs: tuple[Path, ...]
    data: Path | None
    preset: str
    image_size: int | None
    overrides: dict[str, Any]
    cache: Path | None


def run_study(request: StudyRequest, bar: world_models.Bar) -> None:
    """Run the study, print its table and verdicts.

    Raises:
        ForeactError: bad input; see the studies.
    """
    if request.study == "coin-world":
        results = coin_world.run(
            request.out,
            seeds=request.seeds,
            steps=request.overrides.get("steps", 1000),
            models=request.models or coin_world.WORLD_MODELS,
            bar=bar,
        )
        table = coin_scores.table(results)
    elif request.data is None:
        raise ForeactError(f"{request.study} needs recordings: --data DATASET")
    elif request.study == "samplers":
        study = samplers.SamplerStudy(runs=request.runs, data=request.data, out=request.out, cache=request.cache)
        results = samplers.run(study, bar=bar)
        table = samplers.table(results)
    else:
        arena = world_models.Arena(
            data=request.data,
            out=request.out,
            preset=request.preset,
            models=request.models or world_models.WORLD_MODELS,
            seeds=request.seeds,
            overrides=request.overrides,
            image_size=request.image_size,
            cache=request.cache,
        )
        results = world_models.run(arena, bar=bar)
        table = world_models.table(results)
    show(table)
    for told in results["verdicts"]:
        print(f"{told['verdict']:14} {told['claim']}: {told['numbers']}")
    for model, seeds in results["diverged"].items():
        print(f"{'diverged':14} {model}: training seeds {seeds}")
    print(f"results: {request.out / 'results.json'}")
