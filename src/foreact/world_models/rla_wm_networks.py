"""Condition and flow networks of RLA-WM (Fig. 2).

A condition network maps (s_t, actions) to context tokens once per chunk; `features` also gives what its patches became, for
the regressions of `rla_wm_extras`. A flow network's `prepare` turns context tokens into what all ODE steps share, and its
`forward` predicts a velocity.

Shape legend: B batch, N patch tokens, C channels, Q latent tokens, Z latent channels, M context tokens, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from foreact.nn.attention import ModulatedBlock, initialise, learned_tokens, zero
from foreact.nn.positions import TimeEmbedding
from foreact.nn.token_network import TokenNetwork


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What the networks are built from.

    Attributes:
        grid: rows and columns of s_t.
        channels: C.
        latent: Q and Z.
        actions: H and A.
        dim: width D.
        heads: attention heads.
        depth: blocks.
        position_scale: amplitude of the position codes of s_t.
        merge: side of the squares of patches that s_t's tokens are merged from; the paper's condition network only.
        spread_actions: whether the action embedding is added to all other tokens; the paper's condition network only.
        slots: whether z has learned slot tokens; flow networks only.
    """

    grid: tuple[int, int]
    channels: int
    latent: tuple[int, int]
    actions: tuple[int, int]
    dim: int
    heads: int
    depth: int
    position_scale: float
    merge: int
    spread_actions: bool
    slots: bool


class QueryCondition(TokenNetwork):
    """The paper's: [Q queries | s_t | action token] through self-attention; the queries are passed on, (B, Q, D)."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(
            sizes.grid,
            sizes.channels,
            sizes.actions,
            dim=sizes.dim,
            heads=sizes.heads,
            depth=sizes.depth,
            position_scale=sizes.position_scale,
            spread_actions=sizes.spread_actions,
            queries=sizes.latent[0],
            merge=sizes.merge,
        )


class JointFlow(nn.Module):
    """The paper's: self-attention over [Q condition tokens | Q noisy latent tokens], modulated by the flow time."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.time = TimeEmbedding(sizes.dim)
        self.project_z = nn.Linear(sizes.latent[1], sizes.dim)
        self.slots = learned_tokens(sizes.latent[0], sizes.dim) if sizes.slots else None
        self.blocks = nn.ModuleList([ModulatedBlock(sizes.dim, sizes.heads) for _ in range(sizes.depth)])
        self.norm = nn.LayerNorm(sizes.dim)
        self.out = nn.Linear(sizes.dim, sizes.latent[1])
        initialise(self)
        zero(self.out)

    def prepare(self, context_BMD: Tensor) -> Tensor:
        """The condition tokens as they are."""
        return context_BMD

    def forward(self, z_BQZ: Tensor, time_B: Tensor, context_BMD: Tensor) -> Tensor:
        """Noisy latent (B, Q, Z) at times (B,) -> velocity (B, Q, Z)."""
        latent_BQD = self.project_z(z_BQZ)
        if self.slots is not None:
            latent_BQD = latent_BQD + self.slots
        x_BSD = torch.cat([context_BMD.to(latent_BQD.dtype), latent_BQD], dim=1)
        time_BD = self.time(time_B)
        for block in self.blocks:
            x_BSD = block(x_BSD, time_BD)
        return self.out(self.norm(x_BSD[:, context_BMD.shape[1] :]))
