"""Losses and rates over a logging interval of a training."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import Tensor

from foreact.core.errors import DivergedError
from foreact.core.machine import matmul_rate, synchronise
from foreact.core.recipe import TrainConfig


class Meter:
    """Counts from one log line to the next.

    Args:
        config: of the training.
        accelerator: over whose processes losses are averaged.
        run: folder that errors name.
        flops: of one step on this process.
    """

    def __init__(self, config: TrainConfig, accelerator: Accelerator, run: Path, *, flops: int) -> None:
        self.config, self.accelerator, self.run, self.flops = config, accelerator, run, flops
        self.peak = matmul_rate(accelerator.device)
        self._begin()

    def _begin(self) -> None:
        self.start, self.steps = time.perf_counter(), 0
        self.waited = self.apart = 0.0  # seconds for data, and for what is not training

    def timed(self, batches: Iterator[Any]) -> Iterator[Any]:
        """The batches; how long they are waited for is counted."""
        while True:
            start = time.perf_counter()
            batch = next(batches, None)
            self.waited += time.perf_counter() - start
            if batch is None:
                return
            yield batch

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What is done inside does not count as training."""
        start = time.perf_counter()
        yield
        self.apart += time.perf_counter() - start

    def after_step(self, step: int, scalars: dict[str, Tensor]) -> dict[str, float]:
        """Means and rates where a log line is due after `step` steps, else nothing.

        Raises:
            DivergedError: the loss is not finite.
        """
        self.steps += 1
        if step % self.config.log_every and step != self.config.steps:
            return {}
        means = {k: self.accelerator.reduce(v.detach().float(), "mean").item() for k, v in scalars.items()}
        if not math.isfinite(means["loss"]):
            raise DivergedError(
                f"the loss is {means['loss']} at step {step} of {self.run}: try a smaller learning rate"
            )
        synchronise(self.accelerator.device)
        elapsed = time.perf_counter() - self.start - self.apart
        rates = {
            "samples_per_second": self.steps * self.config.batch_size / elapsed,
            "utilisation": self.flops * self.steps / elapsed / self.peak,
            "data_wait": self.waited / elapsed,
        }
        self._begin()
        return {**means, **rates}
