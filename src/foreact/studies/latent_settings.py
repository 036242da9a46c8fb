"""What every latent-action learner is measured on: datasets, pairs with and without a gap, rollouts, readers of motion."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foreact.core.errors import ForeactError
from foreact.core.presets import preset
from foreact.core.progress import ProgressFactory
from foreact.evaluation.latent_pairs import PairTokens
from foreact.evaluation.latent_probes import Components
from foreact.evaluation.latent_transfer import AgentReader
from foreact.recordings.opening import open_recordings
from foreact.recordings.recordings import Recordings
from foreact.studies.settings import LatentStudy


@dataclass(frozen=True, kw_only=True)
class LatentProtocol:
    """How learners are measured.

    Attributes:
        pairs: held-out pairs with h uniform in 1..15, for reconstruction; as many are drawn with one gap and as many rollouts,
            of which those too near the end of their episode are left out.
        seconds: that gap.
        steps: strides of a rollout, each of one gap; fewer where episodes are too short.
        seed: of the draws.
    """

    pairs: int = 512
    seconds: float = 1.2
    steps: int = 3
    seed: int = 0

    def gap(self, source: Recordings) -> int:
        """In frames."""
        return max(1, round(self.seconds * source.dataset.fps))

    def draw(self, source: Recordings, episodes: tuple[int, ...], count: int, strides: int | None) -> PairTokens:
        """Pairs so many gaps apart, or with h uniform in 1..15.

        Raises:
            ForeactError: all episodes are shorter than that.
        """
        horizon = None if strides is None else strides * self.gap(source)
        drawn = PairTokens.draw(source.cache, episodes, count=count, horizon=horizon, seed=self.seed)
        if not len(drawn.episodes):
            raise ForeactError(
                f"{source.dataset.root} has no episode of more than {horizon} frames to measure in: "
                "choose a shorter gap with --seconds"
            )
        return drawn


def frames_of(study: LatentStudy) -> tuple[str, int]:
    """Encoder and image size that all learners are measured in."""
    recipe = preset(study.preset)
    return study.encoder or recipe.encoder, study.image_size or recipe.image_size


@dataclass(frozen=True, kw_only=True)
class LatentSettings:
    """What every learner is measured on.

    Attributes:
        recordings: the dataset, its split and the tokens that all are measured in.
        mixed: held-out pairs with h in 1..15.
        fixed, training: held-out and training pairs with one gap.
        trajectories: held-out starts whose horizon is a whole rollout.
        steps: strides of a rollout.
        elsewhere: further datasets by subset: pairs with h in 1..15, pairs with the gap.
        frame: what the current frame tells, beside z.
        readers: of the agent's motion, by subset; fitted on other pairs than transfer starts from.
        about: dataset, split, tokens and protocol, for the results file.
    """

    recordings: Recordings
    mixed: PairTokens
    fixed: PairTokens
    training: PairTokens
    trajectories: PairTokens
    steps: int
    elsewhere: Mapping[str, tuple[PairTokens, PairTokens]]
    frame: Components
    readers: Mapping[str, AgentReader | None]
    about: dict[str, Any]

    @classmethod
    def open(cls, study: LatentStudy, progress: ProgressFactory) -> LatentSettings:
        """Read the datasets and draw the pairs.

        Raises:
            ForeactError: a dataset cannot be read or its episodes are shorter than the gap.
        """
        protocol = LatentProtocol(pairs=study.pairs, seconds=study.seconds)
        encoder, size = frames_of(study)

        def read(folder: Path) -> Recordings:
            return open_recordings(
                folder, camera=None, encoder=encoder, image_size=size, cache=study.cache, frames=True, progress=progress
            )

        draw = protocol.draw
        recordings = read(study.data)
        held_out, count = recordings.split.validation, protocol.pairs
        steps = _strides(recordings, protocol)
        others = {"unseen": study.unseen, "embodiment": study.embodiment}
        elsewhere, fingerprints = {}, {}
        for subset, folder in others.items():
            if folder is not None:
                other = read(folder)
                all_of_it = (*other.split.train, *other.split.validation)
                elsewhere[subset] = (draw(other, all_of_it, count, None), draw(other, all_of_it, count, 1))
                fingerprints[subset] = other.dataset.fingerprint()
        dataset = {
            "name": study.data.resolve().name,
            "fingerprint": recordings.dataset.fingerprint(),
            "training_episodes": len(recordings.split.train),
            "held_out_episodes": len(held_out),
            **fingerprints,
        }
        training = draw(recordings, recordings.split.train, 2 * count, 1)
        fixed = draw(recordings, held_out, count, 1)
        fitted = {"held_out": training, **{subset: mixed for subset, (mixed, _) in elsewhere.items()}}
        return cls(
            recordings=recordings,
            mixed=draw(recordings, held_out, count, None),
            fixed=fixed,
            training=training,
            frame=Components.of_frame(training, fixed),
            readers={subset: AgentReader.fit(pairs) for subset, pairs in fitted.items()},
            trajectories=draw(recordings, held_out, count, steps),
            steps=steps,
            elsewhere=elsewhere,
            about={
                "dataset": dataset,
                "split_hash": recordings.split.hash,
                "encoder": recordings.cache.spec.fingerprint,
                "protocol": {**dataclasses.asdict(protocol), "strides": steps},
            },
        )


def _strides(recordings: Recordings, protocol: LatentProtocol) -> int:
    """Strides of a rollout: as many as asked for, as far as most held-out episodes are that long."""
    lengths = [recordings.dataset.episode(e).length for e in recordings.split.validation]
    fit = (np.median(lengths) - 1) // protocol.gap(recordings)
    return int(np.clip(fit, 1, protocol.steps))
