"""How a model is trained, as plain data: the optimiser's settings and the law of its frame pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from foreact.core.precision import Precision

OptimizerName = Literal["adamw", "muon"]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a model is trained.

    Attributes:
        steps: optimiser steps.
        batch_size: samples per step over all processes.
        optimizer: AdamW, or Muon for the matrices of transformer blocks; see `training.optimizers`.
        learning_rate: after warm-up.
        warmup: steps of linear warm-up.
        schedule: after warm-up: constant, or a cosine to zero.
        weight_decay: decoupled from the gradient.
        clip: largest gradient norm.
        ema: decay of the weights' moving average, which is what is saved; early steps use less.
        precision: autocast to bf16, none, or bf16 where it is faster than float32.
        seed: of initial weights, batches and noise.
        save_every: steps between checkpoints, and between losses of the averaged weights on held-out data.
        log_every: steps between log lines.
        snapshots: averaged models that are kept along the way, evenly spaced, in `RUN/snapshots/`; the last one is the run's.
        compile: compile the model with torch.compile (needs a C++ compiler on a CPU).
        checkpoint_activations: keep less for the backward pass and compute it again; see `training.activations`.
    """

    steps: int
    batch_size: int
    optimizer: OptimizerName = "adamw"
    learning_rate: float = 1e-4
    warmup: int = 100
    schedule: Literal["constant", "cosine"] = "constant"
    weight_decay: float = 0.0
    clip: float = 1.0
    ema: float = 0.999
    precision: Precision = "auto"
    seed: int = 0
    save_every: int = 500
    log_every: int = 20
    snapshots: int = 0
    compile: bool = False
    checkpoint_activations: bool = False

    def is_snapshot(self, step: int) -> bool:
        """Whether the averaged model is kept after `step` steps."""
        kept = {round(self.steps * (k + 1) / self.snapshots) for k in range(self.snapshots)}
        return step in kept


@dataclass(frozen=True, kw_only=True)
class PairSampling:
    """How pairs are drawn.

    Attributes:
        max_horizon: largest h; the smallest is 1.
        law: of h: uniform, or the long-biased Beta(5, 2) over the range (the released code, on ManiSkill).
        moving: probability of a start frame near movement (0.9 in the paper).
        seconds: instead of the law, the one gap of all pairs in seconds (LaWM: 1.2); a start too near the end has no pair.
    """

    max_horizon: int = 15
    law: Literal["uniform", "beta"] = "uniform"
    moving: float = 0.9
    seconds: float | None = None

    def gap(self, fps: float) -> int | None:
        """The one h of all pairs at this frame rate, at least 1 (LaWAM, Eq. 6); None where h follows the law."""
        return None if self.seconds is None else max(1, round(self.seconds * fps))
