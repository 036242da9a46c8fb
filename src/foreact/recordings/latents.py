"""z of every frame of recordings, inferred once from it and the frame some actions later, and kept on the disk.

Shape legend: T frames of an episode, h frames between the pair, Q latent tokens, Z latent channels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from torch import Tensor

from foreact.core.errors import ForeactError
from foreact.core.files import write_atomically
from foreact.core.pretrained import PretrainedModel, state_hash
from foreact.core.progress import ProgressFactory
from foreact.recordings.recording import Recording
from foreact.recordings.recordings import Recordings
from foreact.recordings.windows import to_frames

_BATCH = 128
_SHUFFLE_SEED = 0x5817FF


class Latents:
    """What a latent-action learner infers between each frame t and frame t + h of all episodes of recordings.

    Args:
        parts: of each source, episode -> z (T - h, Q, Z) float32.
        training: of each source, the episodes that statistics are made of.
        horizons: h of each source.
        name: of the learner's weights and of h; what a resume must find unchanged.
    """

    def __init__(
        self,
        parts: Sequence[Mapping[int, np.ndarray]],
        training: Sequence[Sequence[int]],
        *,
        horizons: Sequence[int],
        name: str,
    ) -> None:
        self.horizons, self.name, self._parts, self._training = horizons, name, parts, training
        self.shape = next(z.shape[1:] for part in parts for z in part.values() if len(z))

    def read(self, source: np.ndarray, episodes: np.ndarray, frames: np.ndarray) -> tuple[Tensor, Tensor]:
        """z (B, Q, Z), zero where frame t + h lies beyond the episode's end, and the mask (B,) of those where it does not."""
        z = np.zeros((len(source), *self.shape), np.float32)
        inside = np.zeros(len(source), bool)
        for row, (k, e, t) in enumerate(zip(source.tolist(), episodes.tolist(), frames.tolist(), strict=True)):
            known = self._parts[k][e]
            if t < len(known):
                z[row], inside[row] = known[t], True
        return torch.from_numpy(z), torch.from_numpy(inside)

    def shuffled(self) -> Latents:
        """The same with each episode's z of another one of its source, at the same share of its length: a control."""
        rng = np.random.default_rng(_SHUFFLE_SEED)
        return Latents(
            [_exchanged(part, rng) for part in self._parts],
            self._training,
            horizons=self.horizons,
            name=f"{self.name}-shuffled",
        )

    @property
    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (Q, Z) over the training episodes."""
        rows = [part[e] for part, own in zip(self._parts, self._training, strict=True) for e in own]
        joined = torch.from_numpy(np.concatenate(rows).astype(np.float64))
        return joined.mean(dim=0).float(), joined.std(dim=0, correction=0).float()


def _exchanged(part: Mapping[int, np.ndarray], rng: np.random.Generator) -> dict[int, np.ndarray]:
    """Each episode's z (T, Q, Z) taken from the next one of a random round."""
    long = [e for e in part if len(part[e])]
    order = rng.permutation(long).tolist()
    giver = dict(zip(order, order[1:] + order[:1], strict=True))

    def taken(episode: int) -> np.ndarray:
        given, length = part[giver[episode]], len(part[episode])
        return given[np.arange(length) * len(given) // length]

    return {e: taken(e) if e in giver else z for e, z in part.items()}


def infer_latents(
    model: PretrainedModel, recordings: Recordings, *, horizon: float, cache: Path | None, progress: ProgressFactory
) -> Latents:
    """Infer z of all episodes in the splits of recordings, or read what an earlier call has kept.

    Args:
        model: a latent-action learner.
        recordings: with the tokens of its encoder.
        horizon: h, in frames (int), or in seconds (float), which are rounded to each source's own frames.
        cache: folder of caches; nothing is kept without one.
        progress: shows the inference's progress.

    Raises:
        ForeactError: tokens of another encoder, or no episode is longer than h.
    """
    weights = f"{model.config.kind}-{state_hash(model)}"
    horizons = [to_frames(horizon, source.fps) for source in recordings.sources]
    parts = []
    for source, frames in zip(recordings.sources, horizons, strict=True):
        model.config.tokens.require(source.cache.spec, model=weights, source=str(source.dataset.root))  # type: ignore[attr-defined]
        parts.append(_of_source(model, source, frames, cache, f"{weights}-{frames}", progress))
    training = [[e for e in s.split.train if len(part[e])] for s, part in zip(recordings.sources, parts, strict=True)]
    if not any(training):
        raise ForeactError(f"no training episode is longer than the {max(horizons)} frames between which z is inferred")
    return Latents(parts, training, horizons=horizons, name=f"{weights}-{horizon}")


def _of_source(
    model: PretrainedModel, source: Recording, horizon: int, cache: Path | None, name: str, progress: ProgressFactory
) -> dict[int, np.ndarray]:
    episodes = sorted((*source.split.train, *source.split.validation))
    path = _path(source, cache, name)
    known = _read(path) if path else {}
    missing = [e for e in episodes if e not in known]
    if missing:
        with progress(f"infer z with {model.config.kind.replace('_', '-')}", "episodes") as on_progress:
            for count, episode in enumerate(missing, start=1):
                known[episode] = _infer(model, source, episode, horizon)
                on_progress(count, len(missing))
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, safetensors.numpy.save({str(e): z for e, z in sorted(known.items())}))
    return {e: known[e].astype(np.float32) for e in episodes}


def _path(source: Recording, cache: Path | None, name: str) -> Path | None:
    if cache is None:
        return None
    key = f"{source.dataset.fingerprint()}/{source.dataset.camera}/{source.cache.spec.fingerprint}/{name}"
    return cache / "latents" / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.safetensors"


def _read(path: Path) -> dict[int, np.ndarray]:
    """What was kept; nothing where there is no file, or one that was cut short."""
    try:
        return {int(e): z for e, z in safetensors.numpy.load_file(path).items()}
    except (OSError, ValueError, safetensors.SafetensorError):
        return {}


@torch.no_grad()
def _infer(model: PretrainedModel, source: Recording, episode: int, horizon: int) -> np.ndarray:
    """z (T - h, Q, Z) float16 of one episode."""
    tokens = torch.from_numpy(np.array(source.cache.tokens(episode)))
    infer: Any = model.infer
    now, then = tokens[: max(len(tokens) - horizon, 0)], tokens[horizon:]
    device = next(iter(model.state_dict().values())).device
    z = [infer(a.to(device).float(), b.to(device).float()).cpu() for a, b in zip(now.split(_BATCH), then.split(_BATCH))]
    return torch.cat(z).half().numpy() if len(now) else np.zeros((0, 1, 1), np.float16)
