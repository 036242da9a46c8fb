"""LaWAM's action expert (sections 3.3, C.2, C.3): an Alternate-DiT that denoises a chunk of actions.

    layer 0, 2, 4, ...: cross-attention, in turn to the backbone's states and to the dynamics [u_t | u^_T]
    layer 1, 3, 5, ...: self-attention over the chunk's actions

Flow time moves every layer through an adaptive norm. An action's token carries the code of its time in seconds (Eq. 7), so that
recordings of several control rates share one coordinate. Each dynamics token carries the codes of its place and of now or then:
the released expert has neither, and cannot tell where in the picture a token stands. Keys and values of both streams do not change
while a chunk is denoised; they are computed once.

Shape legend: B batch, H actions of a chunk, A action dimension, S backbone tokens, N patch tokens, C channels, D width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foreact.latent_actions.lawm_networks import PerEmbodiment
from foreact.nn.attention import MLP, Attention, CrossAttention, initialise, learned_tokens
from foreact.nn.positions import TimeEmbedding, seconds_code, sincos_2d

KeysValues = tuple[Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class ExpertConfig:
    """Sizes; the defaults are the paper's.

    Attributes:
        dim: width D.
        depth: layers, cross- and self-attention in turn.
        heads: of attention.
        language_dim: width to which the backbone's states are projected.
        action_dim: A of the robot that has most.
        embodiments: how many robots have weights of their own; the first is for humans.
        dropout: in every layer.
        dynamics: whether the dynamics stream is looked at; else all cross-attention is to the backbone.
        periods: shortest and longest of the time code, in seconds.
    """

    dim: int = 1024
    depth: int = 16
    heads: int = 16
    language_dim: int = 768
    action_dim: int = 32
    embodiments: int = 32
    dropout: float = 0.2
    dynamics: bool = True
    periods: tuple[float, float] = (0.08, 4.0)


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a chunk is denoised in the light of.

    Attributes:
        keys_values: of each cross-attention layer in turn.
        known: mask (B, S) of the backbone's tokens.
    """

    keys_values: Sequence[KeysValues]
    known: Tensor

    def repeated(self, times: int) -> Context:
        """Each row several times, one after another."""
        pairs = [(k.repeat_interleave(times, 0), v.repeat_interleave(times, 0)) for k, v in self.keys_values]
        return Context(keys_values=pairs, known=self.known.repeat_interleave(times, 0))


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Whose actions are denoised, and when each is taken.

    Attributes:
        seconds: of each action since now, (B, H).
        inside: mask (B, H) of those that there are.
        embodiment: whose they are, (B,).
    """

    seconds: Tensor
    inside: Tensor
    embodiment: Tensor

    def repeated(self, times: int) -> Chunk:
        """Each row several times, one after another."""
        return Chunk(**{name: value.repeat_interleave(times, 0) for name, value in vars(self).items()})


class ActionExpert(nn.Module):
    """Noisy actions -> their velocity.

    Args:
        config: sizes.
        grid: rows and columns of the patch tokens.
        channels: C.
        language: width of the backbone's states.
    """

    codes: Tensor

    def __init__(self, config: ExpertConfig, grid: tuple[int, int], channels: int, language: int) -> None:
        super().__init__()
        self.config, dim, count = config, config.dim, config.embodiments
        self.time = TimeEmbedding(dim)
        self.read_language = nn.Sequential(nn.Linear(language, config.language_dim), nn.LayerNorm(config.language_dim))
        self.segments = learned_tokens(2, channels) if config.dynamics else None
        self.blocks = nn.ModuleList([_Block(config, self._context_width(k, channels)) for k in range(config.depth)])
        self.modulate_out, self.out = nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)
        self.norm_out = nn.LayerNorm(dim, elementwise_affine=False)
        initialise(self)
        self.encode, self.encode_more = PerEmbodiment(count, config.action_dim, dim), PerEmbodiment(count, dim, dim)
        self.decode, self.decode_more = PerEmbodiment(count, dim, dim), PerEmbodiment(count, dim, config.action_dim)
        places = sincos_2d(grid, channels, fastest=math.pi / 2, ratio=max(*grid, 2))
        self.register_buffer("codes", places.repeat(2, 1), persistent=False)

    def context(self, states: Tensor, known: Tensor, u_t: Tensor, subgoal: Tensor) -> Context:
        """Keys and values of both streams.

        Args:
            states: of the backbone, (B, S, language).
            known: mask (B, S).
            u_t, subgoal: layer-normalised tokens now and at the horizon, (B, N, C).
        """
        language = self.read_language(states)
        dynamics = self._dynamics(u_t, subgoal) if self.segments is not None else language
        streams = [language if self._reads_language(k) else dynamics for k in range(0, self.config.depth, 2)]
        blocks: Any = self.blocks[::2]
        pairs = [block.keys_values(stream) for block, stream in zip(blocks, streams, strict=True)]
        return Context(keys_values=pairs, known=known)

    def forward(self, actions: Tensor, flow_time: Tensor, chunk: Chunk, context: Context) -> Tensor:
        """The velocity (B, H, A) of noisy normalised actions (B, H, A) at flow times (B,)."""
        x_BHD = self.encode_more(F.silu(self.encode(actions, chunk.embodiment)), chunk.embodiment)
        x_BHD = x_BHD + seconds_code(chunk.seconds, self.config.dim, self.config.periods)
        inside = torch.cat([torch.ones_like(chunk.inside[:, :1]), chunk.inside[:, 1:]], dim=1)  # no row without a key
        time_BD = F.silu(self.time(flow_time))
        for k, block in enumerate(self.blocks):
            if k % 2:
                x_BHD = block(x_BHD, time_BD, None, inside)
            else:
                known = context.known if self._reads_language(k) else None
                x_BHD = block(x_BHD, time_BD, context.keys_values[k // 2], known)
        scale, shift = self.modulate_out(time_BD)[:, None].chunk(2, dim=-1)
        x_BHD = self.out(self.norm_out(x_BHD) * (1 + scale) + shift)
        return self.decode_more(F.relu(self.decode(x_BHD, chunk.embodiment)), chunk.embodiment).float()

    def _dynamics(self, u_t: Tensor, subgoal: Tensor) -> Tensor:
        assert self.segments is not None
        return torch.cat([u_t, subgoal], dim=1) + self.codes + self.segments.repeat_interleave(u_t.shape[1], 0)

    def _reads_language(self, layer: int) -> bool:
        return layer % 4 == 0 or not self.config.dynamics

    def _context_width(self, layer: int, channels: int) -> int | None:
        if layer % 2:
            return None
        return self.config.language_dim if self._reads_language(layer) else channels


class _Block(nn.Module):
    """Attention behind a norm that flow time moves, then an MLP, each added to the stream."""

    def __init__(self, config: ExpertConfig, context: int | None) -> None:
        super().__init__()
        dim = config.dim
        self.modulation = nn.Linear(dim, 2 * dim)
        self.norm1, self.norm2 = (nn.LayerNorm(dim, elementwise_affine=False) for _ in range(2))
        self.attention: nn.Module = (
            Attention(dim, config.heads) if context is None else CrossAttention(dim, config.heads, context=context)
        )
        self.mlp, self.dropout = MLP(dim), nn.Dropout(config.dropout)

    def keys_values(self, context: Tensor) -> KeysValues:
        """Of a cross-attention layer's stream."""
        assert isinstance(self.attention, CrossAttention)
        return self.attention.keys_values(context)

    def forward(self, x_BHD: Tensor, time_BD: Tensor, keys_values: KeysValues | None, seen: Tensor | None) -> Tensor:
        """(B, H, D) -> (B, H, D), attending to keys and values, or to itself, those in `seen` alone."""
        scale, shift = self.modulation(time_BD)[:, None].chunk(2, dim=-1)
        normed = self.norm1(x_BHD) * (1 + scale) + shift
        to = (normed, seen) if keys_values is None else (normed, keys_values, seen)
        x_BHD = x_BHD + self.dropout(self.attention(*to))
        return x_BHD + self.dropout(self.mlp(self.norm2(x_BHD)))
