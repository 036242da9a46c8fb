"""Resampled residuals: a regression's one answer plus its own errors in other episodes, as an ensemble.

A control for the energy score, which any spread of the right size improves: a sampler that is not better than that does not know
more of what is uncertain than how large errors are in general (Roulston and Smith, Tellus A 55, 2003, call it dressing).

Shape legend: K samples, S chunks, N patch tokens, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from foreact.core.contracts import WorldModel
from foreact.evaluation.rollouts import Protocol, Window, noise_seed
from foreact.evaluation.scoring import Scores, Truth, score_tokens

SUFFIX = "_dressed"
"""Of the row's name: `dino_wm_dressed`."""

EPISODES = 64
"""Whose errors are kept, at most."""

PROPER = ("token_energy_score", "token_energy_score_local")
"""What a regression with resampled residuals is scored by."""

Errors = Mapping[str, Mapping[int, Tensor]]
"""Model -> episode -> what happened minus what was imagined, (S, N, C)."""


@dataclass(frozen=True, kw_only=True)
class ResampledResiduals:
    """Errors of deterministic models, to be added to their answers in other episodes."""

    errors: Errors
    protocol: Protocol

    @classmethod
    def collect(
        cls,
        models: Mapping[str, WorldModel],
        windows: Sequence[Window],
        protocol: Protocol,
        error: Callable[[WorldModel, Window], Tensor],
    ) -> ResampledResiduals:
        """Errors in the first windows of at most `EPISODES` episodes, evenly spread; none where they are too few for K samples.

        Args:
            models: of which the deterministic ones are taken.
            windows: all that are evaluated.
            protocol: K and the seed.
            error: what happened minus what a model imagined in a window, (S, N, C).
        """
        firsts = list({w.episode: w for w in reversed(windows)}.values())[::-1]
        chosen = [firsts[i] for i in np.unique(np.linspace(0, len(firsts) - 1, EPISODES).round().astype(int))]
        if protocol.samples < 2 or len(chosen) <= protocol.samples:
            return cls(errors={}, protocol=protocol)
        plain = {name: model for name, model in models.items() if not model.stochastic}
        errors = {name: {w.episode: error(model, w) for w in chosen} for name, model in plain.items()}
        return cls(errors=errors, protocol=protocol)

    def scores(self, futures: Mapping[str, Tensor], truth: Truth, window: Window) -> dict[str, Scores]:
        """Row -> energy scores of the model's one answer (1, S, N, C) with the errors of K other episodes, the same for all models."""
        found = {}
        for name, errors in self.errors.items():
            others = [episode for episode in errors if episode != window.episode]
            rng = np.random.default_rng(noise_seed(window, self.protocol.seed))
            drawn = rng.choice(others, size=self.protocol.samples, replace=False)
            samples = futures[name] + torch.stack([errors[int(episode)] for episode in drawn])
            scores = score_tokens(samples, truth.tokens, 0.0)
            found[name + SUFFIX] = {metric: scores[metric] for metric in PROPER}
        return found
