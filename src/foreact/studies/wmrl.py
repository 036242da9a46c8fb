"""Does reinforcement learning in the imagination make a policy better in reality? RLA-WM's Table 3, with honest selection.

Of each training seed, a policy is cloned and improved by PPO in every world model and, as the bound of what is possible, in the
simulator itself. Snapshots are chosen on judgement seeds and reported on others. Beside it stands cloning that takes longer, and what
each dream promises: its return and success, snapshot by snapshot, against what is real.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from foreact.core.errors import ForeactError
from foreact.core.presets import preset
from foreact.core.pretrained import read_config
from foreact.core.progress import ProgressFactory
from foreact.dreams.imagination import load
from foreact.envs.registry import find_env, parse_options
from foreact.evaluation.intervals import Interval
from foreact.evaluation.results import Results
from foreact.evaluation.rows import EpisodeValues, Row
from foreact.evaluation.verdicts import Verdict, below
from foreact.imagination.demonstrations import Demonstrations
from foreact.imagination.imagined import ImaginedVectorEnv
from foreact.imagination.imagining import imagine_policy
from foreact.imagination.learner import judged
from foreact.imagination.ppo import PPOConfig
from foreact.imagination.rewards.registry import make_reward
from foreact.imagination.run import PPORequest, run_ppo
from foreact.recordings.opening import open_recordings
from foreact.studies.judging import Arena
from foreact.studies.settings import WMRLStudy
from foreact.studies.study import Study, Unit
from foreact.studies.trained import train_run
from foreact.studies.values import episode_values, rows, smaller, stack

CLONED, LONGER, REAL = "bc", "bc-longer", "ppo-simulator"
PUBLISHED = {
    "RLA-WM, Table 3": "+3.5, +7.6, -10.4, -1.2, +6.0 points of success over BC in five tasks",
    "its authors again, 15 seeds": "+4.2, +1.3, -1.2, -2.1, -3.1",
}
_LONGER, _IMAGINED, _JUDGE_SEED, _DRAWS = 3, 100, 2_000_000, 2000


class WMRL(Study):
    """A unit is a policy."""

    name = "wmrl"
    settings: WMRLStudy

    def __init__(self, settings: WMRLStudy, progress: ProgressFactory) -> None:
        super().__init__(settings, progress)
        find_env(settings.env)
        self.worlds = {f"ppo-{run.resolve().name}": run for run in settings.world_models}
        if not self.worlds:
            raise ForeactError("name at least one world model with --world-models")
        options: dict[str, Any] = {
            "env": settings.env,
            "options": parse_options(settings.option),
            "workers": settings.workers,
        }
        self.arena = Arena(**options, episodes=settings.episodes, seed=settings.first_seed)
        self.judge = Arena(**options, episodes=settings.judge_episodes, seed=_JUDGE_SEED)

    @property
    def units(self) -> Sequence[Unit]:
        """The cloned policy first: the others begin with it, or are compared with it."""
        improved = [Unit(name=name, folder=name, needs=(CLONED,)) for name in self.worlds]
        real = Unit(name=REAL, folder=REAL, needs=(CLONED,), seeds=self.settings.simulator_seeds)
        return [Unit(name=CLONED, folder=CLONED), Unit(name=LONGER, folder=LONGER), *improved, real]

    @property
    def about(self) -> dict[str, Any]:
        """What scores must agree in."""
        s = self.settings
        return {"settings": {"env": s.env, "episodes": s.episodes, "first_seed": s.first_seed, "rollouts": s.rollouts}}

    def train(self, unit: Unit, seed: int, run: Path) -> None:
        """A cloned policy, or one that PPO improves."""
        if unit.name in (CLONED, LONGER):
            self._clone(run, seed, longer=unit.name == LONGER)
            return
        s, cloned = self.settings, run.parent / CLONED
        config = PPOConfig(rollouts=s.rollouts, seed=seed, save_every=max(1, s.rollouts // s.snapshots))
        asked = PPORequest(
            policy=cloned,
            out=run,
            recordings={"data": s.data, "cache": s.cache},
            reward=s.reward,
            config=config,
            judge=partial(self.judge.success, progress=self.progress),
            keep_best=True,
        )
        if unit.name == REAL:
            few = replace(config, rollouts=max(1, s.rollouts // 4))
            asked = replace(asked, config=few, simulators=partial(self.judge.simulators, cloned))
        else:
            asked = replace(asked, world_models=(self.worlds[unit.name],))
        run_ppo(asked, self.progress)

    def _clone(self, run: Path, seed: int, *, longer: bool) -> None:
        s = self.settings
        seen: Any = read_config(s.world_models[0])
        looks = {"encoder": seen.tokens.encoder, "image_size": seen.tokens.image_size, "tokens": True}
        steps = s.steps or preset(s.preset).of({"tiny": 1200, "small": 8000}, 37_500)
        steps = _LONGER * steps if longer else steps
        train_run(s, CLONED, run, self.progress, seed=seed, steps=steps, head="pooled", no_state=True, **looks)

    def score(self, unit: Unit, seed: int, run: Path) -> Results:
        """Real success on the reporting seeds, and what the dream says."""
        snapshots = {int(path.name.removeprefix("step-")): path for path in sorted((run / "snapshots").iterdir())}
        kept, last = (
            self._play(folder, run / f"act-{folder.name}.json") for folder in (run, snapshots[max(snapshots)])
        )
        first = kept.episodes
        seeds = next(told.episodes for told in first if told.metric == "success")
        values = {told.metric: np.array(told.values) for told in first}
        values["success_last"] = next(np.array(told.values) for told in last.episodes if told.metric == "success")
        found = episode_values(unit.name, values, seeds)
        world = self.worlds.get(unit.name, self.settings.world_models[0])
        found += episode_values(unit.name, self._imagine(run, world), range(_IMAGINED))
        if unit.name in self.worlds:
            found += self._calibration(unit.name, run, world, snapshots)
        return self.scored(found, seed)

    def _calibration(self, name: str, run: Path, world: Path, snapshots: Mapping[int, Path]) -> list[EpisodeValues]:
        """Of each snapshot, what is imagined and what is real."""
        real, steps = judged(run), sorted(snapshots)
        imagined = [self._imagine(snapshots[step], world)["return_imagined"].mean() for step in steps]
        values = {"imagined": np.array(imagined), "real": np.array([real[str(step)] for step in steps])}
        return episode_values(name, values, steps, subset="snapshots")

    def _imagine(self, policy: Path, world: Path) -> dict[str, np.ndarray]:
        """Return and success of imagined episodes from first frames, (n,) each."""
        acting: Any = load(policy)
        env = _dream_env(str(world), str(self.settings.data), self.settings, self.progress, acting.config.execute)
        told = imagine_policy(acting, env, seed=0)
        return {f"{name}_imagined": values for name, values in told.items()}

    def references(self) -> Results:
        """The expert and chance."""
        found: list[EpisodeValues] = []
        for name in ("expert", "random"):
            played = self._play(name, self.out / "references" / f"{name}.json")
            values = {told.metric: np.array(told.values) for told in played.episodes}
            found += episode_values(name, values, played.seeds)
        return self.scored(found, 0)

    def _play(self, policy: str | Path, out: Path) -> Results:
        out.parent.mkdir(parents=True, exist_ok=True)
        return Results.load(out) if out.exists() else self.arena.play(policy, out, self.progress)

    def summarise(self, seeds: Sequence[Results]) -> Results:
        """The table, every seed, and what both say."""
        values, told = stack(seeds), []
        correlations = [
            Row.of(found, "rank_correlation", {"model": name}) for name, found in self._correlations(values)
        ]
        for name in (*self.worlds, LONGER, REAL):
            claim = f"{name} succeeds more often than {CLONED}, on seeds that nothing was chosen on"
            told += smaller(values, claim, (CLONED, "success", "all", 1), (name, "success", "all", 1))
        return Results(
            split_hash="",
            seeds=(),
            rows=(*rows(values), *correlations),
            dataset={"name": self.settings.data.resolve().name},
            settings=self.about["settings"] | {"preset": self.settings.preset, "reward": self.settings.reward},
            notes=PUBLISHED | _each_seed(values),
            verdicts=(*told, *[_predicts(row) for row in correlations]),
        )

    def _correlations(self, values: Any) -> list[tuple[str, Interval]]:
        pairs = [
            (name, *(values.get((name, kind, "snapshots", 1)) for kind in ("imagined", "real"))) for name in self.worlds
        ]
        return [(name, rank_correlation(imagined, real)) for name, imagined, real in pairs if imagined is not None]


def rank_correlation(imagined: np.ndarray, real: np.ndarray) -> Interval:
    """Spearman's, over all snapshots (S, n), with the interval of snapshots drawn again within their training seeds."""
    rng, found = np.random.default_rng(0), []
    for draw in range(_DRAWS):
        chosen = np.arange(imagined.shape[1]) if draw == 0 else rng.integers(imagined.shape[1], size=imagined.shape[1])
        found.append(_spearman(imagined[:, chosen].ravel(), real[:, chosen].ravel()))
    low, high = np.quantile(found[1:], (0.025, 0.975))
    return Interval(mean=found[0], low=float(low), high=float(high), n=imagined.size)


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    ranks = [(x < x[:, None]).sum(axis=1) + (x == x[:, None]).sum(axis=1) / 2 for x in (a, b)]
    return 0.0 if min(r.std() for r in ranks) == 0 else float(np.corrcoef(*ranks)[0, 1])


