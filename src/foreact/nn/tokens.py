"""Tokens in units that networks like: most of a token is the same everywhere, and what changes is a small part of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foreact.nn.floats import widen


class TokenScale(nn.Module):
    """Statistics of the training tokens, stored in the checkpoint; the identity until fitted (as in the paper).

    Attributes:
        mean, std: of s_t per channel, (C,).
        change: root mean square of s_{t+h} - s_t over all channels, ().
    """

    mean: Tensor
    std: Tensor
    change: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))
        self.register_buffer("change", torch.ones(()))

    def fit(self, tokens_t: Tensor, tokens_th: Tensor) -> None:
        """Set the statistics from pairs of the training split, both (B, N, C)."""
        s_t = widen(tokens_t)
        self.mean.copy_(s_t.mean(dim=(0, 1)))
        self.std.copy_(s_t.std(dim=(0, 1)).clamp_min(1e-3))
        self.change.copy_((widen(tokens_th) - s_t).pow(2).mean().sqrt().clamp_min(1e-4))

    def normalise(self, tokens_BNC: Tensor) -> Tensor:
        """Standardised tokens (B, N, C)."""
        return (widen(tokens_BNC) - self.mean) / self.std

    def difference(self, tokens_t: Tensor, tokens_th: Tensor) -> Tensor:
        """s_{t+h} - s_t in units of the tokens' spread, (B, N, C)."""
        return (widen(tokens_th) - widen(tokens_t)) / self.std

    def restore(self, out_BNC: Tensor, tokens_t: Tensor, *, residual: bool) -> Tensor:
        """A network's output as tokens (B, N, C): a change of s_t where `residual`, else standardised tokens."""
        if residual:
            return widen(tokens_t) + self.change * out_BNC
        return self.mean + self.std * out_BNC

    def loss(self, predicted_BNC: Tensor, target_BNC: Tensor, current_BNC: Tensor) -> dict[str, Tensor]:
        """L1 + MSE with weight 1 each (RLA-WM, section A.2, E4), in units of the typical change.

        For the log also L1 in token units and the skill 1 - L1 / L1 of persistence.
        """
        error = (widen(predicted_BNC) - widen(target_BNC)) / self.change
        loss = error.abs().mean() + error.pow(2).mean()  # E4: L1 and MSE, weight 1 each
        l1 = F.l1_loss(predicted_BNC, widen(target_BNC)).detach()
        skill = 1 - l1 / F.l1_loss(widen(current_BNC), widen(target_BNC)).clamp_min(1e-8)
        return {"loss": loss, "l1": l1, "skill": skill}
