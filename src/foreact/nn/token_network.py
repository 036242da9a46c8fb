"""The transformer that all models of tokens and actions share.

Shape legend: B batch, N patch tokens, C channels, H horizon, A action dimension, Q queries, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from foreact.nn.actions import PaddedMLP
from foreact.nn.attention import Block, ModulatedBlock, initialise, learned_tokens
from foreact.nn.positions import PatchEmbedding


class TokenNetwork(nn.Module):
    """[Q queries | N patch tokens | action token] through self-attention; the queries come out, or the patches if there are none.

    Args:
        grid: rows and columns of the patch tokens.
        channels: C.
        actions: H and A.
        dim: width D.
        heads: attention heads.
        depth: blocks.
        position_scale: amplitude of the position codes on patch tokens.
        spread_actions: whether the action embedding is also added to all other tokens.
        queries: Q.
        merge: side of the squares of patches that become one token; with queries only, since the patches do not come out.
        modulated: whether blocks take a vector (the flow time).
    """

    def __init__(
        self,
        grid: tuple[int, int],
        channels: int,
        actions: tuple[int, int],
        *,
        dim: int,
        heads: int,
        depth: int,
        position_scale: float,
        spread_actions: bool,
        queries: int = 0,
        merge: int = 1,
        modulated: bool = False,
    ) -> None:
        super().__init__()
        if merge > 1 and not queries:
            raise ValueError("merged patches cannot come out one by one: only queries can read them")
        self.project = PatchEmbedding(grid, channels, dim, position_scale, merge=merge)
        self.embed_actions = PaddedMLP(actions[1], actions[0], dim)
        self.spread_actions = spread_actions
        self.queries = learned_tokens(queries, dim) if queries else None
        block = ModulatedBlock if modulated else Block
        self.blocks = nn.ModuleList([block(dim, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim)
        initialise(self)

    def forward(
        self, tokens_BNC: Tensor, actions_BHA: Tensor, mask_BH: Tensor, vector_BD: Tensor | None = None
    ) -> Tensor:
        """Tokens (B, N, C), standardised actions (B, H, A), their mask (B, H) -> features (B, Q, D) or (B, N, D)."""
        queries_BQD, patches_BND = self.features(tokens_BNC, actions_BHA, mask_BH, vector_BD)
        return patches_BND if self.queries is None else queries_BQD

    def features(
        self, tokens_BNC: Tensor, actions_BHA: Tensor, mask_BH: Tensor, vector_BD: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Features of the queries (B, Q, D), Q = 0 where there are none, and of the (merged) patches (B, N / merge^2, D)."""
        action_B1D = self.embed_actions(actions_BHA, mask_BH)[:, None]
        first = [] if self.queries is None else [self.queries.expand(len(tokens_BNC), -1, -1)]
        x_BSD = torch.cat([*first, self.project(tokens_BNC), action_B1D], dim=1)
        if self.spread_actions:
            x_BSD = x_BSD + action_B1D
        for block in self.blocks:
            x_BSD = block(x_BSD) if vector_BD is None else block(x_BSD, vector_BD)
        count = 0 if self.queries is None else len(self.queries)
        x_BSD = self.norm(x_BSD[:, :-1])
        return x_BSD[:, :count], x_BSD[:, count:]
