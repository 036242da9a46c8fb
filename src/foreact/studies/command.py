"""What `foreact benchmark` does: one of the studies, its table and its verdicts."""

from __future__ import annotations

from typing import Any

from rich import print as show

from foreact.progress import Bar
from foreact.studies import coin_scores, coin_world, latent_actions, latent_claims, samplers, world_models
from foreact.studies.requests import (
    ArenaRequest,
    CoinWorldRequest,
    LatentActionsRequest,
    SamplersRequest,
    StudyRequest,
)


def run_study(request: StudyRequest, bar: Bar) -> None:
    """Run the study, print its table and verdicts.

    Raises:
        ForeactError: bad input; see the studies.
    """
    results, table = _run(request, bar)
    (print if isinstance(table, str) else show)(table)
    for told in results["verdicts"]:
        print(f"{told['verdict']:14} {told['claim']}: {told['numbers']}")
    for model, seeds in results["diverged"].items():
        print(f"{'diverged':14} {model}: training seeds {seeds}")
    print(f"results: {request.out / 'results.json'}")


def _run(request: StudyRequest, bar: Bar) -> tuple[dict[str, Any], Any]:
    match request:
        case CoinWorldRequest():
            models = request.models or coin_world.WORLD_MODELS
            results = coin_world.run(request.out, seeds=request.seeds, steps=request.steps, models=models, bar=bar)
            return results, coin_scores.table(results)
        case SamplersRequest():
            study = samplers.SamplerStudy(runs=request.runs, data=request.data, out=request.out, cache=request.cache)
            results = samplers.run(study, bar=bar)
            return results, samplers.table(results)
        case LatentActionsRequest():
            results = latent_actions.run(_latent_study(request), bar=bar)
            return results, latent_claims.markdown(results)
        case ArenaRequest():
            results = world_models.run(_arena(request), bar=bar)
            return results, world_models.table(results)


def _arena(request: ArenaRequest) -> world_models.Arena:
    return world_models.Arena(
        data=request.data,
        out=request.out,
        preset=request.preset,
        models=request.models or world_models.WORLD_MODELS,
        seeds=request.seeds,
        overrides=request.overrides,
        image_size=request.image_size,
        cache=request.cache,
    )


def _latent_study(request: LatentActionsRequest) -> latent_actions.LatentStudy:
    return latent_actions.LatentStudy(
        data=request.data,
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
