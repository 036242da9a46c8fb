"""Every latent-action learner on one dataset, with several training seeds (RLA-WM, Figs. A1 - A3; LaWAM, Figs. 5 and 10).

Same recordings, split, pairs, steps, batch, width and depth for all; RLA at several |z|. What is measured is in
`evaluation.latent_*`, on the pairs of `latent_settings`; what it says is in `latent_claims`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from foreact.core.presets import Preset, preset
from foreact.core.pretrained import load_model
from foreact.core.progress import ProgressFactory
from foreact.core.registry import card
from foreact.evaluation.latent_pairs import TRUE, Learner, fitted_latents, latents, other_episode
from foreact.evaluation.latent_picture import draw_transfer
from foreact.evaluation.latent_probes import probe, probe_frames
from foreact.evaluation.latent_reconstruction import NoiseToLatent, reconstruct, topology
from foreact.evaluation.latent_rollouts import roll_out
from foreact.evaluation.latent_transfer import transfer, transfer_of_truth
from foreact.evaluation.latent_values import EpisodeTable
from foreact.evaluation.results import Results
from foreact.studies.latent_claims import SUBSETS, verdicts
from foreact.studies.latent_settings import LatentSettings, frames_of
from foreact.studies.settings import LatentStudy
from foreact.studies.study import Study, Unit
from foreact.studies.trained import chosen_kinds, train_run
from foreact.studies.values import rows, stack

_SHARES = (1 / 32, 1 / 8, 1 / 2, 1)  # of the preset's |z|: 64 to 2048 in the paper


class LatentActions(Study):
    """A unit is a learner."""

    name = "latent_actions"

    def __init__(self, settings: LatentStudy, progress: ProgressFactory) -> None:
        super().__init__(settings, progress)
        self.learners = learners_of(settings)
        self.measured = LatentSettings.open(settings, progress)

    @property
    def units(self) -> Sequence[Unit]:
        """The learners."""
        return [Unit(name=name, folder=name) for name in self.learners]

    @property
    def about(self) -> dict[str, Any]:
        """The datasets, the split, the tokens and the protocol."""
        return {"study": self.name, **self.measured.about}

    def train(self, unit: Unit, seed: int, run: Path) -> None:
        """All on the pairs of the preset's RLA."""
        kind, options = self.learners[unit.name]
        encoder, image_size = frames_of(self.settings)
        train_run(
            self.settings, kind, run, self.progress, seed=seed, law=preset(self.settings.preset).latent_pairs,
            encoder=encoder, image_size=image_size, **options,
        )  # fmt: skip

    def score(self, unit: Unit, seed: int, run: Path) -> Results:
        """All measurements of a learner; leaves the picture `transfer.png` in its run."""
        return measure(self, unit.name, seed, run)

    def references(self) -> Results:
        """What is compared with, without any learner."""
        measured, seen = self.measured, EpisodeTable(model="true_tokens")
        goals = {subset: fixed for subset, (_, fixed) in measured.elsewhere.items()}
        for subset, pairs in {"held_out": measured.fixed, **goals}.items():
            transfer_of_truth(pairs, measured.readers[subset], seen, subset)
        tables = [*probe_frames(measured.training, measured.fixed), seen]
        return self.scored([v for table in tables for v in table.values], 0)

    def summarise(self, seeds: Sequence[Results]) -> Results:
        """Rows, verdicts and |z|."""
        values, settings = stack(seeds), self.settings
        sizes = {name: about["latent"] for results in seeds for name, about in results.models.items()}
        return Results(
            **self.about,
            seeds=(),
            rows=rows(values),
            settings={
                "preset": settings.preset,
                "steps": settings.steps or preset(settings.preset).train_latent.steps,
                "sizes": sizes,
            },
            verdicts=tuple(verdicts(values, sizes)),
        )


def measure(study: LatentActions, name: str, seed: int, run: Path) -> Results:
    """See `LatentActions.score`."""
    table, model, measured = EpisodeTable(model=name), load_model(run), study.measured
    learner = Learner.load(model, model.config.tokens, measured.recordings.cache.encoder)
    parts = 4 + len(measured.elsewhere)
    with study.progress(f"measure {name}, seed {seed}", "parts") as on_progress:
        training, fixed, mixed = measured.training, measured.fixed, measured.mixed
        fitted = fitted_latents(learner, training)
        mean_z = fitted.mean(dim=0)
        z = latents(learner, fixed, mean_z)
        reconstruct(learner, mixed, latents(learner, mixed, mean_z), table)
        on_progress(1, parts)
        topology(learner, fixed, z, NoiseToLatent.fit(fitted), table)
        probe(fitted, training, z, fixed, table, beside=measured.frame)
        on_progress(2, parts)
        roll_out(learner, measured.trajectories, measured.steps, mean_z, training.base(0.0).mean(dim=0), table)
        on_progress(3, parts)
        partner = np.argsort(other_episode(fixed.episodes))
        transfer(learner, fixed, z, fixed, partner, measured.readers["held_out"], table, "held_out")
        goals = {"another start": (fixed, partner)}
        on_progress(4, parts)
        for done, (subset, (mixed, goal)) in enumerate(measured.elsewhere.items()):
            reconstruct(learner, mixed, latents(learner, mixed, mean_z), table, subset)
            partner = np.resize(np.arange(len(goal.episodes)), len(fixed.episodes))
            transfer(learner, fixed, z, goal, partner, measured.readers[subset], table, subset)
            goals[SUBSETS[subset]] = (goal, partner)
            on_progress(5 + done, parts)
        draw_transfer(learner, fixed, z[TRUE], goals, run / "transfer.png")
    return replace(study.scored(table.values, seed), models={name: {"latent": mean_z.numel()}})


def learners_of(study: LatentStudy) -> dict[str, tuple[str, dict[str, Any]]]:
    """Name of a row -> kind and options of what is trained: RLA with several sizes of z, LaWM with views and without.

    Raises:
        ForeactError: an unknown learner.
    """
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for kind in chosen_kinds(study.models, "latent_action", what="learner"):
        if kind == "rla":
            sizes = study.latents or latent_sizes(preset(study.preset))
            found |= {f"rla-{size}": (kind, {"latent": size}) for size in sizes}
        else:
            found[card(kind).name] = (kind, {})
        if kind == "lawm":
            found["lawm-one-view"] = (kind, {"augment": False})
    return found


def latent_sizes(recipe: Preset) -> tuple[str, ...]:
    """Sizes |z| of RLA from a thirty-second of the preset's to the whole, as tokens x channels."""
    whole = recipe.latent_tokens * recipe.latent_channels
    sizes = []
    for share in _SHARES:
        tokens = max(1, round(share * recipe.latent_tokens))
        sizes.append(f"{tokens}x{max(1, round(share * whole) // tokens)}")
    return tuple(dict.fromkeys(sizes))
