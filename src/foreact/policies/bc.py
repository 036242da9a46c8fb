"""Behaviour cloning as RLA-WM's policies do it (section 4.2 and its released code).

    picture 128 x 128 -> ResNet-18 with group norm -> 4 x 4 map -> 16 tokens of width D
    [query tokens | state token | picture tokens] -> 6 transformer blocks -> the queries, flattened -> MLP -> 12 actions
    loss = mean squared error of normalised actions

The chunk's first 8 actions are executed. `head="pooled"` is the start policy of reinforcement learning in the world model
(section 4.3): the picture's pooled features and an MLP. What the papers do not have stands in `Extras`.

Shape legend: B batch, H actions of a chunk, A action dimension, P state dimension, N picture tokens, D width, F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from foreact.core.config import ModelConfig
from foreact.core.token_spec import TokenSpec
from foreact.core.trainable import DemonstrationData, TrainableModel
from foreact.data.lerobot import ACTION, STATE
from foreact.nn.attention import Block, learned_tokens
from foreact.policies.sight import Extras, Sight
from foreact.recordings.recording import TOKENS
from foreact.recordings.windows import WindowBatch


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A camera as it was recorded: full name, height and width in pixels."""

    name: str
    height: int
    width: int


@dataclass(frozen=True, kw_only=True)
class BCConfig(ModelConfig):
    """Sizes, and the robot that it acts on; the defaults are RLA-WM's.

    Attributes:
        cameras: which are looked at.
        image_size: side of the square pictures that the network sees.
        action: names of an action's A numbers.
        state: names of the state's P numbers; none for a policy that sees pictures alone.
        fps: actions per second.
        robot: name of the robot in the recordings.
        chunk: H, actions that are predicted.
        execute: how many of them are executed before the policy looks again.
        channels: of the ResNet's first stage.
        dim: width D of the blocks.
        depth: blocks.
        heads: of attention.
        queries: tokens that the actions are read from.
        head: queries through blocks, or pooled features of the pictures.
        hidden: widths of the MLP.
        dropout: in the MLP.
        extras: see `Extras`.
    """

    kind: ClassVar[str] = "bc"

    cameras: tuple[Camera, ...]
    image_size: int
    action: tuple[str, ...]
    state: tuple[str, ...]
    fps: float
    robot: str = ""
    chunk: int = 12
    execute: int = 8
    channels: int = 64
    dim: int = 256
    depth: int = 6
    heads: int = 8
    queries: int = 16
    head: Literal["queries", "pooled"] = "queries"
    hidden: tuple[int, ...] = (2048, 2048)
    dropout: float = 0.1
    extras: Extras = field(default_factory=Extras)

    @property
    def encoded(self) -> TokenSpec | None:
        """Tokens of a frozen encoder that it looks at."""
        return self.extras.tokens

    def build(self) -> BC:
        """A policy with fresh weights."""
        return BC(self)