def _predicts(row: Row) -> Verdict:
    turned = Interval(mean=-row.mean, low=-(row.high or 0.0), high=-(row.low or 0.0), n=row.n)
    return below(
        f"the imagined return of {row['model']} rises with real success (rank correlation, sign turned)", turned
    )


def _each_seed(values: Any) -> dict[str, str]:
    """Success of every training seed, as readers of a mean must see it."""
    found = {key[0]: numbers.mean(axis=1) for key, numbers in values.items() if key[1:] == ("success", "all", 1)}
    return {
        f"success of each training seed, {name}": ", ".join(f"{x:.3f}" for x in means) for name, means in found.items()
    }


def _dream_env(world: str, data: str, settings: WMRLStudy, progress: ProgressFactory, chunk: int) -> ImaginedVectorEnv:
    dream: Any = load(world)
    tokens = dream.world_model.config.tokens
    seen = {"encoder": tokens.encoder, "image_size": tokens.image_size}
    recordings = open_recordings(data, cache=settings.cache, progress=progress, **seen)
    shown = Demonstrations(recordings, chunk=chunk)
    return ImaginedVectorEnv(dream, shown, make_reward(settings.reward, shown), num_envs=_IMAGINED, from_start=1.0)


def table(results: Results) -> str:
    """Rows of the study as Markdown: real success of the chosen and of the last snapshot, and imagined success, in per cent."""
    lines = ["| policy | success, % | last snapshot, % | imagined, % | training seeds |", "|---|---|---|---|---|"]
    for model in results.names():
        told = {row.metric: row for row in results.rows if row["model"] == model and row["subset"] == "all"}
        shown = [_percent(told.get(metric)) for metric in ("success", "success_last", "success_imagined")]
        lines.append(f"| {model} | {' | '.join(shown)} | {told['success'].seeds if 'success' in told else ''} |")
    return "\n".join(lines)


def _percent(row: Any) -> str:
    return "" if row is None else f"{100 * row.mean:.1f} [{100 * row.low:.1f}, {100 * row.high:.1f}]"
