"""Every world model in the world whose right answers are known (`envs.coin`).

What must come out: regression erases the object that jumps by an unseen coin and still has the lowest L1; a good generative
model shows it in one of its four places, with the lower energy score. All models get the same batches, steps, width and depth.

Shape legend: S training seeds, n held-out samples, K futures per sample, N patch tokens, C channels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foreact.core.batch import Batch
from foreact.core.cards import DataSpec
from foreact.core.errors import ForeactError
from foreact.core.presets import tiny
from foreact.core.pretrained import load_model
from foreact.core.progress import ProgressFactory
from foreact.core.registry import card
from foreact.core.token_spec import TokenSpec
from foreact.encoders.pixels import PixelEncoder
from foreact.envs import coin
from foreact.evaluation.residuals import SUFFIX
from foreact.evaluation.results import Results
from foreact.studies.coin_picture import write_futures
from foreact.studies.coin_scores import (
    FUTURES,
    HELD_OUT,
    imagine,
    references,
    resample_residuals,
    score,
    verdicts,
    views,
)
from foreact.studies.settings import CoinWorld
from foreact.studies.study import Study, Unit
from foreact.studies.trained import chosen_kinds, parts_of
from foreact.studies.values import episode_values, rows, stack
from foreact.training.loop import train
from foreact.training.task import FrozenPart, Task

TOKENS = TokenSpec(
    grid=coin.GRID, channels=coin.CHANNELS, fingerprint="coin/rotated-patches", encoder="", image_size=coin.SIDE
)
PIXELS = PixelEncoder(coin.SIDE).spec
_FIT_PAIRS = 1024


_PRESET = dataclasses.replace(tiny(), dim=96, heads=4, latent_depth=2, condition_depth=2)
_TRAP = "fm_wm_trap"
_OPTIONS: dict[str, dict[str, Any]] = {"rla_wm": {"flow_steps": 16}}
_CHANGES: dict[str, dict[str, Any]] = {
    _TRAP: {"condition": True},
    "rae": {"head_dim": 192, "steps": 25},
    "video_diffusion": {"patch": coin.PATCH, "steps": 16},
}
"""Of the options, or else of the config, of models that are small enough for this world."""


class Coins(Study):
    """A unit is a world model of this preset's size, or what it stands on."""

    name = "coin_world"

    def __init__(self, settings: CoinWorld, progress: ProgressFactory) -> None:
        super().__init__(settings, progress)
        if settings.steps < 1:
            raise ForeactError("--steps must be at least 1")
        self.models = chosen_kinds(settings.models, "world_model", more=(_TRAP,))

    @property
    def units(self) -> Sequence[Unit]:
        """The models, after their parts."""
        parts = dict.fromkeys(part for name in self.models for part in parts_of(_kind(name)))
        stood_on = [Unit(name=part, folder=part, scored=False) for part in parts]
        return [*stood_on, *(Unit(name=name, folder=name, needs=parts_of(_kind(name))) for name in self.models)]

    @property
    def about(self) -> dict[str, Any]:
        """How many pairs, futures and steps."""
        return {"settings": {"steps": self.settings.steps, "held_out": HELD_OUT, "futures": FUTURES}}

    def train(self, unit: Unit, seed: int, run: Path) -> None:
        """As all are trained: the same batches and steps."""
        train_model(unit.name, seed, self.settings.steps, run, self.progress)

    def score(self, unit: Unit, seed: int, run: Path) -> Results:
        """Its futures of the held-out pairs; of a regression also with resampled residuals."""
        model: Any = load_model(run)
        frames = imagine(model)
        found = episode_values(unit.name, score(frames), range(HELD_OUT))
        if not model.stochastic:
            found += episode_values(unit.name + SUFFIX, score(resample_residuals(frames)), range(HELD_OUT))
        return self.scored(found, seed)

    def references(self) -> Results:
        """Persistence and the world itself."""
        known = references().items()
        return self.scored([v for name, f in known for v in episode_values(name, score(f), range(HELD_OUT))], 0)

    def summarise(self, seeds: Sequence[Results]) -> Results:
        """Rows and verdicts; leaves the picture `futures.png`."""
        values = stack(seeds)
        runs = {n: [r for s in range(self.seeds) if (r := self.out / f"seed{s}" / n).is_dir()] for n in self.models}
        there = {n: next((r for r in found if (r / "results.json").exists()), None) for n, found in runs.items()}
        write_futures({n: load_model(run) for n, run in there.items() if run}, self.out / "futures.png")
        return Results(split_hash="", **self.about, seeds=(), rows=rows(values), verdicts=tuple(verdicts(values)))


