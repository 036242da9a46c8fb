"""bf16 where the machine multiplies it faster than float32: on GPUs of the last years and on CPUs with instructions for it.

Other CPUs emulate bf16, some fifty times slower than float32.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Literal

import torch

Precision = Literal["auto", "bf16", "no"]
"""Of matrix products: bf16 where it pays, bf16 by autocast, or the weights' own."""

_SIDE, _SIDE_ON_GPU, _REPEATS = 384, 4096, 7  # there a small product takes no longer than its launch


def use_bf16(precision: Precision, device: str) -> bool:
    """Whether products are made in bf16 on a device type, "cpu" or "cuda"."""
    return bf16_pays(device) if precision == "auto" else precision == "bf16"


@lru_cache
def bf16_pays(device: str) -> bool:
    """Whether a bf16 product is faster than a float32 one, measured once per process: a factor of two or more either way."""
    side = _SIDE if device == "cpu" else _SIDE_ON_GPU
    a = torch.ones(side, side, device=device)
    best = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    for _ in range(_REPEATS):
        for dtype in best:
            best[dtype] = min(best[dtype], _seconds(a.to(dtype)))
    return best[torch.bfloat16] < best[torch.float32]


def _seconds(a: torch.Tensor) -> float:
    start = time.perf_counter()
    (a @ a)[0, 0].item()  # waits for the product on a GPU, too
    return time.perf_counter() - start
