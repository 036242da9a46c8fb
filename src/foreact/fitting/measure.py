"""What a fit will cost on this machine: every stage is done in small, on copies that leave no trace."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState

from foreact.core.contracts import Encoder
from foreact.core.machine import matmul_rate
from foreact.core.precision import use_bf16
from foreact.core.presets import preset
from foreact.core.pretrained import load_model
from foreact.core.progress import OnProgress
from foreact.data.defects import DefectFinder
from foreact.data.lerobot import LeRobotDataset
from foreact.encoders.loading import load_encoder
from foreact.evaluation.evaluate import evaluate
from foreact.evaluation.rollout_scorer import EvaluationConfig
from foreact.evaluation.rollouts import Protocol, select_windows, usable_lengths
from foreact.evaluation.state_probe import ProbeConfig
from foreact.fitting.request import Setup, run_folder
from foreact.fitting.stages import Piece, Stage
from foreact.recordings.opening import number_embodiments
from foreact.recordings.recording import Recording
from foreact.recordings.recordings import Recordings
from foreact.recordings.sources import as_sources
from foreact.recordings.splits import Split
from foreact.recordings.token_cache import TokenCache, encode_frames
from foreact.training.loop import train
from foreact.training.make_task import make_task
from foreact.training.run import plan_training

_STEPS, _WINDOWS, _PROBE_STEPS = 6, 3, 40
_FRAMES, _SECONDS = 64, 3.0
"""Frames that are encoded to see how fast that goes, fewer where they take longer than these seconds."""


class SampledTokens(TokenCache):
    """A cache in which a few encoded frames stand for all: it costs what the real one costs to read."""

    def __init__(self, dataset: LeRobotDataset, encoder: Encoder, frames: np.ndarray, tokens: np.ndarray) -> None:
        super().__init__(dataset, encoder, Path())
        self.sampled = {"tokens": tokens, "frames": frames}

    def tokens(self, episode: int) -> np.ndarray:
        """Tokens (T, N, C) of an episode's length."""
        return self._at("tokens", np.arange(self.dataset.episode(episode).length))

    def frames(self, episode: int) -> np.ndarray:
        """Frames (T, image_size, image_size, 3) of an episode's length."""
        return self._at("frames", np.arange(self.dataset.episode(episode).length))

    def gather(self, episodes: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Tokens (B, N, C)."""
        return self._at("tokens", episodes + indices)

    def gather_frames(self, episodes: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Frames (B, image_size, image_size, 3)."""
        return self._at("frames", episodes + indices)

    def _at(self, name: str, rows: np.ndarray) -> np.ndarray:
        return self.sampled[name][np.asarray(rows) % len(self.sampled[name])]


@dataclass
class _Stopwatch:
    """A `ProgressFactory` that shows nothing and keeps when what was reported: unit -> [(seconds, done, total)]."""

    seen: dict[str, list[tuple[float, int, int]]] = field(default_factory=dict)

    @contextmanager
    def __call__(self, title: str, unit: str) -> Iterator[OnProgress]:
        def on_progress(done: int, total: int, values: dict[str, float] | None = None) -> None:
            self.seen.setdefault(unit, []).append((time.perf_counter(), done, total))

        yield on_progress

    def each(self, unit: str) -> float:
        """Seconds for one of a unit; 0 where none were reported."""
        reports = self.seen.get(unit, [])
        if len(reports) < 2:
            return 0.0
        (begun, first, _), (ended, last, _) = reports[0], reports[-1]
        return (ended - begun) / max(1, last - first)


def measure(setup: Setup, on_progress: OnProgress) -> tuple[Stage, ...]:
    """The stages of a fit with what they cost, trainings with the steps that were asked for or the preset's.

    Raises:
        ForeactError: what the stages themselves would raise: bad data, options that do not fit, no encoder.
    """
    out, device = setup.request.out, PartialState().device
    out.mkdir(parents=True, exist_ok=True)
    use_bf16("auto", device.type), matmul_rate(device)  # once per process, and no stage's own
    for left in out.glob(".measuring-*"):  # of a kill
        shutil.rmtree(left, ignore_errors=True)
    names, done = 2 + len(setup.encodings) + len(setup.kinds), 0

    def tick() -> None:
        nonlocal done
        done += 1
        on_progress(done, names)

    with tempfile.TemporaryDirectory(dir=out, prefix=".measuring-", ignore_cleanup_errors=True) as folder:
        stages = [measure_inspection(setup)]
        tick()
        samples: dict[tuple[str, int], list[SampledTokens]] = {}
        for (encoder, size), frames in setup.encodings.items():
            stage, samples[encoder, size] = measure_encoding(setup, encoder, size, frames=frames)
            stages.append(stage)
            tick()
        for kind in setup.kinds:
            seen = setup.request.options(kind).frames(preset(setup.request.preset))
            stages.append(measure_training(setup, kind, samples[seen], Path(folder)))
            tick()
        if setup.protocol is not None:
            (first, *_), *_ = samples.values()
            stages.append(measure_evaluation(setup, setup.protocol, first, Path(folder)))
        tick()
    return tuple(stages)


def measure_inspection(setup: Setup) -> Stage:
    """By looking through the shortest episode of every dataset."""
    pieces = []
    for dataset, split in zip(setup.datasets, setup.splits, strict=True):
        episode = min((dataset.episode(e) for e in split.train), key=lambda e: e.length)
        begun = time.perf_counter()
        DefectFinder(dataset).check_episode(episode)
        per_frame = (time.perf_counter() - begun) / episode.length
        count = len(dataset.episodes)
        pieces.append(Piece(unit="episodes", count=count, seconds=per_frame * dataset.total_frames / count))
    return Stage(name="inspect", pieces=tuple(pieces), disk=1 << 20)


def measure_encoding(setup: Setup, encoder: str, size: int, *, frames: bool) -> tuple[Stage, list[SampledTokens]]:
    """By encoding a few frames of every dataset, which then stand for all tokens."""
    begun = time.perf_counter()
    model: Any = load_encoder(encoder, image_size=size)
    if isinstance(model, torch.nn.Module):
        model.to(PartialState().device)
    loading = time.perf_counter() - begun
    pieces, samples, disk = [], [], 0
    for dataset, split in zip(setup.datasets, setup.splits, strict=True):
        episodes = (*split.train, *split.validation)
        read, encoded, sample = _encode_some(dataset, split, model, size)
        cache = TokenCache(dataset, model, Path(), episodes=episodes)
        count = sum(dataset.episode(e).length for e in episodes)
        pieces.append(Piece(unit="frames", count=count, seconds=read + encoded))
        if frames:
            pieces.append(Piece(unit="frames", count=count, seconds=read, told=False))
        samples.append(sample)
        disk += cache.required_bytes(frames=frames)
    name = "encode" if encoder != "pixels" or len(setup.encodings) == 1 else "encode pixels"
    return Stage(name=name, pieces=tuple(pieces), fixed=loading, disk=disk), samples


def _encode_some(
    dataset: LeRobotDataset, split: Split, model: Encoder, size: int
) -> tuple[float, float, SampledTokens]:
    """Seconds to read a frame, seconds to encode one, and frames with their tokens."""
    longest = max(split.train, key=lambda e: dataset.episode(e).length)
    begun = time.perf_counter()
    pictures = dataset.frames(longest, count=min(_FRAMES, dataset.episode(longest).length), size=size)
    read = (time.perf_counter() - begun) / len(pictures)
    encode_frames(model, pictures[:2])  # what only the first call takes
    begun = time.perf_counter()
    encode_frames(model, pictures[:4])
    affordable = int(_SECONDS / max(1e-6, (time.perf_counter() - begun) / 4))
    pictures = pictures[: max(4, affordable)]
    begun = time.perf_counter()
    tokens = encode_frames(model, pictures)
    return read, (time.perf_counter() - begun) / len(pictures), SampledTokens(dataset, model, pictures, tokens)


def _sampled_recordings(setup: Setup, samples: list[SampledTokens]) -> Recordings:
    asked = setup.request.recordings
    sources = as_sources(asked["data"], camera=asked["camera"])
    numbers = number_embodiments(setup.datasets)
    parts = zip(sources, setup.splits, samples, numbers, strict=True)
    return Recordings(
        sources=tuple(
            Recording(dataset=cache.dataset, split=split, cache=cache, weight=source.weight, embodiment=number)
            for source, split, cache, number in parts
        )
    )


def measure_training(setup: Setup, kind: str, samples: list[SampledTokens], folder: Path) -> Stage:
    """By a few steps, a checkpoint and an export of the real training, on sampled tokens."""
    begun = time.perf_counter()
    request = setup.training(kind, folder, setup.request.steps)
    plan = plan_training(request)
    recordings = _sampled_recordings(setup, samples)
    few = replace(plan.recipe, steps=_STEPS, save_every=_STEPS, log_every=_STEPS)
    task = make_task(replace(plan, law=replace(plan.law, moving=0.0)), recordings, few, start=request.start)
    ticks: list[float] = []
    train(task, few, request.out, on_step=lambda *_: ticks.append(time.perf_counter()))
    written = time.perf_counter() - ticks[-1]
    gaps = np.diff(ticks)  # the last one holds the loss on held-out data
    step = float(np.median(gaps[1:-1]))
    saving = max(0.0, float(gaps[-1]) - step) + written
    checkpoint, run = _bytes(request.out / "checkpoints"), _bytes(request.out)
    return Stage(
        name=kind.replace("_", "-"),
        kind=kind,
        pieces=(Piece(unit="steps", count=plan.recipe.steps, seconds=step + saving / plan.recipe.save_every),),
        fixed=max(0.0, ticks[0] - begun - step) + written,
        disk=run,
        passing=checkpoint,
    )


def measure_evaluation(setup: Setup, protocol: Protocol, sampled: SampledTokens, folder: Path) -> Stage:
    """By a few windows of one episode, imagined by the models of which a few steps were trained."""
    dataset, split = setup.datasets[0], setup.splits[0]
    lengths = usable_lengths(dataset, split.validation, protocol)
    longest = max(lengths, key=lengths.__getitem__)
    models = {kind: load_model(run_folder(folder, kind)) for kind in setup.world_models}
    rla, decoder = (load_model(run_folder(folder, kind)) for kind in ("rla", "image_decoder"))
    for model in (*models.values(), rla, decoder):
        model.to(PartialState().device)
    watch, begun = _Stopwatch(), time.perf_counter()
    results = evaluate(
        models,
        sampled,
        replace(split, train=split.train[:8], validation=(longest,)),
        rla=rla,
        decoder=decoder,
        config=EvaluationConfig(
            protocol=replace(protocol, starts_per_episode=_WINDOWS),
            probe=replace(ProbeConfig(), steps=_PROBE_STEPS, frames=256),
            strips=1,
            films=1,
        ),
        progress=watch,
    )
    elapsed = time.perf_counter() - begun
    window, probe = watch.each("windows"), watch.each("steps")
    fixed = elapsed - window * _WINDOWS - probe * _PROBE_STEPS
    windows = len(select_windows(lengths, protocol))
    pieces = [Piece(unit="windows", count=windows, seconds=window)]
    if "steps" in watch.seen:
        pieces.insert(0, Piece(unit="steps", count=ProbeConfig().steps, seconds=probe, told=False))
    results.save(folder / "results.json")
    strips = EvaluationConfig().strips
    return Stage(
        name="evaluate",
        pieces=tuple(pieces),
        fixed=max(0.0, fixed),
        disk=2 * strips * _bytes(folder / "results.json"),  # and the report, which shows them
    )


def _bytes(folder: Path) -> int:
    if folder.is_file():
        return folder.stat().st_size
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
