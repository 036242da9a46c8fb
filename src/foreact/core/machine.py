"""What machine this is and what it can do: names, versions, the rate that training is measured against, memory."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from foreact.core.precision import bf16_pays


def machine(device: torch.device) -> dict[str, Any]:
    """What a result was measured on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {
        "device": name,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "platform": platform.machine(),
    }


def versions(*packages: str) -> dict[str, str]:
    """Versions of Python, torch, foreact and those of `packages` that are installed."""
    found = {"python": platform.python_version(), "torch": torch.__version__}
    for package in ("foreact", *packages):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@lru_cache
def matmul_rate(device: torch.device, *, size: int | None = None, repeats: int = 5) -> float:
    """FLOP/s of the best of a few large matrix products, in bf16 where that pays: 2048 cubed on a CPU, 8192 cubed on a GPU.

    Measured once per process.
    """
    size = size or (8192 if device.type == "cuda" else 2048)
    dtype = torch.bfloat16 if bf16_pays(device.type) else torch.float32
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(repeats + 2):
        synchronise(device)
        start = time.perf_counter()
        a @ b
        synchronise(device)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def step_flops(loss: Callable[[], dict[str, Tensor]]) -> int:
    """FLOPs of one forward and backward pass of `loss()["loss"]`."""
    with FlopCounterMode(display=False) as counter:
        loss()["loss"].backward()
    return int(counter.get_total_flops())


def peak_memory(call: Callable[[], Any], device: torch.device) -> int:
    """Bytes of tensors that `call` holds at its peak, beyond those that were there before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        synchronise(device)
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    results = profiler.profiler
    assert results is not None
    assert results.kineto_results is not None
    changes = [event for event in results.kineto_results.events() if event.name() == "[memory]"]
    held = accumulate(event.nbytes() for event in sorted(changes, key=lambda event: event.start_ns()))
    return max(held, default=0)
