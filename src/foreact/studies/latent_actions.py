"""Every latent-action learner on one dataset, with several training seeds (RLA-WM, Figs. A1 - A3; LaWAM, Figs. 5 and 10).

Same recordings, split, pairs, steps, batch, width and depth for all; RLA at several |z|. What is measured is in
`evaluation.latents` and `evaluation.latent_motion`, what it says in `latent_claims`. Each run and its measurements lie in
`out/seed<k>/<learner>` and are done once; `results.json` is made from the measurements alone.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foreact.core.errors import DivergedError, ForeactError
from foreact.core.presets import Preset, preset
from foreact.core.pretrained import load_model
from foreact.core.progress import Bar
from foreact.core.registry import card
from foreact.evaluation.claims import HeldOut, NoiseToLatent, infer
from foreact.evaluation.latent_motion import (
    AgentReader,
    Components,
    probe,
    probe_frames,
    roll_out,
    transfer,
    transfer_of_truth,
)
from foreact.evaluation.latent_picture import draw_transfer
from foreact.evaluation.latents import TRUE, Learner, Scene, Tally, between, latents, other_episode, reconstruct
from foreact.evaluation.results import EpisodeValues, Results
from foreact.recordings.opening import open_recordings
from foreact.recordings.recordings import Recordings
from foreact.studies.latent_claims import SUBSETS, rows, verdicts
from foreact.studies.scores import save_study, stack, stored
from foreact.studies.settings import LatentStudy
from foreact.studies.trained import chosen_kinds, train_run

_SHARES = (1 / 32, 1 / 8, 1 / 2, 1)  # of the preset's |z|: 64 to 2048 in the paper
_REFERENCES = "references"


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


def frames_of(study: LatentStudy) -> tuple[str, int]:
    """Encoder and image size that all learners are measured in."""
    recipe = preset(study.preset)
    return study.encoder or recipe.encoder, study.image_size or recipe.image_size


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


def run(study: LatentStudy, *, bar: Bar) -> dict[str, Any]:
    """Train and measure what is not there yet, put the seeds together and write `out/results.json`.

    Raises:
        ForeactError: an unknown learner, no seeds, too short episodes, or runs and results of other settings in `out`.
    """
    learners = learners_of(study)
    if study.seeds < 1:
        raise ForeactError("--seeds must be at least 1")
    grounds = Grounds.open(study, bar)
    diverged: dict[str, list[int]] = {}
    found = [_measured(grounds, study.out / _REFERENCES, (), functools.partial(_references, grounds))]
    sizes: dict[str, int] = {}
    for seed, name in itertools.product(range(study.seeds), learners):
        try:
            trained = train_learner(study, name, seed, bar)
        except DivergedError:
            diverged.setdefault(name, []).append(seed)
            continue
        sizes[name] = latent_size(load_model(trained))
        found.append(_measured(grounds, trained, (seed,), functools.partial(measure, name, trained, grounds, bar)))
    values = stack(found)
    results = {
        "schema": 1,
        "study": "latent_actions",
        "dataset": grounds.about["dataset"],
        "split_hash": grounds.recordings.split.hash,
        "encoder": grounds.recordings.cache.spec.fingerprint,
        "preset": study.preset,
        "steps": study.overrides.get("steps", preset(study.preset).train_latent.steps),
        "protocol": grounds.about["protocol"],
        "sizes": sizes,
        "seeds": list(range(study.seeds)),
        "diverged": diverged,
        "rows": rows(values),
        "verdicts": [dataclasses.asdict(v) for v in verdicts(values, sizes)],
    }
    save_study(study, results)
    return results


@dataclass(frozen=True, kw_only=True)
class Grounds:
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
        about: the dataset and the protocol, for the results file.
    """

    recordings: Recordings
    mixed: Scene
    fixed: Scene
    training: Scene
    trajectories: Scene
    steps: int
    elsewhere: Mapping[str, tuple[Scene, Scene]]
    frame: Components
    readers: Mapping[str, AgentReader | None]
    about: dict[str, Any]

    @classmethod
    def open(cls, study: LatentStudy, bar: Bar) -> Grounds:
        """Read the datasets and draw the pairs.

        Raises:
            ForeactError: a dataset cannot be read or its episodes are shorter than the gap.
        """
        protocol = LatentProtocol(pairs=study.pairs, seconds=study.seconds)

        def read(folder: Path) -> Recordings:
            name, size = frames_of(study)
            return open_recordings(
                folder, camera=None, encoder=name, image_size=size, cache=study.cache, frames=True, bar=bar
            )

        def draw(source: Recordings, episodes: tuple[int, ...], count: int, strides: int | None) -> Scene:
            gap = round(protocol.seconds * source.dataset.fps)
            horizon = None if strides is None else strides * max(1, gap)
            held_out = HeldOut.draw(source.cache, episodes, count=count, horizon=horizon, seed=protocol.seed)
            if not len(held_out.pairs.start):
                raise ForeactError(
                    f"{source.dataset.root} has no episode of more than {horizon} frames to measure in: "
                    "choose a shorter gap with --seconds"
                )
            return Scene(held_out)

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
            "name": study.data.name,
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
            readers={subset: AgentReader.fit(scene) for subset, scene in fitted.items()},
            trajectories=draw(recordings, held_out, count, steps),
            steps=steps,
            elsewhere=elsewhere,
            about={"dataset": dataset, "protocol": {**dataclasses.asdict(protocol), "strides": steps}},
        )


