"""Action chunks -> vectors. Chunks are padded to the maximum horizon H; what is padded never reaches the result."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def validity(lengths_B: Tensor, horizon: int) -> Tensor:
    """Boolean (B, H): true where the chunk has an action."""
    return torch.arange(horizon, device=lengths_B.device)[None] < lengths_B[:, None]


class ActionNormaliser(nn.Module):
    """Standardises actions per dimension with statistics of the training split, stored in the checkpoint."""

    mean: Tensor
    std: Tensor

    def __init__(self, action_dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(action_dim))
        self.register_buffer("std", torch.ones(action_dim))

    def fit(self, mean: Tensor, std: Tensor) -> None:
        """Set the statistics, both (A,); a constant dimension gets unit scale."""
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > 1e-6, std, torch.ones_like(std)))

    def forward(self, actions_BHA: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Standardised actions (B, H, A), padded with the chunk's last action, and the validity mask (B, H).

        The last action, often the goal of a whole chunk, then stands at the same place for every length. The paper does
        not say what it pads with; zeros cost DINO-WM a tenth of its skill on Push-T.
        """
        mask_BH = validity(lengths_B, actions_BHA.shape[1])
        normal = (actions_BHA.to(self.mean.dtype) - self.mean) / self.std
        last_B1A = normal[torch.arange(len(lengths_B), device=lengths_B.device), lengths_B - 1][:, None]
        return torch.where(mask_BH[..., None], normal, last_B1A), mask_BH


class PaddedMLP(nn.Module):
    """The paper's action embedding: the padded chunk and its validity mask, flattened, through an MLP (section A.2)."""

    def __init__(self, action_dim: int, horizon: int, dim: int) -> None:
        super().__init__()
        self.horizon = horizon
        self.mlp = nn.Sequential(nn.Linear(horizon * (action_dim + 1), dim), nn.GELU(), nn.Linear(dim, dim))

    def forward(self, actions_BHA: Tensor, mask_BH: Tensor) -> Tensor:
        """Standardised, padded actions (B, H, A) and their mask (B, H) -> (B, D)."""
        return self.mlp(torch.cat([actions_BHA, mask_BH[..., None].to(actions_BHA.dtype)], dim=-1).flatten(1))


class RecurrentEncoder(nn.Module):
    """The released code's action embedding: a per-step MLP, then a GRU whose state after the last valid step is taken."""

    def __init__(self, action_dim: int, dim: int, *, hidden: int = 64) -> None:
        super().__init__()
        self.step = nn.Sequential(nn.Linear(action_dim, hidden), nn.GELU(), nn.Linear(hidden, hidden))
        self.gru = nn.GRU(hidden, dim, batch_first=True)

    def forward(self, actions_BHA: Tensor, mask_BH: Tensor) -> Tensor:
        """Standardised, padded actions (B, H, A) and their mask (B, H) -> (B, D)."""
        states_BHD, _ = self.gru(self.step(actions_BHA))
        last_B = mask_BH.sum(dim=1) - 1
        return states_BHD[torch.arange(len(last_B), device=last_B.device), last_B]
