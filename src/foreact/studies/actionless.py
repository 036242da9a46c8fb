"""Policies from few actions and many silent videos: RLA-WM's Table 2, with two controls that the paper lacks.

Latent-action learners are trained on play of the same robot, policies on demonstrations of which a share is labelled. All
policies have the same sizes, the same number of updates and the same labelled episodes; they are judged on evaluation seeds
that nothing was chosen on, by the mean over the last five checkpoints, as in the paper, and by the last one alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch

from foreact.core.presets import preset
from foreact.core.pretrained import read_config
from foreact.core.progress import ProgressFactory
from foreact.envs.registry import find_env, parse_options
from foreact.evaluation.acting.act import ActRequest, act
from foreact.evaluation.results import Results
from foreact.evaluation.rows import EpisodeValues
from foreact.evaluation.verdicts import Verdict
from foreact.latent_actions.future_tokens import FutureTokensConfig
from foreact.recordings.opening import open_recordings
from foreact.studies.settings import ActionlessStudy
from foreact.studies.study import Study, Unit
from foreact.studies.trained import chosen_names, train_run
from foreact.studies.values import episode_values, rows, smaller, stack

CHECKPOINTS = 5
"""The last ones, whose mean is the paper's measure."""
_FITTED_ON = 2048  # frames of play that the principal axes of the control are fitted on


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A row of the table.

    Attributes:
        kind: of policy.
        learner: folder of what gives z.
        labelled: share of labels; the study's if None.
        many: whether it gets all training seeds: claims stand on it.
        options: of the policy's training.
    """

    kind: str = "wam"
    learner: str | None = None
    labelled: float | None = None
    many: bool = False
    options: Mapping[str, Any] | None = None


ROWS: dict[str, Entry] = {
    "bc": Entry(kind="bc", many=True),
    "bc-all": Entry(kind="bc", labelled=1.0),
    "wam-rla": Entry(learner="rla", many=True),
    "wam-shuffled": Entry(learner="rla", many=True, options={"shuffled": True}),
    "wam-future-tokens": Entry(learner="future-tokens", many=True),
    "wam-rla-own": Entry(learner="rla-own"),
    "wam-dino-cls": Entry(learner="dino-cls"),
    "wam-univla": Entry(learner="univla"),
    "wam-adaworld": Entry(learner="adaworld"),
    "wam-lawm": Entry(learner="lawm"),
}
"""`rla-own` is trained on the silent videos of the task itself, the others on play."""
_ON_THE_TASK = "-own"


class Actionless(Study):
    """A unit is a learner or a policy."""

    name = "actionless"
    settings: ActionlessStudy

    def __init__(self, settings: ActionlessStudy, progress: ProgressFactory) -> None:
        super().__init__(settings, progress)
        self.rows = chosen_names(settings.rows, ROWS, what="row")
        find_env(settings.env)

    @property
    def units(self) -> Sequence[Unit]:
        """What gives z, each before the first policy that stands on it."""
        found: dict[str, Unit] = {}
        for name in self.rows:
            entry = ROWS[name]
            seeds = None if entry.many else self.settings.few_seeds
            for needed in self._needs(entry):
                found.setdefault(needed, Unit(name=needed, folder=needed, scored=False))
            needs = (entry.learner,) if entry.learner else ()
            found[name] = Unit(name=name, folder=name, needs=needs, seeds=seeds)
        return list(found.values())

    def _needs(self, entry: Entry) -> tuple[str, ...]:
        if entry.learner is None:
            return ()
        return ("rla", entry.learner) if entry.learner == "future-tokens" else (entry.learner,)  # of RLA's size

    @property
    def about(self) -> dict[str, Any]:
        """What scores must agree in."""
        s = self.settings
        return {"settings": {"env": s.env, "labelled": s.labelled, "episodes": s.episodes, "first_seed": s.first_seed}}

    def train(self, unit: Unit, seed: int, run: Path) -> None:
        """A learner on play, a policy on the demonstrations."""
        if unit.name in ROWS:
            entry = ROWS[unit.name]
            options = dict(entry.options or {})
            if entry.learner:
                options["latent"] = run.parent / entry.learner
            labelled = self.settings.labelled if entry.labelled is None else entry.labelled
            train_run(self.settings, entry.kind, run, self.progress, seed=seed, labelled=labelled, **options)
        elif unit.name == "future-tokens":
            self._fit_axes(run)
        else:
            own = unit.name.endswith(_ON_THE_TASK)
            kind = unit.name.removesuffix(_ON_THE_TASK).replace("-", "_")
            data = self.settings.data if own else self.settings.play
            steps = self.settings.learner_steps or preset(self.settings.preset).train_latent.steps
            train_run(self.settings, kind, run, self.progress, seed=seed, steps=steps, data=data)

    def _fit_axes(self, run: Path) -> None:
        """The control's axes, of as many numbers as RLA's z, on frames of play."""
        if (run / "config.json").exists():
            return
        rla: Any = read_config(run.parent / "rla")
        size = {"latent_tokens": rla.latent_tokens, "latent_channels": rla.latent_channels}
        model = FutureTokensConfig(tokens=rla.tokens, **size).build()
        play = open_recordings(
            self.settings.play,
            encoder=rla.tokens.encoder,
            image_size=rla.tokens.image_size,
            cache=self.settings.cache,
            progress=self.progress,
        ).single
        frames = np.array([(e, t) for e in play.split.train for t in range(int(play.lengths[e]))])
        chosen = frames[np.random.default_rng(0).permutation(len(frames))[:_FITTED_ON]]
        model.fit(torch.from_numpy(play.cache.gather(*chosen.T)))
        model.save_pretrained(run)

    def score(self, unit: Unit, seed: int, run: Path) -> Results:
        """Success of the last checkpoints on every evaluation seed."""
        kept = sorted((run / "snapshots").iterdir())[-CHECKPOINTS:]
        played = [self._act(str(folder), run / f"act-{folder.name}.json") for folder in kept]
        first = played[0].episodes
        seeds = next(values.episodes for values in first if values.metric == "success")
        values: dict[str, np.ndarray] = {}
        for metric in (told.metric for told in first):
            each = np.array([_values(results, metric) for results in played])
            values |= {metric: each.mean(axis=0), f"{metric}_last": each[-1]}
        return self.scored(episode_values(unit.name, values, seeds), seed)

    def references(self) -> Results:
        """The expert and chance."""
        parts = []
        for name in ("expert", "random"):
            played = self._act(name, self.out / "references" / f"{name}.json")
            values = {told.metric: np.array(told.values) for told in played.episodes}
            parts.append(self.scored(episode_values(name, values, played.seeds), 0))
        return reduce(Results.with_models_of, parts)

    def _act(self, policy: str, out: Path) -> Results:
        if out.exists():
            return Results.load(out)
        s = self.settings
        out.parent.mkdir(parents=True, exist_ok=True)
        asked = ActRequest(
            policy=policy,
            env=s.env,
            episodes=s.episodes,
            seed=s.first_seed,
            options=parse_options(s.option),
            workers=s.workers,
        )
        return act(asked, out, self.progress)

    def summarise(self, seeds: Sequence[Results]) -> Results:
        """The table and what it says."""
        values, settings = stack(seeds), self.settings
        return Results(
            split_hash="",
            seeds=(),
            rows=rows(values),
            dataset={"name": settings.data.resolve().name, "play": settings.play.resolve().name},
            settings=self.about["settings"] | {"preset": settings.preset, "steps": self._steps()},
            verdicts=tuple(self._verdicts(values)),
        )

    def _steps(self) -> int:
        """Updates of each policy, the same for all."""
        first = next(self.out.glob(f"seed0/{self.rows[0]}/snapshots/*"), None)
        return int(sorted(first.parent.iterdir())[-1].name.removeprefix("step-")) if first else 0

    def _verdicts(self, values: Any) -> list[Verdict]:
        """RLA against BC and against both controls; and whether there was anything to gain."""
        share, told = f"{self.settings.labelled:.0%} of the labels", []
        for metric in ("success", "success_last"):
            words = "over the last five checkpoints" if metric == "success" else "at the last checkpoint"
            for better, worse in (
                ("bc-all", "bc"),
                ("wam-rla", "bc"),
                ("wam-rla", "wam-shuffled"),
                ("wam-rla", "wam-future-tokens"),
            ):
                claim = f"{better} succeeds more often than {worse} with {share}, {words}"
                told += smaller(values, claim, (worse, metric, "all", 1), (better, metric, "all", 1))
        return told


def table(results: Results) -> str:
    """Rows of the study as Markdown: success in per cent with its interval, the last checkpoint, training seeds."""
    lines = ["| policy | success, mean of the last five, % | last, % | training seeds |", "|---|---|---|---|"]
    for model in results.names():
        told = {row.metric: row for row in results.rows if row["model"] == model}
        shown = [_percent(told.get(metric)) for metric in ("success", "success_last")]
        lines.append(f"| {model} | {shown[0]} | {shown[1]} | {told['success'].seeds} |")
    return "\n".join(lines)


def _percent(row: Any) -> str:
    return "" if row is None else f"{100 * row.mean:.1f} [{100 * row.low:.1f}, {100 * row.high:.1f}]"


def _values(results: Results, metric: str) -> tuple[float, ...]:
    found: EpisodeValues = next(told for told in results.episodes if told.metric == metric)
    return found.values
