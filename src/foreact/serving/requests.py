"""What a robot asks, read from the bytes that it sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from foreact_client.wire import REQUEST, RESET, WireError, unpack

from foreact.core.contracts import Observation
from foreact.core.errors import ForeactError
from foreact.data.lerobot import STATE
from foreact.policies.acting import check_observation
from foreact.policies.spec import PolicySpec

MOST_ROWS = 64
"""Observations in one request, and about as many in a batch."""
TASK = "task"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a robot asks.

    Attributes:
        number: that its answer brings back.
        observation: checked; arrays and words.
        rows: B; None for one observation without B.
        seeds: of episodes that begin with it.
    """

    number: int
    observation: Observation
    rows: int | None
    seeds: Sequence[int] | None


def read_request(
    message: str | bytes, spec: PolicySpec, *, number: int, seeds: Sequence[int] | None, rename: Mapping[str, str]
) -> Request:
    """The request in a message.

    Args:
        message: as it came.
        spec: of the policy that is asked.
        number: of a request that brings none.
        seeds: of the episodes that begin with a request that says nothing about that.
        rename: another name of an observation's part -> ours.

    Raises:
        ForeactError: what is wrong with it.
    """
    try:
        told = unpack(message)
    except WireError as error:
        raise ForeactError(str(error)) from error
    if not isinstance(told, dict):
        raise ForeactError("an observation is a map of names to arrays and words, packed by msgpack")
    named = {rename.get(name, name): value for name, value in told.items() if isinstance(name, str)}
    wanted = [*(camera.name for camera in spec.cameras), *([STATE] if spec.state else [])]
    observation: dict[str, Any] = {name: _array(name, named[name]) for name in wanted if name in named}
    rows = None if check_observation(spec, observation) else len(observation[wanted[0]])
    if rows is not None and not 1 <= rows <= MOST_ROWS:
        raise ForeactError(f"{rows} observations in one request: send 1 to {MOST_ROWS}")
    observation[TASK] = _words(named.get(TASK, ""), rows)
    number, seeds = told.get(REQUEST, number), told.get(RESET, seeds)
    if not isinstance(number, int) or not (seeds is None or _are_seeds(seeds, rows)):
        raise ForeactError(f"{REQUEST} is a number, {RESET} a list of seeds, one for each observation")
    return Request(number=number, observation=observation, rows=rows, seeds=seeds)


def _array(name: str, value: Any) -> np.ndarray:
    try:
        return np.array(value)  # a copy, since what came over the wire cannot be written to
    except ValueError as error:
        raise ForeactError(f"{name} is no array") from error


def _words(task: Any, rows: int | None) -> str | list[str]:
    """The task of one observation, or of each of its rows."""
    if isinstance(task, str):
        return task if rows is None else [task] * rows
    if not isinstance(task, list) or len(task) != rows or not all(isinstance(words, str) for words in task):
        raise ForeactError(f"{TASK} is the task in words, one for each observation")
    return task


def _are_seeds(seeds: Any, rows: int | None) -> bool:
    whole = isinstance(seeds, list) and all(isinstance(seed, int) and seed >= 0 for seed in seeds)
    return whole and len(seeds) >= 1 and (rows is None or len(seeds) in (1, rows))
