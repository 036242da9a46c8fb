"""AdamW for everything, or Muon for the weight matrices of transformer blocks and AdamW for the rest.

Muon orthogonalises each matrix's momentum; on the `tiny` sizes it needs about half of AdamW's steps. Its updates are scaled
to AdamW's root mean square, so one learning rate serves both. See `training.muon`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from foreact.core.recipe import OptimizerName
from foreact.training.muon import Muon


def build_optimizers(
    model: nn.Module,
    name: OptimizerName,
    *,
    learning_rate: float,
    weight_decay: float,
    rates: Mapping[str, float] = MappingProxyType({}),
) -> list[torch.optim.Optimizer]:
    """Optimisers over the trainable parameters of `model`, each parameter in one of them.

    Args:
        model: what is trained.
        name: of the optimiser of transformer blocks.
        learning_rate, weight_decay: of all parameters.
        rates: beginning of a name -> the share of the learning rate that such parameters have, noted as their group's `share`.
    """
    trainable = {n: p for n, p in model.named_parameters() if p.requires_grad}
    matrices = {n: p for n, p in trainable.items() if name == "muon" and p.ndim == 2 and ".blocks." in f".{n}"}
    rest = {n: p for n, p in trainable.items() if n not in matrices}
    adamw = torch.optim.AdamW(_groups(rest, rates), lr=learning_rate, weight_decay=weight_decay, fused=True)
    if not matrices:
        return [adamw]
    return [Muon(_groups(matrices, rates), learning_rate, weight_decay=weight_decay), adamw]


def _groups(parameters: Mapping[str, nn.Parameter], rates: Mapping[str, float]) -> list[dict[str, Any]]:
    """Parameters by their share of the learning rate."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        share = next((share for start, share in rates.items() if name.startswith(start)), 1.0)
        groups.setdefault(share, []).append(parameter)
    return [{"params": own, "share": share} for share, own in groups.items()]


def state_by_name(model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> dict[str, torch.Tensor]:
    """All optimiser state as `parameter/field` -> tensor."""
    names: dict[torch.Tensor, str] = {p: n for n, p in model.named_parameters()}
    return {
        f"{names[p]}/{field}": value if isinstance(value, torch.Tensor) else torch.tensor(value)
        for optimizer in optimizers
        for p, entry in optimizer.state.items()
        for field, value in entry.items()
    }


def restore_by_name(
    model: nn.Module, optimizers: list[torch.optim.Optimizer], tensors: dict[str, torch.Tensor]
) -> None:
    """Inverse of `state_by_name`."""
    parameters = dict(model.named_parameters())
    owners = {p: o for o in optimizers for group in o.param_groups for p in group["params"]}
    for key, tensor in tensors.items():
        name, field = key.rsplit("/", 1)
        parameter = parameters[name]
        value = tensor if field == "step" else tensor.to(parameter.device)
        owners[parameter].state[parameter][field] = value
