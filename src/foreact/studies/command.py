"""What `foreact benchmark` does: one of the studies, its table and its verdicts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import print as show

from foreact.errors import ForeactError
from foreact.progress import Bar
from foreact.studies import coin_scores, coin_world, latent_actions, latent_claims, samplers, world_models


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
    encoder: str | None = None
    latents: tuple[str, ...] | None = None
    unseen: Path | None = None
    embodiment: Path | None = None
    pairs: int = 512
    seconds: float = 1.2


def run_study(request: StudyRequest, bar: Bar) -> None:
    """Run the study, print its table and verdicts.

    Raises:
        ForeactError: bad input; see the studies.
    """
    table: Any
    if request.study == "coin-world":
        results = coin_world.run(
            request.out,
            seeds=request.seeds,
            steps=request.overrides.get("steps", 1000),
            models=request.models or coin_world.WORLD_MODELS,
            bar=bar,
        )
        table = coin_scores.table(results)
    elif request.study == "samplers":
        study = samplers.SamplerStudy(runs=request.runs, data=_data(request), out=request.out, cache=request.cache)
        results = samplers.run(study, bar=bar)
        table = samplers.table(results)
    elif request.study == "latent-actions":
        results = latent_actions.run(_latent_study(request), bar=bar)
        table = latent_claims.markdown(results)
    else:
        arena = world_models.Arena(
            data=_data(request),
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
    (print if isinstance(table, str) else show)(table)
    for told in results["verdicts"]:
        print(f"{told['verdict']:14} {told['claim']}: {told['numbers']}")
    for model, seeds in results["diverged"].items():
        print(f"{'diverged':14} {model}: training seeds {seeds}")
    print(f"results: {request.out / 'results.json'}")


def _latent_study(request: StudyRequest) -> latent_actions.LatentStudy:
    return latent_actions.LatentStudy(
        data=_data(request),
        out=request.out,
        preset=request.preset,
        models=request.models or latent_actions.LATENT_ACTIONS,
        seeds=request.seeds,
        latents=request.latents,
        overrides=request.overrides,
        encoder=request.encoder,
        image_size=request.image_size,
        cache=request.cache,
        protocol=latent_actions.LatentProtocol(pairs=request.pairs, seconds=request.seconds),
        unseen=request.unseen,
        embodiment=request.embodiment,
    )


def _data(request: StudyRequest) -> Path:
    if request.data is None:
        raise ForeactError(f"{request.study} needs recordings: --data DATASET")
    return request.data
