"""What `foreact benchmark` does: one of the studies, its table and its verdicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich import print as show

from foreact.core.progress import Bar
from foreact.studies import (
    cheaper,
    coin_scores,
    coin_world,
    latent_actions,
    latent_claims,
    samplers,
    ways,
    world_models,
)
from foreact.studies.settings import Arena, CheaperStudy, CoinWorld, LatentStudy, SamplerStudy, Study

_STUDIES: dict[type, tuple[Callable[..., dict[str, Any]], Callable[[dict[str, Any]], Any]]] = {
    CoinWorld: (coin_world.run, coin_scores.table),
    SamplerStudy: (samplers.run, ways.table),
    CheaperStudy: (cheaper.run, ways.table),
    LatentStudy: (latent_actions.run, latent_claims.markdown),
    Arena: (world_models.run, world_models.table),
}
"""What runs a study, and what makes its results a table for the terminal."""


def run_study(study: Study, bar: Bar) -> None:
    """Run the study, print its table and verdicts.

    Raises:
        ForeactError: bad input; see the studies.
    """
    run, tabulate = _STUDIES[type(study)]
    results = run(study, bar=bar)
    table = tabulate(results)
    (print if isinstance(table, str) else show)(table)
    for told in results["verdicts"]:
        print(f"{told['verdict']:14} {told['claim']}: {told['numbers']}")
    for model, seeds in results["diverged"].items():
        print(f"{'diverged':14} {model}: training seeds {seeds}")
    print(f"results: {study.out / 'results.json'}")
