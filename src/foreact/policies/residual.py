"""A cloned policy and a small change to its actions, bounded and zero at first: what reinforcement learning in the world model
trains (RLA-WM, appendix A.2 and its released code).

    mean = a^ + bound tanh(m(f)),  std = bound softplus(s(f)),  m and s: an MLP on the policy's features f, zero at first (E16)

Only the actions that are executed are changed. In acting the mean is taken; the std is what training explores with.

Shape legend: B batch, H actions of a chunk, E executed ones, A action dimension, F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foreact.core.cards import ModelCard
from foreact.core.errors import ForeactError
from foreact.nn.attention import zero
from foreact.policies.acting import NetworkPolicy
from foreact.policies.bc import BC, BCConfig


@dataclass(frozen=True, kw_only=True)
class ResidualConfig(BCConfig):
    """Behaviour cloning's, and:

    Attributes:
        bound: largest change of each of an action's A numbers, where 2 is from the smallest to the largest of the recordings.
        residual_hidden: widths of the MLP.
    """

    kind: ClassVar[str] = "residual"

    bound: tuple[float, ...]
    residual_hidden: tuple[int, ...] = (512, 256)

    def build(self) -> Residual:
        """A policy with fresh weights."""
        return Residual(self)


class Residual(BC):
    """A cloned policy with a head that changes its actions."""

    config: ResidualConfig
    bound: Tensor

    def __init__(self, config: ResidualConfig) -> None:
        super().__init__(config)
        if len(config.bound) != len(config.action) or min(config.bound) <= 0:
            raise ForeactError(f"the bound {config.bound} is not {len(config.action)} positive numbers")
        outputs = 2 * config.execute * len(config.action)
        self.residual = mlp(self.action_head.in_features, config.residual_hidden, outputs)
        self.register_buffer("bound", torch.tensor(config.bound), persistent=False)

    def distribution(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (B, E, A) of the executed actions, normalised, of features (B, F)."""
        shape = (2, self.config.execute, len(self.config.action))
        m, s = self.residual(features).float().unflatten(1, shape).unbind(dim=1)
        cloned = self.read_actions(features).float()[:, : self.config.execute]
        return cloned + self.bound * m.tanh(), self.bound * F.softplus(s)

    def forward(self, pictures: Mapping[str, Tensor], state: Tensor | None) -> Tensor:
        """The next actions (B, H, A) in the recordings' units; those that are not executed are the cloned policy's."""
        features = self.features(pictures, state)
        executed, cloned = self.distribution(features)[0], self.read_actions(features).float()
        return self.action_limits.restore(torch.cat([executed, cloned[:, self.config.execute :]], dim=1))


def on_top_of(cloned: BC, bound: tuple[float, ...]) -> Residual:
    """A policy that acts as `cloned` does until its head is trained, with weights of its own.

    Raises:
        ForeactError: a policy that has such a head already.
    """
    if hasattr(cloned, "residual"):
        raise ForeactError(
            "this policy was trained by reinforcement already: begin with a cloned one (train bc or wam)"
        )
    own = {f.name: getattr(cloned.config, f.name) for f in fields(BCConfig)}
    made = ResidualConfig(**own, bound=bound).build()
    wanted = made.state_dict().keys()
    made.load_state_dict({k: v for k, v in cloned.state_dict().items() if k in wanted}, strict=False)
    return made.eval()


def mlp(inputs: int, hidden: tuple[int, ...], outputs: int) -> nn.Sequential:
    """Linear layers with ReLU between; the last one gives zero at first."""
    layers = [part for a, b in pairwise((inputs, *hidden)) for part in (nn.Linear(a, b), nn.ReLU())]
    last = nn.Linear(hidden[-1], outputs)
    zero(last)
    return nn.Sequential(*layers, last)


CARD = ModelCard(kind="residual", role="policy", label="BC + PPO", config=ResidualConfig, policy=NetworkPolicy)
