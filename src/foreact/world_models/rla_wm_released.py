"""RLA-WM as its released code has it: other networks, another loss, another law of tau.

    s_t through blocks modulated by a GRU of the actions -> N condition tokens; the flow cross-attends to all of them
    loss = MSE + L1 on velocities;   tau is logit-normal;   no slot tokens;   no position codes (in its RLA)

The released code divides z by 10; here it is standardised as in the paper's variant. `released_weights` makes this model of
the weights that the authors trained.

Shape legend: B batch, N patch tokens, C channels, Q latent tokens, Z latent channels, M context tokens, D width.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

from torch import Tensor, nn

from foreact.core.cards import ModelCard
from foreact.core.config import ModelConfig
from foreact.nn.actions import RecurrentEncoder
from foreact.nn.attention import ModulatedBlock, initialise, learned_tokens, zero
from foreact.nn.positions import PatchEmbedding, TimeEmbedding
from foreact.world_models.rla_wm import RLAWorldModel, RLAWorldModelConfig, cost
from foreact.world_models.rla_wm_networks import Sizes


@dataclass(frozen=True, kw_only=True)
class ReleasedRLAWorldModelConfig(RLAWorldModelConfig):
    """As `RLAWorldModelConfig`; made by `released`.

    Attributes:
        project_actions: each block of the condition network has a linear layer of its own for the actions' vector (on in
            the released weights).
    """

    kind: ClassVar[str] = "rla_wm_released"
    added: ClassVar[tuple[str, ...]] = ("project_actions",)

    project_actions: bool = False

    def build(self) -> ReleasedRLAWorldModel:
        """A world model with fresh weights.

        Raises:
            ValueError: extras that need the paper's Q condition tokens.
        """
        extras = self.extras
        if extras.mean_weight or extras.token_weight or extras.condition_merge > 1:
            raise ValueError(
                "only the paper's variant has Q condition tokens, to regress z from or to read merged patches"
            )
        return ReleasedRLAWorldModel(self)

    @classmethod
    def upgrade(cls, data: dict[str, Any]) -> tuple[type[ModelConfig], dict[str, Any]]:
        """This kind has been written with nested extras only."""
        return cls, data


def released(paper: RLAWorldModelConfig) -> ReleasedRLAWorldModelConfig:
    """The released variant in the sizes of the paper's."""
    extras = replace(paper.extras, slots=False, l1_weight=1.0, mean_weight=0.0, token_weight=0.0, condition_merge=1)
    same: dict[str, Any] = {f.name: getattr(paper, f.name) for f in fields(paper)}
    return ReleasedRLAWorldModelConfig(**{**same, "extras": extras, "time_law": "logit_normal"})


class ReleasedRLAWorldModel(RLAWorldModel):
    """The same model over the released code's networks."""

    config: ReleasedRLAWorldModelConfig

    def build_networks(self) -> tuple[nn.Module, nn.Module]:
        """Condition and flow network."""
        config = self.config
        condition = AdaptiveCondition(config.sizes(config.condition_depth), project_actions=config.project_actions)
        return condition, CrossFlow(config.sizes(config.flow_depth))


class AdaptiveCondition(nn.Module):
    """The released code's: s_t through blocks modulated by one vector of the actions; all N tokens are passed on."""

    def __init__(self, sizes: Sizes, *, project_actions: bool = False) -> None:
        super().__init__()
        self.project = PatchEmbedding(sizes.grid, sizes.channels, sizes.dim, sizes.position_scale)
        self.embed_actions = RecurrentEncoder(sizes.actions[1], sizes.dim)
        own = [nn.Linear(sizes.dim, sizes.dim) if project_actions else nn.Identity() for _ in range(sizes.depth)]
        self.project_actions = nn.ModuleList(own)
        self.blocks = nn.ModuleList([ModulatedBlock(sizes.dim, sizes.heads) for _ in range(sizes.depth)])
        initialise(self)

    def features(self, tokens_BNC: Tensor, actions_BHA: Tensor, mask_BH: Tensor) -> tuple[Tensor, Tensor]:
        """Condition tokens (B, N, D), which are the patches."""
        x_BND = self(tokens_BNC, actions_BHA, mask_BH)
        return x_BND, x_BND

    def forward(self, tokens_BNC: Tensor, actions_BHA: Tensor, mask_BH: Tensor) -> Tensor:
        """s_t (B, N, C), standardised actions (B, H, A), their mask (B, H) -> condition tokens (B, N, D)."""
        x_BND = self.project(tokens_BNC)
        action_BD = self.embed_actions(actions_BHA, mask_BH)
        for project, block in zip(self.project_actions, self.blocks, strict=True):
            x_BND = block(x_BND, project(action_BD))
        return x_BND


class CrossFlow(nn.Module):
    """The released code's: latent tokens attend to themselves and to the condition, modulated by the flow time.

    The condition's keys and values are computed once per chunk; the released code projects them in every ODE step.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.time = TimeEmbedding(sizes.dim)
        self.project_z = nn.Linear(sizes.latent[1], sizes.dim)
        self.slots = learned_tokens(sizes.latent[0], sizes.dim) if sizes.slots else None
        self.blocks = nn.ModuleList([ModulatedBlock(sizes.dim, sizes.heads, cross=True) for _ in range(sizes.depth)])
        self.norm = nn.LayerNorm(sizes.dim)
        self.out = nn.Linear(sizes.dim, sizes.latent[1])
        initialise(self)
        zero(self.out)

    def prepare(self, context_BMD: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Keys and values of the condition tokens, one pair per block."""
        return [block.cross.keys_values(context_BMD) for block in self.blocks]  # type: ignore[union-attr, operator]

    def forward(self, z_BQZ: Tensor, time_B: Tensor, context: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Noisy latent (B, Q, Z) at times (B,) -> velocity (B, Q, Z)."""
        x_BQD = self.project_z(z_BQZ)
        if self.slots is not None:
            x_BQD = x_BQD + self.slots
        time_BD = self.time(time_B)
        for block, keys_values in zip(self.blocks, context, strict=True):
            x_BQD = block(x_BQD, time_BD, keys_values)
        return self.out(self.norm(x_BQD))


CARD = ModelCard(
    kind="rla_wm_released",
    role="world_model",
    label="RLA-WM (released networks)",
    config=ReleasedRLAWorldModelConfig,
    cost=cost,
)
