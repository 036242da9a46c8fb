"""The networks of LaWM: inverse dynamics, posterior, forward dynamics, and the head that reads the robot's states.

Shape legend: B batch, N patch tokens, C channels, S = 2 N + 1 places, Z latent channels, D width, P state dimension.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foreact.nn.attention import ModulatedBlock, initialise, learned_tokens, zero
from foreact.nn.positions import sincos_2d

if TYPE_CHECKING:
    from foreact.latent_actions.lawm import LaWMConfig


def layer_normalise(tokens: Tensor) -> Tensor:
    """Tokens (..., C) with mean 0 and variance 1 over C, without parameters: the space that LaWM predicts in."""
    return F.layer_norm(tokens.float(), tokens.shape[-1:])


class InverseDynamics(nn.Module):
    """IDM: both frames' tokens and one query, which first reads them by cross-attention, then joins 24 layers."""

    codes: Tensor
    hidden: Tensor

    def __init__(self, config: LaWMConfig) -> None:
        super().__init__()
        dim, tokens = config.dim, config.tokens
        self.project = nn.Linear(tokens.channels, dim)
        self.query = learned_tokens(1, dim, scale=1.0)
        self.norm_context = nn.LayerNorm(dim)
        self.read = nn.MultiheadAttention(dim, config.heads, batch_first=True)
        self.norm_query = nn.LayerNorm(dim)
        self.think = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim))
        layer = nn.TransformerEncoderLayer(dim, config.heads, 4 * dim, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, config.encoder_depth, enable_nested_tensor=False)
        self.out = nn.Linear(dim, config.latent_channels)
        initialise(self)
        places = 2 * tokens.count
        hidden = torch.zeros(places + 1, places + 1, dtype=torch.bool)
        hidden[:places, places] = True  # patches do not see the query
        self.register_buffer("hidden", hidden, persistent=False)
        self.register_buffer("codes", space_time_codes(tokens.grid, dim), persistent=False)

    def forward(self, u_t: Tensor, u_T: Tensor) -> Tensor:
        """Two (B, N, C) -> (B, 1, Z)."""
        x_BSD = self.project(torch.cat([u_t, u_T], dim=1)) + self.codes
        query = self.query.expand(len(x_BSD), -1, -1)
        context = self.norm_context(x_BSD)
        query = self.norm_query(query + self.read(query, context, context, need_weights=False)[0])
        query = query + self.think(query)
        x_BSD = self.blocks(torch.cat([x_BSD, query.to(x_BSD.dtype)], dim=1), mask=self.hidden)
        return self.out(x_BSD[:, -1:])


class Posterior(nn.Module):
    """h (B, 1, Z) -> mean and log variance of z, each (B, 1, Z)."""

    def __init__(self, channels: int, log_variance: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.mean, self.log_variance = nn.Linear(channels, channels), nn.Linear(channels, channels)
        with torch.no_grad():
            self.log_variance.bias.add_(log_variance)

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """See the class; the log variance stays within +-10."""
        hidden = self.norm(hidden)
        return self.mean(hidden), self.log_variance(hidden).clamp(-10, 10)


class ForwardDynamics(nn.Module):
    """The latent world model itself: u_t through AdaLN-zero blocks that z modulates; one pass gives u^_T."""

    codes: Tensor

    def __init__(self, config: LaWMConfig) -> None:
        super().__init__()
        channels = config.tokens.channels
        self.project = nn.Linear(channels, config.dim)
        self.project_z = nn.Linear(config.latent_channels, config.dim)
        self.blocks = nn.ModuleList([ModulatedBlock(config.dim, config.heads) for _ in range(config.decoder_depth)])
        self.out = nn.Linear(config.dim, channels)
        # tokens have one norm, changes have not: behind a norm, small and large ones are learnt slowly or not at all
        self.norm = nn.Identity() if config.residual_output else nn.LayerNorm(channels)
        self.residual = config.residual_output
        initialise(self)
        if config.residual_output:
            zero(self.out)
        self.register_buffer("codes", sincos_2d(config.tokens.grid, config.dim), persistent=False)

    def forward(self, u_t: Tensor, z: Tensor) -> Tensor:
        """Layer-normalised (B, N, C) and (B, 1, Z) -> (B, N, C)."""
        x_BND = self.project(u_t) + self.codes
        condition_BD = self.project_z(z[:, 0])
        for block in self.blocks:
            x_BND = block(x_BND, condition_BD)
        out = self.norm(self.out(x_BND))
        return u_t + out if self.residual else out


class StateHead(nn.Module):
    """z and the state at t -> how the state changes, tanh (B, P); two-layer networks with weights per embodiment."""

    def __init__(self, config: LaWMConfig) -> None:
        super().__init__()
        dim, size, count = config.dim, config.state_dim, config.embodiments
        self.project_z = nn.Linear(config.latent_channels, dim)
        self.read = PerEmbodiment(count, size, dim)
        self.read_more = PerEmbodiment(count, dim, dim)
        self.join = PerEmbodiment(count, 2 * dim, dim)
        self.out = PerEmbodiment(count, dim, size)

    def forward(self, z: Tensor, state: Tensor, embodiment: Tensor) -> Tensor:
        """z (B, 1, Z), state (B, P), embodiment (B,) -> (B, P)."""
        seen = self.read_more(F.relu(self.read(state, embodiment)), embodiment)
        joint = torch.cat([self.project_z(z[:, 0]), seen], dim=-1)
        return torch.tanh(self.out(F.relu(self.join(joint, embodiment)), embodiment))


class PerEmbodiment(nn.Module):
    """A linear layer whose weights are chosen by the embodiment."""

    def __init__(self, count: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(count, inputs, outputs) * inputs**-0.5)
        self.bias = nn.Parameter(torch.zeros(count, outputs))

    def forward(self, x: Tensor, embodiment_B: Tensor) -> Tensor:
        """(B, inputs), or (B, H, inputs), and (B,) -> the same with outputs."""
        bias = self.bias[embodiment_B]
        out = torch.einsum("b...i,bio->b...o", x, self.weight[embodiment_B])
        return out + (bias if x.ndim == 2 else bias[:, None])


def space_time_codes(grid: tuple[int, int], dim: int) -> Tensor:
    """Codes (2 N, D) of two frames' patches: a quarter of the channels tells the frame, the others row and column."""
    places = sincos_2d(grid, dim - dim // 4)
    frames = torch.stack([torch.zeros(dim // 4), torch.ones(dim // 4)])
    frames = torch.where(torch.arange(dim // 4) % 2 == 0, frames, 1 - frames)
    return torch.cat([frames.repeat_interleave(len(places), dim=0), places.repeat(2, 1)], dim=1)
