"""Milliseconds per chunk, measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foreact.core.contracts import WorldModel
from foreact.core.machine import synchronise
from foreact.dreams.dream import Dream, DreamState
from foreact.evaluation.results import Timing
from foreact.evaluation.rollouts import Protocol

_REPEATS = 9
_FEWEST = 3
_SECONDS = 10.0  # after which no further repeat is begun


@torch.no_grad()
def time_models(
    models: Mapping[str, WorldModel],
    decoder: Any,
    examples: Mapping[str, tuple[Tensor, np.ndarray]],
    protocol: Protocol,
    batch: int,
) -> tuple[Timing, ...]:
    """Time one chunk of each model, tokens to tokens, and one call of the image decoder, at batch 1 and `batch`.

    Args:
        models: on the device of the examples.
        decoder: image decoder or None; its rows are called `image_decoder`.
        examples: tokens (N, C) and actions (steps, A) for each model.
        protocol: gives the chunk.
        batch: the larger batch size.
    """
    timings = []
    device = next(start.device for start, _ in examples.values())
    for size in sorted({1, batch}):
        calls: dict[str, Callable[[], Any]] = {}
        for name, model in models.items():
            start, actions = examples[name]
            calls[name] = _prediction(model, start.expand(size, *start.shape).contiguous(), actions, protocol)
        if decoder is not None:
            spec = decoder.config.tokens
            drawn = torch.zeros(size, spec.count, spec.channels, device=device)
            calls["image_decoder"] = lambda drawn=drawn: decoder.decode(drawn)  # type: ignore[misc]
        timings += [_time(name, size, call, device) for name, call in calls.items()]
    return tuple(timings)


def _prediction(model: WorldModel, tokens: Tensor, actions: np.ndarray, protocol: Protocol) -> Callable[[], DreamState]:
    dream = Dream(model)
    state = dream.start(tokens, range(len(tokens)))
    first = np.repeat(actions[None, : protocol.chunk], len(tokens), axis=0)
    return lambda: dream.step(state, first)


def _time(name: str, batch: int, call: Callable[[], Any], device: torch.device) -> Timing:
    call()
    times: list[float] = []
    while len(times) < _REPEATS and (len(times) < _FEWEST or sum(times) < _SECONDS):
        synchronise(device)
        begin = time.perf_counter()
        call()
        synchronise(device)
        times.append(time.perf_counter() - begin)
    low, median, high = np.quantile(np.array(times) * 1000, [0.1, 0.5, 0.9])
    return Timing(model=name, batch=batch, median=float(median), low=float(low), high=float(high), repeats=len(times))
