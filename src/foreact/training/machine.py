"""What the machine can do: the rate that training is measured against."""

from __future__ import annotations

import ctypes
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode


def matmul_rate(device: torch.device, *, size: int | None = None, repeats: int = 5) -> float:
    """FLOP/s of the best of a few large bf16 matrix products: 2048 cubed on a CPU, 8192 cubed on a GPU."""
    size = size or (8192 if device.type == "cuda" else 2048)
    a, b = (torch.randn(size, size, device=device).to(torch.bfloat16) for _ in range(2))
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


def peak_memory(call: Callable[[], Any], device: torch.device) -> int | None:
    """Bytes that `call` needs at its peak beyond what is held before; None where the system does not tell (not Linux, no GPU)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        synchronise(device)
        return torch.cuda.max_memory_allocated(device) - before
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not (status.exists() and reset.exists()):
        return None
    ctypes.CDLL(None).malloc_trim(0)  # freed memory that the allocator keeps would hide what the call takes
    reset.write_text("5")  # the peak starts anew (proc(5))
    before = _kilobytes(status, "VmRSS")
    call()
    return 1024 * max(0, _kilobytes(status, "VmHWM") - before)


def _kilobytes(status: Path, field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB", status.read_text(), re.MULTILINE)
    assert found, f"{status} has no {field}"
    return int(found[1])