def _strides(recordings: Recordings, protocol: LatentProtocol) -> int:
    """Strides of a rollout: as many as asked for, as far as most held-out episodes are that long."""
    lengths = [recordings.dataset.episode(e).length for e in recordings.split.validation]
    fit = (np.median(lengths) - 1) // max(1, round(protocol.seconds * recordings.dataset.fps))
    return int(np.clip(fit, 1, protocol.steps))


def measure(name: str, run: Path, grounds: Grounds, bar: Bar) -> list[Tally]:
    """All measurements of a trained learner; leaves the picture `transfer.png` in its run."""
    tally, model = Tally(model=name), load_model(run)
    learner = Learner.load(model, model.config.tokens, grounds.recordings.cache.encoder)
    parts = 4 + len(grounds.elsewhere)
    with bar(f"measure {name}", "parts") as on_progress:
        training, fixed = grounds.training, grounds.fixed
        fitted = infer(model, training.tokens(learner.own, 0.0), training.tokens(learner.own, 1.0))
        mean_z = fitted.mean(dim=0)
        z = latents(learner, fixed, mean_z)
        reconstruct(learner, grounds.mixed, latents(learner, grounds.mixed, mean_z), tally, "held_out")
        on_progress(1, parts)
        between(learner, fixed, z, NoiseToLatent.fit(fitted), tally)
        probe(fitted, training, z, fixed, tally, beside=grounds.frame)
        on_progress(2, parts)
        roll_out(learner, grounds.trajectories, grounds.steps, mean_z, training.base(0.0).mean(dim=0), tally)
        on_progress(3, parts)
        partner = np.argsort(other_episode(fixed.episodes))
        transfer(learner, fixed, z, fixed, partner, grounds.readers["held_out"], tally, "held_out")
        goals = {"another start": (fixed, partner)}
        on_progress(4, parts)
        for done, (subset, (mixed, goal)) in enumerate(grounds.elsewhere.items()):
            reconstruct(learner, mixed, latents(learner, mixed, mean_z), tally, subset)
            partner = np.resize(np.arange(len(goal.episodes)), len(fixed.episodes))
            transfer(learner, fixed, z, goal, partner, grounds.readers[subset], tally, subset)
            goals[SUBSETS[subset]] = (goal, partner)
            on_progress(5 + done, parts)
        draw_transfer(learner, fixed, z[TRUE], goals, run / "transfer.png")
    return [tally]


def _references(grounds: Grounds) -> list[Tally]:
    """What is compared with, without any learner."""
    seen = Tally(model="true_tokens")
    for subset, scene in {"held_out": grounds.fixed, **{k: v[1] for k, v in grounds.elsewhere.items()}}.items():
        transfer_of_truth(scene, grounds.readers[subset], seen, subset)
    return [*probe_frames(grounds.training, grounds.fixed), seen]


def _measured(grounds: Grounds, folder: Path, seeds: tuple[int, ...], make: Callable[[], list[Tally]]) -> Results:
    """What is measured in `folder`, made only where it is missing or was made on other grounds."""
    path = folder / "results.json"
    about: dict[str, Any] = {
        "split_hash": grounds.recordings.split.hash,
        "encoder": grounds.recordings.cache.spec.fingerprint,
        **grounds.about,
    }
    if done := stored(path, about):
        return done
    values: list[EpisodeValues] = [v for tally in make() for v in tally.values]
    results = Results(seeds=seeds, rows=(), episodes=tuple(values), **about)
    results.save(path)
    return results


def latent_size(model: Any) -> int:
    """|z|, in numbers."""
    config = model.config
    if hasattr(config, "latent_channels"):
        return int(getattr(config, "latent_tokens", 1) * config.latent_channels)
    return int(config.tokens.channels)


def train_learner(study: LatentStudy, learner: str, seed: int, bar: Bar) -> Path:
    """Train a learner, or go on where that was stopped; all on the pairs of the preset's RLA."""
    run = study.out / f"seed{seed}" / learner
    encoder, image_size = frames_of(study)
    kind, options = learners_of(study)[learner]
    train_run(
        study, kind, run, bar, seed=seed, law=preset(study.preset).latent_pairs,
        encoder=encoder, image_size=image_size, **options,
    )  # fmt: skip
    return run