def train_model(name: str, seed: int, steps: int, run: Path, progress: ProgressFactory) -> None:
    """Train a model into `run`, or go on where that was stopped; what it stands on lies beside.

    Raises:
        DivergedError: the loss is no number any more.
        ForeactError: a run of other settings in `run`.
    """
    training = card(_kind(name)).training
    assert training is not None
    options = training(**_OPTIONS.get(name, {}))
    parts: Any = {option: load_model(run.parent / part.kind) for option, part in options.parts().items()}
    spec = DataSpec(tokens=PIXELS if options.frames(_PRESET)[0] == "pixels" else TOKENS, action_dim=2)
    recipe = dataclasses.replace(options.recipe(_PRESET), steps=steps, seed=seed)
    torch.manual_seed(seed)
    if parts:
        model: Any = options.plan(_PRESET, parts).build(spec)
    else:
        model = dataclasses.replace(options.configure(_PRESET, spec), **_CHANGES.get(name, {})).build()
    batches = CoinBatches(tokens=model.config.tokens, rows=recipe.batch_size, seed=seed)
    model.fit(batches)
    task = Task(
        model=model,
        loss=lambda module, batch, generator: module.loss(batch, generator),
        batches=batches,
        export=model.save_pretrained,
        about={"kind": model.config.kind, "model": model.config.to_dict(), "world": "coin"},
        frozen=FrozenPart.of(model, {part: part for part in parts}),
    )
    with progress(f"{name}, seed {seed}", "steps") as on_progress:
        train(task, recipe, run, on_step=on_progress)


def _kind(name: str) -> str:
    return name.removesuffix("_trap")


@dataclass(frozen=True, kw_only=True)
class CoinBatches:
    """Batches of pairs as a model of `tokens` sees them, and its `TrainingData`: functions of (seed, step)."""

    tokens: TokenSpec
    rows: int
    seed: int

    def __call__(self, step: int, rank: int, processes: int) -> Batch:
        """This process's part of a step's pairs."""
        return draw_batch(step, self.rows, self.seed, self.tokens, shard=(rank, processes))

    def pairs(self) -> tuple[Tensor, Tensor]:
        """See `TrainingData.pairs`."""
        some = self._some()
        return some.tokens_t, some.tokens_th

    def action_statistics(self) -> tuple[Tensor, Tensor]:
        """See `TrainingData.action_statistics`; of padded chunks."""
        rows = self._some().require_actions().flatten(0, 1)
        return rows.mean(dim=0), rows.std(dim=0)

    def states(self) -> dict[int, Tensor]:
        """See `TrainingData.states`; none."""
        return {}

    def _some(self) -> Batch:
        return draw_batch(2**31, _FIT_PAIRS, self.seed, self.tokens)


def draw_batch(
    step: int, rows: int, seed: int, tokens: TokenSpec = TOKENS, *, shard: tuple[int, int] = (0, 1)
) -> Batch:
    """The pairs of one training step as a model of `tokens` sees them, a function of (seed, step); this process's part."""
    rank, world = shard
    part = slice(rank * rows // world, (rank + 1) * rows // world)
    pairs = coin.draw_pairs(rows, np.random.default_rng((seed, step)))
    seen, _ = views(tokens)
    tokens_t, tokens_th = (seen(frames[part]) for frames in (pairs.before, pairs.after))
    actions = torch.zeros(len(tokens_t), _PRESET.horizon, 2)
    actions[:, : coin.ACTIONS] = torch.from_numpy(pairs.actions[part])
    lengths = torch.full((len(tokens_t),), coin.ACTIONS)
    clip = tokens_th[:, None]  # the coin world has no frames in between
    return Batch(tokens_t=tokens_t, tokens_th=tokens_th, lengths=lengths, actions=actions, clip=clip, shard=shard)