class BC(TrainableModel):
    """The network; `policies.acting.NetworkPolicy` makes a policy of it."""

    learns_from = "windows"
    config: BCConfig

    def __init__(self, config: BCConfig) -> None:
        super().__init__()
        self.config = config
        pooled = config.head == "pooled"
        names = tuple(camera.name for camera in config.cameras)
        self.sight = Sight(names, config.image_size, config.channels, config.dim, config.extras, pooled=pooled)
        self.action_limits = Limits(len(config.action))
        self.state_limits = Limits(len(config.state))
        self.state_token = (
            nn.Sequential(nn.Linear(len(config.state), config.dim), nn.ReLU(), nn.Linear(config.dim, config.dim))
            if config.state
            else None
        )
        self.unknown_state = nn.Parameter(torch.zeros(config.dim)) if config.state else None
        if pooled:
            features = self.sight.features + (config.dim if config.state else 0)
            self.queries, self.blocks = None, None
        else:
            features = config.queries * config.dim
            self.queries = learned_tokens(config.queries, config.dim)
            self.blocks = nn.ModuleList([Block(config.dim, config.heads) for _ in range(config.depth)])
        widths = (features, *config.hidden)
        layers = [
            part for a, b in pairwise(widths) for part in (nn.Linear(a, b), nn.ReLU(), nn.Dropout(config.dropout))
        ]
        self.trunk = nn.Sequential(*layers)
        self.action_head = nn.Linear(widths[-1], config.chunk * len(config.action))

    @property
    def window(self) -> dict[str, tuple[int | float, ...]]:
        """The present pictures and state, and the next H actions."""
        seen = {camera.name + (TOKENS if self.config.extras.tokens else ""): (0,) for camera in self.config.cameras}
        state: dict[str, tuple[int | float, ...]] = {STATE: (0,)} if self.config.state else {}
        return {**seen, **state, ACTION: tuple(range(self.config.chunk))}

    def fit(self, data: DemonstrationData) -> None:
        """Set the limits of actions and states."""
        self.action_limits.fit(*data.limits(ACTION))
        if self.config.state:
            self.state_limits.fit(*data.limits(STATE))

    def features(self, pictures: Mapping[str, Tensor], state: Tensor | None, known: Tensor | None = None) -> Tensor:
        """What the actions are read from, (B, F).

        Args:
            pictures: camera -> uint8 (B, height, width, 3), or tokens (B, N, C).
            state: (B, P) in the recordings' units; None for a policy without.
            known: mask (B,) of the rows whose state is looked at; all if None.
        """
        seen = self.sight(pictures)
        if self.state_token is None or state is None or self.unknown_state is None:
            token = None
        else:
            token = self.state_token(self.state_limits.normalise(state))
            if known is not None:
                token = torch.where(known[:, None], token, self.unknown_state.to(token.dtype))
        if self.blocks is None or self.queries is None:
            return self.trunk(seen if token is None else torch.cat([seen, token], dim=1))
        parts = [self.queries.expand(len(seen), -1, -1), seen]
        x_BND = torch.cat(parts if token is None else [parts[0], token[:, None], parts[1]], dim=1)
        for block in self.blocks:
            x_BND = block(x_BND)
        return self.trunk(x_BND[:, : self.config.queries].flatten(1))

    def read_actions(self, features: Tensor) -> Tensor:
        """Normalised actions (B, H, A) of features (B, F)."""
        return self.action_head(features).unflatten(1, (self.config.chunk, len(self.config.action)))

    def forward(self, pictures: Mapping[str, Tensor], state: Tensor | None) -> Tensor:
        """The next actions (B, H, A) in the recordings' units."""
        return self.action_limits.restore(self.read_actions(self.features(pictures, state)).float())

    def loss(self, batch: WindowBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Mean squared error of the normalised actions."""
        error = self.action_error(batch, self.batch_features(batch))
        return {"loss": error, "action_mse": error.detach()}

    def batch_features(self, batch: WindowBatch) -> Tensor:
        """Features (B, F) of a batch's rows."""
        suffix = TOKENS if self.config.extras.tokens else ""
        pictures = {camera.name: batch.columns[camera.name + suffix][:, 0] for camera in self.config.cameras}
        state = batch.columns[STATE][:, 0] if self.config.state else None
        return self.features(pictures, state, batch.labelled)

    def action_error(self, batch: WindowBatch, features: Tensor) -> Tensor:
        """Mean over the labelled rows of each row's mean squared error, over its actions before the episode's end."""
        inside = batch.inside[ACTION]
        target = torch.where(inside[..., None], self.action_limits.normalise(batch.columns[ACTION]), 0.0)
        return mean_inside((self.read_actions(features).float() - target).square(), inside[..., None])


def mean_inside(errors: Tensor, inside: Tensor) -> Tensor:
    """Mean over the rows that have anything inside of each row's mean there; what lies outside has no gradient.

    Args:
        errors: (B, ...).
        inside: mask of that shape, or of one that can be expanded to it.
    """
    inside = inside.expand_as(errors)
    kept = torch.where(inside, errors, 0.0).flatten(1).sum(dim=1)
    counts = inside.flatten(1).sum(dim=1)
    return (kept / counts.clamp_min(1)).sum() / (counts > 0).sum().clamp_min(1)


class Limits(nn.Module):
    """Maps what lies between the smallest and the largest value of the labelled episodes to [-1, 1]."""

    low: Tensor
    high: Tensor

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.register_buffer("low", -torch.ones(dims))
        self.register_buffer("high", torch.ones(dims))

    def fit(self, low: Tensor, high: Tensor) -> None:
        """Set the limits, both (D,); a number that never changes keeps its unit."""
        constant = high - low < 1e-6
        self.low.copy_(torch.where(constant, low - 1, low))
        self.high.copy_(torch.where(constant, high + 1, high))

    def normalise(self, values: Tensor) -> Tensor:
        """(..., D) in the recordings' units -> about [-1, 1]."""
        return 2 * (values.float() - self.low) / (self.high - self.low) - 1

    def restore(self, values: Tensor) -> Tensor:
        """Inverse of `normalise`."""
        return self.low + (values + 1) / 2 * (self.high - self.low)
