"""What RLA-WM has here and not in the papers; what was tried of it stands in docs/lab_notes.md and docs/performance.md.

Two regressions teach the condition network beside the flow, whose gradients are noisy: of z from its condition tokens, and of
s_{t+h} from its patches (DINO-WM's loss: what each patch will be is then known in its place, where the condition tokens find
it). Neither is needed to predict.

Shape legend: B batch, N patch tokens, M merged patches, C channels, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from foreact.latent_actions.rla import RLA, RLAConfig
from foreact.nn.attention import zero
from foreact.nn.floats import widen
from foreact.nn.positions import split_patches


@dataclass(frozen=True, kw_only=True)
class RLAWorldModelExtras:
    """Switches; the defaults leave the paper's model alone, but for the slots.

    Attributes:
        condition_merge: side of the squares of patches that become one token of the condition network: 2 quarters its cost.
        spread_actions: the action embedding is also added to all other tokens, as DINO-WM's own code joins it to every patch:
            what depends on place and action is then learned from the first block on.
        slots: learned slot tokens on z in the flow network (off in the released code), so that its slots can be told apart.
        draws: noises and times per training pair; the condition network runs once for all of them.
        l1_weight: of an L1 term beside the MSE on velocities (the released code: 1).
        mean_weight: of the regression of z from the condition tokens.
        token_weight: of the regression of s_{t+h} from the condition network's patches.
    """

    condition_merge: int = 1
    spread_actions: bool = False
    slots: bool = True
    draws: int = 1
    l1_weight: float = 0.0
    mean_weight: float = 0.0
    token_weight: float = 0.0


class Regressions:
    """The linear layers of both regressions; None where they have no weight."""

    def __init__(self, extras: RLAWorldModelExtras, dim: int, rla: RLAConfig) -> None:
        self.mean = nn.Linear(dim, rla.latent_channels) if extras.mean_weight else None
        squares = extras.condition_merge**2 * rla.tokens.channels
        self.future = nn.Linear(dim, squares) if extras.token_weight else None
        if self.future is not None:
            zero(self.future)

    @staticmethod
    def future_tokens(layer: nn.Linear, patches_BMD: Tensor, tokens_t: Tensor, rla: RLA, merge: int) -> Tensor:
        """s^_{t+h} (B, N, C) from the condition network's (merged) patches (B, M, D)."""
        out_BNC = split_patches(widen(layer(patches_BMD)), rla.config.tokens.grid, merge)
        return rla.scale.restore(out_BNC, tokens_t, residual=rla.config.residual_output)
