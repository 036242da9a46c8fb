"""z and the present -> the future: the decoder of RLA (f_dec, E3) and of UniVLA.

Shape legend: B batch, N patch tokens, C channels, Q latent tokens, Z latent channels, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from foreact.nn.attention import Block, initialise, learned_tokens, zero
from foreact.nn.positions import PatchEmbedding, split_patches


class LatentDecoder(nn.Module):
    """Projected z and s_t through self-attention; the patch positions become s_{t+h} or its difference from s_t.

    Args:
        grid: rows and columns of the patch tokens.
        channels: C.
        latent: Q and Z.
        dim: width D.
        heads: attention heads.
        depth: blocks.
        position_scale: amplitude of the position codes on patch tokens.
        merge: side of the squares of patches that go through the blocks as one token and come out as patches again.
    """

    def __init__(
        self,
        grid: tuple[int, int],
        channels: int,
        latent: tuple[int, int],
        *,
        dim: int,
        heads: int,
        depth: int,
        position_scale: float,
        merge: int = 1,
    ) -> None:
        super().__init__()
        self.project = PatchEmbedding(grid, channels, dim, position_scale, merge=merge)
        self.project_z = nn.Linear(latent[1], dim)
        self.slots = learned_tokens(latent[0], dim)
        self.blocks = nn.ModuleList([Block(dim, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim)
        self.out = nn.Linear(dim, merge * merge * channels)
        initialise(self)
        zero(self.out)

    def forward(self, tokens_BNC: Tensor, z_BQZ: Tensor) -> Tensor:
        """(B, N, C) and (B, Q, Z) -> (B, N, C)."""
        x_BSD = torch.cat([self.project_z(z_BQZ) + self.slots, self.project(tokens_BNC)], dim=1)
        for block in self.blocks:
            x_BSD = block(x_BSD)
        out_BMC = self.out(self.norm(x_BSD[:, len(self.slots) :]))
        return split_patches(out_BMC, self.project.grid, self.project.merge)
