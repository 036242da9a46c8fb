"""Batches made ahead of the step that needs them, by worker processes of torch's DataLoader."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from foreact.core.errors import ForeactError

_AHEAD = 3  # batches that each worker keeps ready
_SHARED = "/dev/shm"


class _Steps(Dataset[Any]):
    """Item k is the batch of step k; an error that a user is meant to read is handed over as it is."""

    def __init__(self, make: Callable[[int], Any]) -> None:
        self._make = make

    def __getitem__(self, step: int) -> Any:
        try:
            return self._make(step)
        except ForeactError as error:
            return error


@contextlib.contextmanager
def load_batches(make: Callable[[int], Any], first: int, last: int, *, workers: int) -> Iterator[Iterator[Any]]:
    """Inside, an iterator over the batches of steps first..last-1; afterwards no worker is left.

    Args:
        make: step -> batch; a function of the step alone, so it does not matter who makes it.
        first, last: the steps.
        workers: processes that make batches ahead, with one thread each; 0 makes them here, when they are asked for.

    Raises:
        ForeactError: as `make`.
    """
    loader = DataLoader(
        _Steps(make),
        batch_size=None,
        sampler=range(first, last),
        num_workers=workers,
        collate_fn=_as_it_is,
        prefetch_factor=_AHEAD if workers else None,
        multiprocessing_context="fork" if workers else None,
        worker_init_fn=_leave_interrupts_to_the_parent,
        generator=torch.Generator(),  # else its seed would be drawn from training's own randomness
    )
    batches = iter(loader)
    try:
        yield (_raised(batch) for batch in batches)
    finally:
        if workers:
            batches._shutdown_workers()  # type: ignore[attr-defined]


def workers_for(batch: Any, wanted: int) -> int:
    """How many worker processes make batches like this one: none where processes cannot fork, or share too little memory."""
    if not wanted or not sys.platform.startswith("linux"):
        return 0
    needed = (wanted * _AHEAD + 1) * _bytes(batch)
    return wanted if needed < shutil.disk_usage(_SHARED).free // 2 else 0


def _raised(batch: Any) -> Any:
    if isinstance(batch, ForeactError):
        raise batch
    return batch


def _as_it_is(batch: Any) -> Any:
    return batch


def _leave_interrupts_to_the_parent(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _bytes(batch: Any) -> int:
    parts = batch if isinstance(batch, tuple) else vars(batch).values()
    return sum(part.nbytes for part in parts if isinstance(part, Tensor))
