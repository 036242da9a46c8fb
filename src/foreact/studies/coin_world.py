"""Every world model in the world whose right answers are known (`envs.coin`).

What must come out: regression erases the object that jumps by an unseen coin and still has the lowest L1; a good generative
model shows it in one of its four places, with the lower energy score. All models get the same batches, steps, width and depth.

Shape legend: S training seeds, n held-out samples, K futures per sample, N patch tokens, C channels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foreact.core.batch import Batch
from foreact.core.cards import DataSpec
from foreact.core.errors import DivergedError, ForeactError
from foreact.core.presets import tiny
from foreact.core.pretrained import load_model
from foreact.core.progress import Bar
from foreact.core.recipe import TrainConfig
from foreact.core.registry import card
from foreact.core.token_spec import TokenSpec
from foreact.encoders.pixels import PixelEncoder
from foreact.envs import coin
from foreact.evaluation.dressing import SUFFIX
from foreact.studies.coin_picture import write_futures
from foreact.studies.coin_scores import (
    FUTURES,
    HELD_OUT,
    Scores,
    dress,
    imagine,
    references,
    rows,
    score,
    verdicts,
    views,
)
from foreact.studies.scores import save_study
from foreact.studies.settings import CoinWorld
from foreact.studies.trained import chosen_kinds
from foreact.training.loop import train
from foreact.training.task import FrozenPart, Task

TOKENS = TokenSpec(
    grid=coin.GRID, channels=coin.CHANNELS, fingerprint="coin/rotated-patches", encoder="", image_size=coin.SIDE
)
PIXELS = PixelEncoder(coin.SIDE).spec
_FIT_PAIRS = 1024


def run(study: CoinWorld, *, bar: Bar) -> dict[str, Any]:
    """Train every model with every seed, or go on where that was stopped, score them, write `out/results.json` and draw
    `out/futures.png`.

    Raises:
        ForeactError: an unknown model, no seeds or steps, or runs of other settings in `out`.
    """
    out, seeds, steps = study.out, study.seeds, study.steps
    if seeds < 1 or steps < 1:
        raise ForeactError("--seeds and --steps must be at least 1")
    models = chosen_kinds(study.models, "world_model", more=(_TRAP,))
    scores: dict[str, list[Scores]] = {name: [score(frames)] * seeds for name, frames in references().items()}
    diverged: dict[str, list[int]] = {}
    shown: dict[str, Any] = {}
    for name in models:
        for seed in range(seeds):
            try:
                model = _trained(name, seed, steps, out / f"seed{seed}", bar)
            except DivergedError:
                diverged.setdefault(name, []).append(seed)
                continue
            frames = imagine(model)
            scores.setdefault(name, []).append(score(frames))
            if not model.stochastic:
                scores.setdefault(name + SUFFIX, []).append(score(dress(frames)))
            shown.setdefault(name, model)
    results = {
        "schema": 1,
        "study": "coin_world",
        "seeds": list(range(seeds)),
        "steps": steps,
        "held_out": HELD_OUT,
        "futures": FUTURES,
        "diverged": diverged,
        "rows": rows(scores),
        "verdicts": [dataclasses.asdict(v) for v in verdicts(scores)],
    }
    save_study(study, results)
    write_futures(shown, out / "futures.png")
    return results


_PRESET = dataclasses.replace(tiny(), dim=96, heads=4, latent_depth=2, condition_depth=2)
_TRAP = "fm_wm_trap"
_OPTIONS: dict[str, dict[str, Any]] = {"rla_wm": {"flow_steps": 16}}
_CHANGES: dict[str, dict[str, Any]] = {
    _TRAP: {"condition": True},
    "rae": {"head_dim": 192, "steps": 25},
    "video_diffusion": {"patch": coin.PATCH, "steps": 16},
}
"""Of the options, or else of the config, of models that are small enough for this world."""


def _trained(name: str, seed: int, steps: int, folder: Path, bar: Bar) -> Any:
    """The model of `folder / name`, trained if it is not there yet; what it stands on first."""
    training = card(name.removesuffix("_trap")).training
    assert training is not None
    options = training(**_OPTIONS.get(name, {}))
    parts = {option: _trained(part.kind, seed, steps, folder, bar) for option, part in options.parts().items()}
    spec = DataSpec(tokens=PIXELS if options.frames(_PRESET)[0] == "pixels" else TOKENS, action_dim=2)

    def build() -> Any:
        if parts:
            return options.plan(_PRESET, parts).build(spec)
        return dataclasses.replace(options.configure(_PRESET, spec), **_CHANGES.get(name, {})).build()

    recipe = dataclasses.replace(options.recipe(_PRESET), steps=steps, seed=seed)
    return _train(name, build, recipe, tuple(parts), folder / name, bar)


def _train(
    name: str, build: Callable[[], Any], recipe: TrainConfig, frozen: tuple[str, ...], run: Path, bar: Bar
) -> Any:
    torch.manual_seed(recipe.seed)
    model = build()
    batches = CoinBatches(tokens=model.config.tokens, rows=recipe.batch_size, seed=recipe.seed)
    model.fit(batches)
    task = Task(
        model=model,
        loss=lambda module, batch, generator: module.loss(batch, generator),
        batches=batches,
        export=lambda: model.save_pretrained(run),
        about={"kind": model.config.kind, "model": model.config.to_dict(), "world": "coin"},
        frozen=FrozenPart.of(model, {part: part for part in frozen}),
    )
    with bar(f"{name}, seed {recipe.seed}", "steps") as on_progress:
        train(task, recipe, run, on_step=on_progress)
    return load_model(run)


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
