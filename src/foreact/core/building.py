"""From a config to its model; a config out of a file that somebody else wrote is not given memory or time for nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from foreact.core.config import ModelConfig
from foreact.core.errors import ForeactError
from foreact.core.files import parse_json
from foreact.core.weights import read_shapes

if TYPE_CHECKING:
    from foreact.core.pretrained import PretrainedModel

_USUAL = 4096
"""Numbers in a config up to this one make no model that takes more than seconds or a gigabyte before its weights are compared."""
_SPARE_TENSORS = 1000
"""Tensors that a model may make and throw away while it is built."""
_SPARE_BYTES = 64 << 20
"""Of what is not stored but computed when a model is built, such as codes of positions."""


def build_to_fit(config: ModelConfig, where: Path, weights: Path) -> PretrainedModel:
    """The model that a config describes, with fresh weights, if it is the one whose tensors are in a file.

    Unusual sizes are first tried on the meta device, which takes no memory, but seconds to be got ready.

    Args:
        config: what to build.
        where: the file that the config was read from.
        weights: the file of the tensors.

    Raises:
        ForeactError: it is another one, or no model can be built as the config says.
    """
    there = read_shapes(weights)
    unusual = _largest(config.to_dict()) > _USUAL
    try:
        with _no_larger_than(there), torch.device("meta") if unusual else nullcontext():
            model = config.build()
        if (needed := sum(buffer.nbytes for buffer in model.buffers())) > weights.stat().st_size + _SPARE_BYTES:
            raise OverflowError(f"its tables need {needed / 1e9:.3g} GB")
    except ForeactError:
        raise
    except Exception as error:
        raise ForeactError(
            f"{where} describes no model that can be built: {type(error).__name__}: {str(error)[:200]}"
        ) from error
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    missing, extra = sorted(wanted.keys() - there.keys()), sorted(there.keys() - wanted.keys())
    if missing or extra:
        raise ForeactError(
            f"{weights} does not fit its config: {len(missing)} missing tensors {missing[:3]}, {len(extra)} extra {extra[:3]}"
        )
    for name, shape in there.items():
        if shape != wanted[name]:
            raise ForeactError(f"{weights}: {name} has shape {shape}, the config says {wanted[name]}")
    return config.build() if unusual else model


def _largest(value: Any) -> int:
    """The largest whole number in a config; of pairs, such as the rows and columns of a grid, their product counts."""
    if isinstance(value, dict):
        return max(map(_largest, value.values()), default=0)
    if isinstance(value, list | tuple):
        parts = [_largest(part) for part in value]
        return math.prod(parts) if len(parts) == 2 else max(parts, default=0)
    if isinstance(value, str) and value.startswith("{"):  # a config of another library
        return _largest(parse_json(value.encode()))
    return value if isinstance(value, int) else 0


@contextmanager
def _no_larger_than(shapes: Mapping[str, tuple[int, ...]]) -> Iterator[None]:
    """Inside, models with far more parameters than that are not built on: a config may ask for a million layers."""
    tensors, numbers = 2 * len(shapes) + _SPARE_TENSORS, 2 * sum(map(math.prod, shapes.values())) + _SPARE_BYTES // 4

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal tensors, numbers
        tensors, numbers = tensors - 1, numbers - (0 if parameter is None else parameter.numel())
        if min(tensors, numbers) < 0:
            raise OverflowError("it is far larger than the weights beside it")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()
