"""The one training loop: accelerate for devices, precision and processes; AdamW, warm-up, clipping, EMA, exact resume.

Everything random in step k is a function of (seed, k): the batch and the noise. A run that was killed therefore ends
with the same weights, bit for bit on a CPU, and two processes follow one process with twice the batch.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, set_seed
from torch import Tensor, nn

from foreact.core.errors import ForeactError
from foreact.core.machine import step_flops
from foreact.core.precision import use_bf16
from foreact.core.recipe import TrainConfig
from foreact.training.activations import checkpoint_activations
from foreact.training.checkpoint import load_state, save_state
from foreact.training.interrupt import Interrupt
from foreact.training.journal import Journal
from foreact.training.loading import load_batches, workers_for
from foreact.training.meter import Meter
from foreact.training.optimizers import build_optimizers
from foreact.training.task import Task

_DISTRIBUTED = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)

_HELD_OUT_BATCHES = 8
_NUMPY_SEEDS = 2**32

OnStep = Callable[[int, int, dict[str, float]], None]


class _Loss(nn.Module):
    """Gives accelerate one module whose forward pass is the loss.

    It autocasts by itself: accelerate's own precision is one for the whole life of a process.
    """

    def __init__(self, task: Task, device: torch.device, *, bf16: bool) -> None:
        super().__init__()
        self.model = task.model
        self._loss, self._device, self._bf16 = task.loss, device.type, bf16

    def forward(self, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        with torch.autocast(self._device, torch.bfloat16, enabled=self._bf16):
            scalars = self._loss(self.model, batch, generator)
        return {name: value.float() for name, value in scalars.items()}


def train(task: Task, config: TrainConfig, run: Path, *, on_step: OnStep | None = None) -> dict[str, float]:
    """Train `task.model`, or go on where `run` was stopped, and export it.

    Args:
        task: model, data and loss.
        config: how.
        run: folder for checkpoints, log and TensorBoard files.
        on_step: called with (steps done, steps, latest values) after every step.

    Returns:
        The last logged values; empty where the run had been finished before.

    Raises:
        ForeactError: the run belongs to other settings, a checkpoint cannot be read or written.
        DivergedError: the loss is not finite.
    """
    return _Run(task, config, run).train(on_step)


class _Run:
    def __init__(self, task: Task, config: TrainConfig, run: Path) -> None:
        self.task, self.folder = task, run
        run.mkdir(parents=True, exist_ok=True)
        self.accelerator = Accelerator(mixed_precision="no", step_scheduler_with_optimizer=False)
        if self.accelerator.distributed_type not in _DISTRIBUTED:
            raise ForeactError(
                f"{self.accelerator.distributed_type.value} is not supported: every preset's weights and optimiser fit on one GPU "
                "(docs/performance.md), use accelerate's plain multi-GPU launch, and --checkpoint-activations for memory"
            )
        if config.batch_size % self.accelerator.num_processes:
            raise ForeactError(
                f"batch size {config.batch_size} does not divide over {self.accelerator.num_processes} processes"
            )
        self.model = task.model
        bf16 = use_bf16(config.precision, self.accelerator.device.type)
        self.config = config = replace(config, precision="bf16" if bf16 else "no")
        self.loss = _Loss(task, self.accelerator.device, bf16=bf16)
        given = {"learning_rate": config.learning_rate, "weight_decay": config.weight_decay}
        self.raw_optimizers = build_optimizers(self.model, config.optimizer, rates=task.rates, **given)
        self.about = {"train": _what_matters(config), **task.about}
        self.step, self.average = load_state(run, task, self.raw_optimizers, self.about)
        if not self.average:
            self.average = {k: v.detach().clone() for k, v in task.trained_state().items()}
        module, *self.optimizers = self.accelerator.prepare(self.loss, *self.raw_optimizers)
        self.module: Any = torch.compile(module) if config.compile else module
        self.average = {k: v.to(self.accelerator.device) for k, v in self.average.items()}
        self.generator = torch.Generator(self.accelerator.device)

    def train(self, on_step: OnStep | None) -> dict[str, float]:
        config = self.config
        values: dict[str, float] = {}
        if self.step < config.steps:
            sample = self._batch(self.step)
            meter = self._meter(sample)  # before checkpointing: what is computed twice is not counted twice
            if config.checkpoint_activations:
                checkpoint_activations(self.model)
            journal = Journal(self.folder, first_step=self.step) if self.accelerator.is_main_process else None
            workers = workers_for(sample, self.task.workers)
            del sample
            try:
                with (
                    Interrupt() as interrupt,
                    load_batches(self._batch, self.step, config.steps, workers=workers) as batches,
                ):
                    for batch in meter.timed(batches):
                        scalars = self._advance(batch)
                        logged = meter.after_step(self.step, scalars)
                        due = self.step % config.save_every == 0 or self.step == config.steps
                        if logged:
                            logged["learning_rate"] = learning_rate(config, self.step - 1)
                        if due and self.task.held_out:
                            with meter.paused():
                                logged |= self._held_out_losses(self.task.held_out)
                        values = values | logged
                        if logged and journal:
                            journal.write(self.step, logged)
                        if on_step:
                            on_step(self.step, config.steps, values)
                        if config.is_snapshot(self.step):
                            self._snapshot()
                        if interrupt.asked or due:
                            self._save()
                        if interrupt.asked:
                            raise KeyboardInterrupt
            finally:
                if journal:
                    journal.close()
        self._export()
        return values

    def _batch(self, step: int) -> Any:
        return self.task.batches(step, self.accelerator.process_index, self.accelerator.num_processes)

    def _advance(self, batch: Any) -> dict[str, Tensor]:
        config = self.config
        for group in (g for o in self.optimizers for g in o.param_groups):
            group["lr"] = group["share"] * learning_rate(config, self.step)
        self.generator.manual_seed(config.seed * 1_000_003 + self.step)
        set_seed((config.seed * 1_000_003 + self.step) % _NUMPY_SEEDS)  # dropout and its like, inside models
        scalars = self.module(_to_device(batch, self.accelerator.device), self.generator)
        self.accelerator.backward(scalars["loss"])
        norm = self.accelerator.clip_grad_norm_(self.module.parameters(), config.clip)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self._update_average()
        if self.task.after_step:
            self.task.after_step(self.step, config.steps)
        return {**scalars, "gradient_norm": torch.as_tensor(norm)}

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        trained = {name for name, p in self.model.named_parameters() if p.requires_grad}
        state = self.task.trained_state()
        floating = [k for k in state if k in trained]
        torch._foreach_lerp_([self.average[k] for k in floating], [state[k] for k in floating], 1 - decay)
        for name in state.keys() - trained:
            self.average[name].copy_(state[name])

    @torch.no_grad()
    def _held_out_losses(self, batches: Callable[[int, int, int], Any]) -> dict[str, float]:
        """Of the averaged weights, on the same data and noise each time: they tell when more training stops helping."""
        rank, processes = self.accelerator.process_index, self.accelerator.num_processes
        modes = [(module, module.training) for module in self.model.modules()]
        self.model.eval()
        average = {f"model.{name}": value.clone() for name, value in self.average.items()}
        found: list[dict[str, Tensor]] = []
        for k in range(_HELD_OUT_BATCHES):
            batch = _to_device(batches(k, rank, processes), self.accelerator.device)
            noise = torch.Generator(self.accelerator.device).manual_seed(k)
            found.append(torch.func.functional_call(self.loss, average, (batch, noise)))
        for module, mode in modes:
            module.training = mode
        means = {name: torch.stack([f[name] for f in found]).mean() for name in found[0]}
        return {f"held_out_{name}": self.accelerator.reduce(v, "mean").item() for name, v in means.items()}

    def _meter(self, batch: Any) -> Meter:
        sample = _to_device(batch, self.accelerator.device)
        scratch = copy.deepcopy(self.model)  # counting must leave no trace in the weights and buffers
        flops = step_flops(lambda: self.task.loss(scratch, sample, self.generator.manual_seed(0)))
        return Meter(self.config, self.accelerator, self.folder, flops=flops)

    def _save(self) -> None:
        if self.accelerator.is_main_process:
            save_state(self.folder, self.step, self.task, self.average, self.raw_optimizers, self.about)
        self.accelerator.wait_for_everyone()

    def _snapshot(self) -> None:
        """Export the averaged weights and put the trained ones back."""
        if self.accelerator.is_main_process:
            trained = {k: v.clone() for k, v in self.task.trained_state().items()}
            self.model.load_state_dict(self.average, strict=False)
            self.task.export(self.folder / "snapshots" / f"step-{self.step:08d}")
            self.model.load_state_dict(trained, strict=False)
        self.accelerator.wait_for_everyone()

    def _export(self) -> None:
        if self.accelerator.is_main_process:
            self.model.load_state_dict(self.average, strict=False)  # frozen parts are as they were
            self.task.export(self.folder)
        self.accelerator.wait_for_everyone()


def _what_matters(config: TrainConfig) -> dict[str, Any]:
    """The settings that a resume must find unchanged; a constant schedule may be prolonged."""
    free = {"save_every", "log_every", "snapshots", "compile", "checkpoint_activations"} | (
        {"steps"} if config.schedule == "constant" else set()
    )
    return {k: v for k, v in asdict(config).items() if k not in free}


def learning_rate(config: TrainConfig, step: int) -> float:
    """Learning rate of the step that follows `step` finished ones."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    if config.schedule == "constant":
        return config.learning_rate
    progress = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def _to_device(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, tuple):
        return tuple(_to_device(part, device) for part in batch)
    return batch.to(device)
