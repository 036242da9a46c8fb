"""What `foreact benchmark` does: one of the studies, its table and its verdicts."""

from __future__ import annotations

from typing import Any

from rich import print as show

from foreact.progress import Bar
from foreact.studies import coin_scores, coin_world, latent_actions, latent_claims, samplers, world_models
from foreact.studies.settings import Arena, CoinWorld, LatentStudy, SamplerStudy, Study


def run_study(study: Study, bar: Bar) -> None:
    """Run the study, print its table and verdicts.

    Raises:
        ForeactError: bad input; see the studies.
    """
    results, table = _run(study, bar)
    (print if isinstance(table, str) else show)(table)
    for told in results["verdicts"]:
        print(f"{told['verdict']:14} {told['claim']}: {told['numbers']}")
    for model, seeds in results["diverged"].items():
        print(f"{'diverged':14} {model}: training seeds {seeds}")
    print(f"results: {study.out / 'results.json'}")


def _run(study: Study, bar: Bar) -> tuple[dict[str, Any], Any]:
    match study:
        case CoinWorld():
            results = coin_world.run(study, bar=bar)
            return results, coin_scores.table(results)
        case SamplerStudy():
            results = samplers.run(study, bar=bar)
            return results, samplers.table(results)
        case LatentStudy():
            results = latent_actions.run(study, bar=bar)
            return results, latent_claims.markdown(results)
        case Arena():
            results = world_models.run(study, bar=bar)
            return results, world_models.table(results)
