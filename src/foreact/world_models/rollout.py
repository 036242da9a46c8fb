"""What all world models do alike: feed predictions back, chunk after chunk."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Predict = Callable[[Tensor, Tensor, Tensor, torch.Generator], Tensor]


def autoregress(
    predict: Predict, tokens: Tensor, chunks: Sequence[tuple[Tensor, Tensor]], generator: torch.Generator
) -> list[Tensor]:
    """Predicted tokens (B, N, C) after each chunk of (actions (B, H, A), lengths (B,)), fed back without re-encoding."""
    futures = []
    for actions, lengths in chunks:
        tokens = predict(tokens, actions, lengths, generator)
        futures.append(tokens)
    return futures
