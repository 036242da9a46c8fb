"""In which precision numbers leave a network."""

from __future__ import annotations

import torch
from torch import Tensor


def widen(x: Tensor) -> Tensor:
    """At least float32: what autocast halved, and cached tokens, are widened; float64 stays, for those who check gradients."""
    return x if x.dtype == torch.float64 else x.float()
