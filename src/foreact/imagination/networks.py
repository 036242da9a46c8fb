"""What PPO trains: low-rank changes of a cloned policy, the head of its residual, and a value.

    policy: every linear and convolutional layer W + (16 / 8) B A, W frozen, B zero at first (LoRA, by `peft`); normalisation and
            the image decoder that draws what the policy sees are left alone; the residual's head is trained whole
    value:  an MLP on the policy's features, through which no gradient reaches them

Shape legend: B observations, E executed actions, A action dimension.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from torch import Tensor, nn

from foreact.core.errors import ForeactError
from foreact.policies.acting import NetworkPolicy
from foreact.policies.residual import Residual, mlp

_VALUE_HIDDEN = (256, 128)
_APART = ("sight.decoder.", "residual.")


class ActorCritic(nn.Module):
    """A residual policy, adapted, and its value.

    Args:
        policy: acts as the cloned one does, at first; changed in place.
        rank, alpha: of LoRA; rank 0 trains the residual's head alone.

    Attributes:
        see: observation -> what `forward` takes.

    Raises:
        ForeactError: `peft` is not installed.
    """

    def __init__(self, policy: Residual, *, rank: int, alpha: int) -> None:
        super().__init__()
        features = policy.action_head.in_features
        self.policy = policy.requires_grad_(False)
        if rank:
            _adapt(self.policy, rank, alpha)
        self.policy.residual.requires_grad_(True)
        self.value = mlp(features, _VALUE_HIDDEN, 1)
        self.see = NetworkPolicy(self.policy).see
        self.eval()  # no dropout: the probabilities of a rollout must be found again

    def forward(self, pictures: Mapping[str, Tensor], state: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and standard deviation of the normalised actions, (B, E, A), and the value (B,)."""
        features = self.policy.features(pictures, state)
        mean, std = self.policy.distribution(features)
        return mean, std, self.value(features.detach().float())[:, 0]


def merged(policy: Residual) -> Residual:
    """A copy with the low-rank changes added to the weights: what is saved needs no `peft`."""
    plain = copy.deepcopy(policy)
    wrapped: dict[str, Any] = {name: layer for name, layer in plain.named_modules() if hasattr(layer, "get_base_layer")}
    for name, layer in wrapped.items():
        layer.merge()
        plain.set_submodule(name, layer.get_base_layer())
    return plain


def _adapt(policy: Residual, rank: int, alpha: int) -> None:
    if find_spec("peft") is None:
        raise ForeactError(
            "LoRA needs peft: pip install 'foreact[rl]', or train the residual's head alone with --rank 0"
        )
    from peft import LoraConfig, inject_adapter_in_model

    layers = [
        name
        for name, layer in policy.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d) and not name.startswith(_APART)
    ]
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=alpha, target_modules=layers), policy)
