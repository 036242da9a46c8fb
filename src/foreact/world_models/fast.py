"""A trained world model made to imagine fast: bf16, and compiled for one batch size.

The numbers differ from the plain model's by rounding alone (the tests compare both). What else makes imagination cheap is
in the models: few flow steps and merged condition tokens (`rla_wm`), keys and values computed once per chunk
(`rla_wm_networks.CrossFlow`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from foreact.contracts import Batch
from foreact.errors import ForeactError
from foreact.precision import Precision, use_bf16
from foreact.pretrained import ModelConfig
from foreact.world_models.base import PretrainedWorldModel, roll_out


class FastWorldModel:
    """A `contracts.WorldModel` around another one, whose modules it compiles in place.

    Args:
        model: a trained world model, on its device.
        precision: of matrix products.
        compile_for: batch size B that `torch.compile` makes one fixed graph per network for; None leaves them as they are.
            On a GPU inductor replays the graphs as CUDA graphs. The first predictions compile.
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
        self.model, self.precision, self.batch = model.eval(), precision, compile_for
        self.stochastic = model.stochastic
        self._replayed = compile_for is not None and backend == "inductor" and next(model.parameters()).is_cuda
        if compile_for is not None:
            for network in model.networks:
                network.compile(dynamic=False, backend=backend, mode="reduce-overhead" if self._replayed else None)

    @property
    def config(self) -> ModelConfig:
        """What built the model."""
        return self.model.config

    @torch.no_grad()
    def predict(self, tokens: Tensor, actions: Tensor, lengths: Tensor, generator: torch.Generator) -> Tensor:
        """See `contracts.WorldModel.predict`.

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
        device = tokens.device.type
        with torch.autocast(device, torch.bfloat16, enabled=use_bf16(self.precision, device)):
            future = self.model.predict(tokens, actions, lengths, generator).float()
        return future.clone() if self._replayed else future  # the next replay overwrites a graph's output

    def rollout(
        self, tokens: Tensor, chunks: Sequence[tuple[Tensor, Tensor]], generator: torch.Generator
    ) -> list[Tensor]:
        """See `contracts.WorldModel.rollout`."""
        return roll_out(self, tokens, chunks, generator)

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """The plain model's."""
        return self.model.loss(batch, generator)
