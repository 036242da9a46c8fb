"""A trained world model made to imagine fast: bf16, and compiled for one batch size.

Weights of products are kept in bf16, which is what autocast makes of them in every call: at batch 1 that is a third of the
time. The numbers differ from the plain model's by rounding alone (the tests compare both). What else makes imagination cheap is
in the models: few flow steps and merged condition tokens (`rla_wm`), keys and values computed once per chunk
(`rla_wm_networks.CrossFlow`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from foreact.core.batch import Batch
from foreact.core.config import ModelConfig
from foreact.core.errors import ForeactError
from foreact.core.precision import Precision, use_bf16
from foreact.world_models.base import PretrainedWorldModel

_ON_CPU = {"freezing": True, "cpp_wrapper": True}


class FastWorldModel:
    """A `contracts.WorldModel` around a copy of another one.

    Args:
        model: a trained world model, on its device; it is left as it is.
        precision: of matrix products.
        compile_for: batch size B that `torch.compile` makes fixed graphs for, one of all of a prediction where the model
            says so (`networks`), else one per network; None leaves them as they are. On a GPU inductor replays the graphs
            as CUDA graphs; on a CPU it lays out the weights for its kernels and calls them from C++, a third faster at
            batch 1. The first predictions compile, for tens of seconds on a CPU.
        backend: of `torch.compile`.
    """

    def __init__(
        self,
        model: PretrainedWorldModel,
        *,
        precision: Precision = "auto",
        compile_for: int | None = None,
        backend: str = "inductor",
    ) -> None:
        self._bf16 = use_bf16(precision, next(model.parameters()).device.type)
        self._plain, self.model, self.batch = model, copy.deepcopy(model).eval(), compile_for
        if self._bf16:
            _halve_weights(self.model)
        self.stochastic = model.stochastic
        self._replayed = compile_for is not None and backend == "inductor" and next(model.parameters()).is_cuda
        if compile_for is not None:
            how: dict[str, Any] = {}
            if backend == "inductor":
                how = {"mode": "reduce-overhead"} if self._replayed else {"options": _ON_CPU}
            for network in self.model.networks:
                network.compile(dynamic=False, backend=backend, **how)

    @property
    def config(self) -> ModelConfig:
        """What built the model."""
        return self.model.config

    def parameters(self) -> Iterator[nn.Parameter]:
        """Of the copy that predicts."""
        return self.model.parameters()

    def draw_noise(self, batch: int, generator: torch.Generator) -> Tensor:
        """See `contracts.WorldModel.draw_noise`."""
        return self.model.draw_noise(batch, generator)

    @torch.no_grad()
    def predict(self, tokens: Tensor, actions: Tensor, lengths: Tensor, noise: Tensor) -> Tensor:
        """See `contracts.WorldModel.predict`; without gradients.

        Raises:
            ForeactError: another batch size than compiled for.
        """
        if self.batch not in (None, len(tokens)):
            raise ForeactError(
                f"this {self.config.kind} is compiled for batches of {self.batch}, not {len(tokens)}: fill the batch, or make "
                f"another FastWorldModel with compile_for={len(tokens)}"
            )
        if self._replayed:
            torch.compiler.cudagraph_mark_step_begin()
        with torch.autocast(tokens.device.type, torch.bfloat16, enabled=self._bf16):
            future = self.model.predict(tokens, actions, lengths, noise).float()
        return future.clone() if self._replayed else future  # the next replay overwrites a graph's output

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """The plain model's."""
        return self._plain.loss(batch, generator)


def _halve_weights(model: nn.Module) -> None:
    """Keep in bf16 what autocast would cast in every call; all else stays in float32."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.Conv1d):
            module.to(torch.bfloat16)
