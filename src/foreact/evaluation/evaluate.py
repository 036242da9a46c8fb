"""`evaluate`: roll out held-out episodes, judge what was imagined, and say how sure the numbers are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import nn

from foreact.core.contracts import LatentActionModel, WorldModel
from foreact.core.errors import ForeactError
from foreact.core.machine import machine, versions
from foreact.core.progress import OnProgress, ProgressFactory
from foreact.core.token_spec import TokenSpec
from foreact.data.lerobot import LeRobotDataset
from foreact.encoders.pixels import are_pixels
from foreact.evaluation.aggregate import PERSISTENCE, Scoreboard
from foreact.evaluation.film import make_films
from foreact.evaluation.metrics import load_lpips
from foreact.evaluation.poses import PoseTarget, find_poses
from foreact.evaluation.residuals import SUFFIX
from foreact.evaluation.results import Results
from foreact.evaluation.rollout_scorer import ORACLE, TRUE_TOKENS, EvaluationConfig, RolloutScorer, choose_strips
from foreact.evaluation.rollouts import (
    Protocol,
    Window,
    check_model,
    moving_windows,
    select_windows,
    usable_lengths,
)
from foreact.evaluation.scoring import Judge
from foreact.evaluation.state_probe import StateProbe, fit_probe
from foreact.evaluation.timing import time_models
from foreact.recordings.splits import Split
from foreact.recordings.token_cache import TokenCache

READABLE = 0.5
"""A pose counts as readable if the probe's error on true tokens is at most this share of a blind guess's error."""


def evaluate(
    models: Mapping[str, WorldModel],
    cache: TokenCache,
    split: Split,
    *,
    rla: LatentActionModel | None = None,
    decoder: Any = None,
    config: EvaluationConfig | None = None,
    cost: Mapping[str, Any] | None = None,
    progress: ProgressFactory | None = None,
) -> Results:
    """Evaluate world models on the held-out episodes of a dataset.

    Args:
        models: by the names that their rows get (`rla_wm`, `dino_wm`), in evaluation mode, all on one device; those that
            imagine pixels are judged by how the cache's encoder sees their pictures.
        cache: tokens of the dataset.
        split: which episodes are held out; the state probe sees only the others.
        rla: the latent-action model of the `oracle` row, which is left out without one.
        decoder: image decoder; without one there are no metrics of pictures and no film strips.
        config: the defaults if None.
        cost: parameters and FLOPs to be shown in the report.
        progress: (title, unit) -> a context that gives a progress callback.

    Raises:
        ForeactError: models, tokens, split and dataset do not fit together, or no episode is long enough.
    """
    config, progress, dataset = config or EvaluationConfig(), progress or _silent, cache.dataset
    _check(models, rla, decoder, cache, split, protocol := config.protocol)
    lengths = usable_lengths(dataset, split.validation, protocol)
    windows = select_windows(lengths, protocol)
    scorer = RolloutScorer(cache=cache, config=config, device=_device(models), decoder=decoder)
    poses = find_poses(dataset, columns=config.pose_columns)
    moving, rule = moving_windows(dataset, windows, protocol, poses, scorer.token_changes(windows))
    judge, reason = _judge(scorer, split, poses, progress)
    shown = choose_strips(windows, moving, config.strips if decoder is not None else 0)
    with progress("roll out", "windows") as on_progress:
        board, strips = scorer.run(models, judge, windows, on_progress, oracle_model=rla, shown=shown)
    unreadable = _drop_unreadable(board, judge.probe, scorer, windows)
    seen = {name: scorer.example(windows[0], model) for name, model in models.items()}
    compared = [name for name in board.scores if name not in (ORACLE, TRUE_TOKENS)]
    subsets = {"all": np.ones(len(windows), dtype=bool), "moving": moving}
    return Results(
        split_hash=split.hash,
        seeds=(protocol.seed,),
        rows=board.rows(subsets, config.bootstrap),
        paired=board.differences(compared, subsets, config.bootstrap),
        dataset=_describe_dataset(dataset, split),
        encoder=cache.spec.fingerprint,
        protocol=_describe_protocol(config, windows, lengths, moving, rule),
        models={name: _describe_model(model) for name, model in models.items()},
        versions=versions(),
        machine=machine(scorer.device),
        cost=dict(cost or {}),
        timings=time_models(models, decoder, seen, protocol, config.timing_batch),
        notes=_notes(dataset, split, lengths, poses, None if decoder is None else reason) | unreadable,
        strips=strips,
        films=make_films(scorer, models, list(shown)[: config.films]),
        episodes=board.episode_values(subsets) if config.keep_episodes else (),
    )


def _judge(
    scorer: RolloutScorer, split: Split, poses: Sequence[PoseTarget], progress: ProgressFactory
) -> tuple[Judge, str | None]:
    """What predictions are held against, with a state probe where there are poses; and why LPIPS is not in it."""
    probe, device = None, scorer.device
    if poses:
        with progress("fit state probe", "steps") as on_progress:
            config = scorer.config.probe
            probe = fit_probe(scorer.cache, split.train, poses, config=config, device=device, on_progress=on_progress)
    lpips, reason = load_lpips(device)
    threshold = scorer.motion_threshold(split.train)
    return Judge(decoder=scorer.decoder, probe=probe, lpips=lpips, motion_threshold=threshold), reason


def _check(
    models: Mapping[str, WorldModel],
    rla: LatentActionModel | None,
    decoder: Any,
    cache: TokenCache,
    split: Split,
    protocol: Protocol,
) -> None:
    if split.dataset != cache.dataset.fingerprint():
        raise ForeactError(
            f"the split {split.hash} belongs to another dataset than {cache.dataset.root}: make a split of this one"
        )
    taken = {PERSISTENCE, ORACLE, TRUE_TOKENS, *(name + SUFFIX for name in models)} & models.keys()
    if taken:
        raise ForeactError(
            f"a model cannot be called {sorted(taken)[0]}, which is a reference row: give it another name"
        )
    seeing = {name: model for name, model in models.items() if not are_pixels(_tokens(model))}
    parts: dict[str, Any] = {**seeing, "the RLA of the oracle": rla, "the image decoder": decoder}
    for name, part in parts.items():
        if part is not None:
            part.config.tokens.require(cache.spec, model=name, source=str(cache.dataset.root))
    for name, model in models.items():
        check_model(name, model, cache.dataset, protocol)


def _device(models: Mapping[str, WorldModel]) -> torch.device:
    found = (p.device for m in models.values() if isinstance(m, nn.Module) for p in m.parameters())
    return next(found, torch.device("cpu"))


def _tokens(model: WorldModel) -> TokenSpec:
    config: Any = model.config
    return config.tokens


def _drop_unreadable(
    board: Scoreboard, probe: StateProbe | None, scorer: RolloutScorer, windows: Sequence[Window]
) -> dict[str, str]:
    """Take poses off the board that the probe cannot read from true tokens; the reasons, by metric."""
    reasons: dict[str, str] = {}
    if probe is None:
        return reasons
    truth = [scorer.poses(window, probe.targets) for window in windows]
    guesses = probe.guess_errors({t.metric: np.stack([poses[t.metric][1:] for poses in truth]) for t in probe.targets})
    for metric, blind in guesses.items():
        error, guess = float(board.values(TRUE_TOKENS, metric).mean()), float(blind.mean())
        if error > READABLE * guess:
            board.drop(metric)
            reasons[metric] = (
                f"empty: the probe's error on true held-out tokens is {error:.3g}, a blind guess's {guess:.3g}"
            )
    return reasons


def _notes(
    dataset: LeRobotDataset,
    split: Split,
    lengths: Mapping[int, int],
    poses: Sequence[PoseTarget],
    lpips: str | None,
) -> dict[str, str]:
    notes = {f"probe: {pose.metric}": pose.about for pose in poses}
    if not poses:
        notes["probe"] = "no state probe: the dataset has no column with known poses (any can be named)"
    left_out = len(split.validation) - len(lengths)
    if left_out:
        notes["episodes"] = f"{left_out} of {len(split.validation)} held-out episodes are too short or have no actions"
    if lpips:
        notes["lpips"] = f"empty: {lpips}"
    return notes


def _describe_dataset(dataset: LeRobotDataset, split: Split) -> dict[str, Any]:
    return {
        "name": dataset.root.resolve().name,
        "fingerprint": dataset.fingerprint(),
        "robot": dataset.robot_type,
        "camera": dataset.camera,
        "fps": dataset.fps,
        "episodes": len(dataset.episodes),
        "frames": dataset.total_frames,
        "train_episodes": len(split.train),
        "held_out_episodes": len(split.validation),
    }


def _describe_protocol(
    config: EvaluationConfig, windows: Sequence[Window], lengths: Mapping[int, int], moving: np.ndarray, rule: str
) -> dict[str, Any]:
    return {
        **asdict(config.protocol),
        "boundaries": list(config.protocol.boundaries),
        "episodes": len(lengths),
        "windows": len(windows),
        "moving_windows": int(moving.sum()),
        "moving_episodes": len({w.episode for w, moves in zip(windows, moving, strict=True) if moves}),
        "moving_rule": rule,
        "noise": "one CPU generator per sample and chunk, seeded by (seed, episode, start, sample) and the chunk",
        "intervals": f"{config.bootstrap.level:.0%} BCa bootstrap over episodes, {config.bootstrap.resamples} resamples",
        "probe": asdict(config.probe),
    }


def _describe_model(model: WorldModel) -> dict[str, Any]:
    count = sum(p.numel() for p in model.parameters()) if isinstance(model, nn.Module) else None
    return {"kind": getattr(model.config, "kind", None), "parameters": count, "stochastic": model.stochastic}


def _silent(title: str, unit: str) -> AbstractContextManager[OnProgress]:
    return nullcontext(lambda done, total, values=None: None)
