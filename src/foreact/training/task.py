"""What the training loop is given: a model, its loss, its batches, and what to do at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from foreact.core.pretrained import state_hash


@dataclass(frozen=True, kw_only=True)
class FrozenPart:
    """A submodule that training does not change.

    Attributes:
        option: of the command line that names the model it comes from.
        hash: of its weights.
    """

    option: str
    hash: str

    @classmethod
    def of(cls, model: nn.Module, options: Mapping[str, str]) -> dict[str, FrozenPart]:
        """By name, the submodules that come from these options."""
        return {k: cls(option=v, hash=state_hash(model.get_submodule(k))) for k, v in options.items()}


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What checkpoints hold the weights of.

    Attributes:
        model: trained module; parameters that do not require gradients stay as they are.
        frozen: by name of the submodule; checkpoints and averages hold its hash alone.
    """

    model: nn.Module
    frozen: Mapping[str, FrozenPart] = field(default_factory=dict)

    def trained_state(self) -> dict[str, Tensor]:
        """The model's parameters and buffers without those of frozen parts."""
        frozen = tuple(f"{name}." for name in self.frozen)
        return {k: v for k, v in self.model.state_dict().items() if not k.startswith(frozen)}


@dataclass(frozen=True, kw_only=True)
class Task(Trained):
    """What is trained on batches.

    Attributes:
        loss: (model, batch, generator) -> scalars, of which `loss` is minimised.
        batches: (step, rank, processes) -> this process's part of the step's batch, on the CPU.
        workers: processes that make batches ahead; 0 where they need what processes cannot share, such as a GPU.
        export: writes the model, which holds the averaged weights during the call, to a folder.
        about: JSON data that must be unchanged for a resume.
        after_step: called with (step, steps) after each optimiser step.
        held_out: like `batches`, from data that is never trained on; None where there is none.
        rates: beginning of a parameter's name -> its share of the learning rate; 1 for all others.
    """

    loss: Callable[[Any, Any, torch.Generator], dict[str, Tensor]]
    batches: Callable[[int, int, int], Any]
    export: Callable[[Path], None]
    about: dict[str, Any]
    after_step: Callable[[int, int], None] | None = None
    held_out: Callable[[int, int, int], Any] | None = None
    workers: int = 1
    rates: Mapping[str, float] = field(default_factory=dict)
