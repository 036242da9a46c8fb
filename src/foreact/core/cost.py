"""Parameters and FLOPs of a model's parts, counted on the meta device: no weights are allocated.

Accounting: one sample, one chunk of the longest horizon; a multiply-add is two FLOPs; matrix products, attention and
convolutions count, elementwise work does not (PyTorch's own counter).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

Stage = dict[str, int]
"""`params`, `flops`, and `calls`: how often the part runs for one chunk."""


@torch.no_grad()
def count_stage(module: nn.Module, call: Callable[[], Any]) -> Stage:
    """Cost of one call that uses `module`."""
    with FlopCounterMode(display=False) as counter:
        call()
    parameters = sum(p.numel() for p in module.parameters())
    return {"params": parameters, "flops": int(counter.get_total_flops()), "calls": 1}


def all_steps(step: Stage, steps: int, solver: str) -> Stage:
    """Cost of all calls that a sampler makes of one flow step."""
    calls = steps * (1 if solver == "euler" else 2)
    return {"params": step["params"], "flops": calls * step["flops"], "calls": calls}


def total_flops(stages: dict[str, Stage], *, drawn: bool = True) -> int:
    """FLOPs of one chunk: encode, condition, all flow steps, decode, and draw where asked for."""
    left_out = {"flow_step"} if drawn else {"flow_step", "draw", "encode"}
    return sum(stage["flops"] for name, stage in stages.items() if name not in left_out)


def meta(*shape: int) -> torch.Tensor:
    """A tensor without data."""
    return torch.empty(*shape, device="meta")
