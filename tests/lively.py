"""A model as after training, for tests of models."""

from __future__ import annotations

from typing import Any

import torch

from foreact.core.config import ModelConfig


def lively(config: ModelConfig) -> Any:
    """A model whose zero-initialised layers are made to do something."""
    torch.manual_seed(0)
    model = config.build()
    for parameter in model.parameters():
        if parameter.abs().sum() == 0:
            torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()
