"""Pre-norm transformer blocks over token sequences, optionally modulated by a vector (adaptive layer norm, DiT).

Shape legend: B batch, N tokens, M context tokens, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_SHORT = 512  # keys up to which the explicit product beats the fused kernel on a CPU: bf16 5x at 64; float32 is alike


def attend(q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False, seen: Tensor | None = None) -> Tensor:
    """Scaled-dot-product attention, each (B, heads, tokens, channels): PyTorch's fused kernel, except where it is slow.

    `seen` (B, M) masks the keys that are looked at, at least one in each row; all if None.
    """
    mask = None if seen is None else seen[:, None, None]
    if q.device.type == "cpu" and k.shape[2] <= _SHORT and not causal:
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        scores = scores if mask is None else scores.masked_fill(~mask, -torch.inf)
        return scores.softmax(dim=-1).to(v.dtype) @ v
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)


class Attention(nn.Module):
    """Multi-head scaled-dot-product self-attention, to tokens that came before alone where `causal`."""

    def __init__(self, dim: int, heads: int, *, causal: bool = False) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"width {dim} is not a multiple of {heads} heads")
        self.heads, self.causal = heads, causal
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x_BND: Tensor, seen: Tensor | None = None) -> Tensor:
        """(B, N, D) -> (B, N, D), looking at the tokens in `seen` (B, N) alone."""
        B, N, D = x_BND.shape
        qkv = self.qkv(x_BND).view(B, N, 3, self.heads, D // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        y = attend(q, k, v, causal=self.causal, seen=seen)
        return self.out(y.transpose(1, 2).reshape(B, N, D))


class CrossAttention(nn.Module):
    """Attention from tokens to a context, of width D or another, whose keys and values can be computed once and reused."""

    def __init__(self, dim: int, heads: int, *, context: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(context or dim, 2 * dim)
        self.out = nn.Linear(dim, dim)

    def keys_values(self, context_BMC: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the context, each (B, heads, M, D / heads)."""
        k, v = self.kv(context_BMC).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return k, v

    def forward(self, x_BND: Tensor, keys_values: tuple[Tensor, Tensor], seen: Tensor | None = None) -> Tensor:
        """(B, N, D) attending to the context's keys and values, those in `seen` (B, M) alone -> (B, N, D)."""
        B, N, D = x_BND.shape
        q = self.q(x_BND).view(B, N, self.heads, D // self.heads).transpose(1, 2)
        y = attend(q, *keys_values, seen=seen)
        return self.out(y.transpose(1, 2).reshape(B, N, D))


class MLP(nn.Sequential):
    """Linear, GELU, Linear: width D -> ratio * D -> D."""

    def __init__(self, dim: int, ratio: int = 4) -> None:
        super().__init__(nn.Linear(dim, ratio * dim), nn.GELU(approximate="tanh"), nn.Linear(ratio * dim, dim))


class Block(nn.Module):
    """Pre-norm block: x + attention(norm(x)), then x + mlp(norm(x)); the norms have no affine parameters."""

    def __init__(self, dim: int, heads: int, *, mlp_ratio: int = 4) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, elementwise_affine=False)
        self.attention = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, elementwise_affine=False)
        self.mlp = MLP(dim, mlp_ratio)

    def forward(self, x_BND: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        x_BND = x_BND + self.attention(self.norm1(x_BND))
        return x_BND + self.mlp(self.norm2(x_BND))


class ModulatedBlock(nn.Module):
    """A block whose norms and residual branches are scaled by a vector (adaLN-zero: the identity at initialisation).

    With `cross=True` an ungated cross-attention to a context stands between attention and MLP (the released code's
    flow network).
    """

    def __init__(self, dim: int, heads: int, *, mlp_ratio: int = 4, cross: bool = False) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, elementwise_affine=False)
        self.attention = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, elementwise_affine=False)
        self.mlp = MLP(dim, mlp_ratio)
        self.modulation = nn.Linear(dim, 6 * dim)
        self.norm_cross = nn.LayerNorm(dim) if cross else None
        self.cross = CrossAttention(dim, heads) if cross else None

    def forward(self, x_BND: Tensor, vector_BD: Tensor, keys_values: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """(B, N, D) modulated by (B, D), or by (B, N, D) token by token, attending to `keys_values` with cross-attention."""
        vector = vector_BD if vector_BD.ndim == 3 else vector_BD[:, None]
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(F.silu(vector)).chunk(6, dim=-1)
        x_BND = x_BND + gate1 * self.attention(self.norm1(x_BND) * (1 + scale1) + shift1)
        if self.cross is not None and self.norm_cross is not None:
            if keys_values is None:
                raise ValueError("a block with cross-attention needs the context's keys and values")
            x_BND = x_BND + self.cross(self.norm_cross(x_BND), keys_values)
        return x_BND + gate2 * self.mlp(self.norm2(x_BND) * (1 + scale2) + shift2)


def initialise(module: nn.Module) -> None:
    """Xavier-uniform linear layers with zero biases, then zero modulations, so that adaLN blocks start as the identity."""
    for child in module.modules():
        if isinstance(child, nn.Linear):
            nn.init.xavier_uniform_(child.weight)
            if child.bias is not None:
                nn.init.zeros_(child.bias)
    for child in module.modules():
        if isinstance(child, ModulatedBlock):
            zero(child.modulation)


def exact_gelu(module: nn.Module) -> None:
    """Replace the approximation of GELU by GELU itself, in every MLP inside."""
    for child in module.modules():
        if isinstance(child, nn.GELU):
            child.approximate = "none"


def zero(layer: nn.Linear | nn.Conv2d) -> None:
    """Make a layer start at zero output."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def learned_tokens(count: int, dim: int, *, scale: float = 0.2) -> nn.Parameter:
    """Learned tokens (count, dim) ~ N(0, scale^2): queries and slot embeddings."""
    return nn.Parameter(torch.randn(count, dim) * scale)
