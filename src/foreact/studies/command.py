"""What `foreact benchmark` does: one of the studies, its table and its verdicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from foreact.core.lock import locked
from foreact.core.progress import ProgressFactory
from foreact.core.terminal import show
from foreact.evaluation.results import Results
from foreact.studies import (
    actionless,
    coin_scores,
    latent_claims,
    planning,
    sampler_variants,
    settings,
    study,
    world_models,
)
from foreact.studies.cheaper import Cheaper
from foreact.studies.coin_world import Coins
from foreact.studies.latent_actions import LatentActions
from foreact.studies.samplers import Samplers

_STUDIES: dict[type, tuple[type[study.Study], Callable[[Results], Any]]] = {
    settings.CoinWorld: (Coins, coin_scores.table),
    settings.SamplerStudy: (Samplers, sampler_variants.table),
    settings.CheaperStudy: (Cheaper, sampler_variants.table),
    settings.LatentStudy: (LatentActions, latent_claims.markdown),
    settings.ActionlessStudy: (actionless.Actionless, actionless.table),
    settings.PlanningStudy: (planning.Planning, planning.table),
    settings.Arena: (world_models.WorldModels, world_models.table),
}
"""What runs a study, and what makes its results a table for the terminal."""


def run_study(asked: settings.Study, progress: ProgressFactory) -> None:
    """Run the study, print its table and verdicts, or that its time was over.

    Raises:
        ForeactError: bad input; see the studies.
    """
    kind, tabulate = _STUDIES[type(asked)]
    with locked(asked.out):
        results = study.run(kind(asked, progress))
    if results is None:
        print(f"{asked.out}: the slice is over and more is to be done; run the same command again")
        return
    table = tabulate(results)
    (print if isinstance(table, str) else show)(table)
    for told in results.verdicts:
        print(f"{told.verdict:14} {told.claim}: {told.numbers}")
    for name, seeds in results.diverged.items():
        print(f"{'diverged':14} {name}: training seeds {seeds}")
    print(f"results: {asked.out / 'results.json'}")
