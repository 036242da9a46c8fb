"""How well an autoencoder of changes does on recordings that it was not trained on: the measure of the generic weights' cards."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from foreact.core.pretrained import load_model
from foreact.core.progress import progress_bar
from foreact.recordings.opening import open_recordings

PAIRS, GAP = 512, 10


@torch.no_grad()
def held_out_skill(run: Path, datasets: Iterable[Path], *, cache: Path) -> float:
    """Skill of the true z decoded, against a copy of the present, on held-out pairs GAP frames apart.

    Args:
        run: of a trained rla.
        datasets: of one family; their held-out episodes are looked at.
        cache: folder of token caches.
    """
    rla = load_model(run)
    errors, changes = [], []
    for data in datasets:
        seen = open_recordings(
            data,
            encoder=rla.config.tokens.encoder,
            image_size=rla.config.tokens.image_size,
            cache=cache,
            progress=progress_bar,
        ).single
        places = np.array([(e, t) for e in seen.split.validation for t in range(int(seen.lengths[e]) - GAP)])
        chosen = places[np.random.default_rng(0).permutation(len(places))[:PAIRS]]
        now, then = (
            torch.from_numpy(np.asarray(seen.cache.gather(chosen[:, 0], chosen[:, 1] + gap), dtype=np.float32))
            for gap in (0, GAP)
        )
        errors.append((rla.decode(now, rla.infer(now, then)) - then).abs().sum())
        changes.append((now - then).abs().sum())
    return float(1 - sum(errors) / sum(changes))
