"""Blocks over the tokens of several frames: attention within a frame, then over time at each place (UniVLA, AdaWorld).

Shape legend: B batch, T frames, N tokens per frame, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from foreact.nn.attention import MLP, Attention, initialise, learned_tokens
from foreact.nn.past import Past
from foreact.nn.positions import sincos_2d


class SpaceTimeBlock(nn.Module):
    """Pre-norm: spatial attention, temporal attention, MLP, each added to the stream."""

    def __init__(self, dim: int, heads: int, *, causal: bool) -> None:
        super().__init__()
        self.norm_space, self.space = nn.LayerNorm(dim), Attention(dim, heads)
        self.norm_time, self.time = nn.LayerNorm(dim), Attention(dim, heads, causal=causal)
        self.norm_mlp, self.mlp = nn.LayerNorm(dim), MLP(dim)

    def forward(self, x_BTND: Tensor, past: Past | None = None) -> Tensor:
        """(B, T, N, D) -> (B, T, N, D); with a past, the frames that come after it."""
        B, T, N, D = x_BTND.shape
        x_BTND = x_BTND + self.space(self.norm_space(x_BTND).flatten(0, 1)).view(B, T, N, D)
        over_time = self.norm_time(x_BTND).transpose(1, 2).reshape(B * N, T, D)
        whole = over_time if past is None else past.with_new(self, over_time)
        x_BTND = x_BTND + self.time(whole)[:, -T:].reshape(B, N, T, D).transpose(1, 2)
        return x_BTND + self.mlp(self.norm_mlp(x_BTND))


class ActionTokenEncoder(nn.Module):
    """Two frames' tokens, each frame with K learned action tokens ahead, through space-time blocks; the second frame's
    action tokens come out.

    Args:
        grid: rows and columns of the patch tokens.
        channels: C.
        actions: K.
        dim: width D.
        heads: attention heads.
        depth: blocks.
        causal: whether a frame sees later ones in temporal attention.
    """

    codes: Tensor

    def __init__(
        self, grid: tuple[int, int], channels: int, *, actions: int, dim: int, heads: int, depth: int, causal: bool
    ) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, dim), nn.LayerNorm(dim))
        self.actions = learned_tokens(actions, dim)
        self.frames = learned_tokens(2, dim)
        self.blocks = nn.ModuleList([SpaceTimeBlock(dim, heads, causal=causal) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim)
        initialise(self)
        self.register_buffer("codes", sincos_2d(grid, dim), persistent=False)

    def forward(self, tokens_t: Tensor, tokens_th: Tensor) -> Tensor:
        """Two (B, N, C) -> (B, K, D)."""
        patches = self.project(torch.stack([tokens_t, tokens_th], dim=1)) + self.codes
        actions = self.actions.expand(len(patches), 2, -1, -1)
        x_BTSD = torch.cat([actions, patches], dim=2) + self.frames[:, None]
        for block in self.blocks:
            x_BTSD = block(x_BTSD)
        return self.norm(x_BTSD[:, 1, : len(self.actions)])
