"""Every world model in the world whose right answers are known (`envs.coin`).

What must come out: regression erases the object that jumps by an unseen coin and still has the lowest L1; a good generative
model shows it in one of its four places, with the lower energy score. All models get the same batches, steps, width and depth.

Shape legend: S training seeds, n held-out samples, K futures per sample, N patch tokens, C channels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from foreact.core.batch import Batch
from foreact.core.errors import DivergedError, ForeactError
from foreact.core.presets import Preset, tiny
from foreact.core.pretrained import PretrainedModel, load_model
from foreact.core.progress import Bar
from foreact.core.recipe import TrainConfig
from foreact.core.token_spec import TokenSpec
from foreact.encoders.pixels import PixelEncoder
from foreact.envs import coin
from foreact.evaluation.dressing import SUFFIX
from foreact.latent_actions.rla import RLA
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
from foreact.training.loop import Task, train
from foreact.world_models.base import PretrainedWorldModel
from foreact.world_models.fm_wm import FMWMConfig
from foreact.world_models.rae import RAEConfig
from foreact.world_models.video_diffusion import VideoDiffusionConfig

TOKENS = TokenSpec(
    grid=coin.GRID, channels=coin.CHANNELS, fingerprint="coin/rotated-patches", encoder="", image_size=coin.SIDE
)
PIXELS = PixelEncoder(coin.SIDE).spec
WORLD_MODELS = ("rla-wm", "dino-wm", "fm-wm", "fm-wm-trap", "rae", "video-diffusion")
_FIT_PAIRS, _RAE_STEPS = 1024, 25


def run(study: CoinWorld, *, bar: Bar) -> dict[str, Any]:
    """Train every model with every seed, or go on where that was stopped, score them, write `out/results.json` and draw
    `out/futures.png`.

    Raises:
        ForeactError: an unknown model, no seeds or steps, or runs of other settings in `out`.
    """
    out, seeds, steps, models = study.out, study.seeds, study.steps, study.models or WORLD_MODELS
    if seeds < 1 or steps < 1:
        raise ForeactError("--seeds and --steps must be at least 1")
    unknown = [name for name in models if name not in WORLD_MODELS]
    if unknown:
        raise ForeactError(f"unknown model {unknown[0]!r}: choose among {', '.join(WORLD_MODELS)}")
    scores: dict[str, list[Scores]] = {name: [score(frames)] * seeds for name, frames in references().items()}
    diverged: dict[str, list[int]] = {}
    shown: dict[str, PretrainedWorldModel] = {}
    for name in (m.replace("-", "_") for m in models):
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


def _preset() -> Preset:
    return dataclasses.replace(
        tiny(),
        dim=96,
        heads=4,
        rla_depth=2,
        condition_depth=2,
        flow_depth=2,
        wide_head=192,
        flow_steps=16,
        video_steps=16,
    )


def _trained(name: str, seed: int, steps: int, folder: Path, bar: Bar) -> PretrainedWorldModel:
    """The model of `folder / name`, trained if it is not there yet; RLA-WM's autoencoder first."""
    preset = _preset()
    if name == "rla_wm":
        rla = _train("rla", lambda: preset.rla(TOKENS).build(), seed, steps, folder, bar)
        assert isinstance(rla, RLA)

        def build() -> PretrainedModel:
            model = preset.rla_wm(rla.config, 2).build()
            model.rla.load_state_dict(rla.state_dict())
            return model
    else:

        def build() -> PretrainedModel:
            tokens = PIXELS if name == "video_diffusion" else TOKENS
            config = preset.baseline(name.removesuffix("_trap"), tokens, 2)
            if isinstance(config, FMWMConfig) and name.endswith("_trap"):
                config = dataclasses.replace(config, condition=True)
            if isinstance(config, RAEConfig):
                config = dataclasses.replace(config, steps=_RAE_STEPS)
            if isinstance(config, VideoDiffusionConfig):
                config = dataclasses.replace(config, patch=coin.PATCH)
            return config.build()

    model = _train(name, build, seed, steps, folder, bar)
    assert isinstance(model, PretrainedWorldModel)
    return model


def _train(
    name: str, build: Callable[[], PretrainedModel], seed: int, steps: int, folder: Path, bar: Bar
) -> PretrainedModel:
    run = folder / name
    preset = _preset()
    recipe = preset.train_video_diffusion if name == "video_diffusion" else preset.train_world_model
    config: TrainConfig = dataclasses.replace(recipe, steps=steps, seed=seed)
    torch.manual_seed(seed)
    model: Any = build()
    tokens = model.config.tokens
    some = draw_batch(2**31, _FIT_PAIRS, seed, tokens)
    if isinstance(model, PretrainedWorldModel):
        assert some.actions is not None
        rows = some.actions.flatten(0, 1)
        model.normalise.fit(rows.mean(dim=0), rows.std(dim=0))
        model.fit(some.tokens_t, some.tokens_th)
    else:
        model.scale.fit(some.tokens_t, some.tokens_th)
    task = Task(
        model=model,
        loss=lambda module, batch, generator: module.loss(batch, generator),
        batches=lambda step, rank, world: draw_batch(step, config.batch_size, seed, tokens, shard=(rank, world)),
        export=lambda: model.save_pretrained(run),
        about={"kind": model.config.kind, "model": model.config.to_dict(), "world": "coin"},
    )
    with bar(f"{name}, seed {seed}", "steps") as on_progress:
        train(task, config, run, on_step=on_progress)
    return load_model(run)


def draw_batch(
    step: int, rows: int, seed: int, tokens: TokenSpec = TOKENS, *, shard: tuple[int, int] = (0, 1)
) -> Batch:
    """The pairs of one training step as a model of `tokens` sees them, a function of (seed, step); this process's part."""
    rank, world = shard
    part = slice(rank * rows // world, (rank + 1) * rows // world)
    pairs = coin.draw_pairs(rows, np.random.default_rng((seed, step)))
    seen, _ = views(tokens)
    tokens_t, tokens_th = (seen(frames[part]) for frames in (pairs.before, pairs.after))
    actions = torch.zeros(len(tokens_t), _preset().horizon, 2)
    actions[:, : coin.ACTIONS] = torch.from_numpy(pairs.actions[part])
    lengths = torch.full((len(tokens_t),), coin.ACTIONS)
    clip = tokens_th[:, None]  # the coin world has no frames in between
    return Batch(tokens_t=tokens_t, tokens_th=tokens_th, lengths=lengths, actions=actions, clip=clip, shard=shard)
