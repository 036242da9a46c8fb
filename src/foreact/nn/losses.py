"""The regression loss that the RLA autoencoder and DINO-WM share."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def regression_loss(predicted_BNC: Tensor, target_BNC: Tensor, current_BNC: Tensor) -> dict[str, Tensor]:
    """L1 + MSE, each with weight 1 (RLA-WM, section A.2), and for the log the skill 1 - L1 / L1 of persistence."""
    target_BNC, current_BNC = target_BNC.float(), current_BNC.float()
    l1, mse = F.l1_loss(predicted_BNC, target_BNC), F.mse_loss(predicted_BNC, target_BNC)
    skill = 1 - l1.detach() / F.l1_loss(current_BNC, target_BNC).clamp_min(1e-8)
    return {"loss": l1 + mse, "l1": l1.detach(), "skill": skill}
