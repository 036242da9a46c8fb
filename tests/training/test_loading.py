"""Batches from worker processes: the same as without, errors as they were raised, nobody left behind."""

import multiprocessing
import os
from collections import namedtuple

import pytest
import torch

from foreact.core.batch import Batch
from foreact.core.errors import ForeactError
from foreact.training import loading
from foreact.training.loading import load_batches, workers_for


def make(step):
    generator = torch.Generator().manual_seed(step)
    return Batch(
        tokens_t=torch.rand(2, 3, 4, generator=generator),
        tokens_th=torch.full((2,), os.getpid()),
        lengths=torch.tensor([step] * 2),
    )


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_steps_come_in_order_whoever_makes_them(workers):
    before = torch.random.get_rng_state()
    with load_batches(make, 3, 20, workers=workers) as batches:
        found = list(batches)
    assert [int(batch.lengths[0]) for batch in found] == list(range(3, 20))
    assert all(torch.equal(batch.tokens_t, make(3 + k).tokens_t) for k, batch in enumerate(found))
    makers = {int(batch.tokens_th[0]) for batch in found}
    assert (makers == {os.getpid()}) if workers == 0 else (os.getpid() not in makers and len(makers) == workers)
    assert torch.equal(torch.random.get_rng_state(), before), "training's own randomness is left alone"


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_is_raised_as_it_was_after_the_batches_before_it(workers):
    def broken(step):
        if step == 5:
            raise ForeactError("episode 7: the video is damaged")
        return make(step)

    seen = []
    with (
        pytest.raises(ForeactError, match=r"^episode 7: the video is damaged$"),
        load_batches(broken, 0, 9, workers=workers) as batches,
    ):
        seen.extend(int(batch.lengths[0]) for batch in batches)
    assert not multiprocessing.active_children()


def test_no_worker_is_left_when_the_user_interrupts():
    def interrupted():
        with load_batches(make, 0, 10_000, workers=2) as batches:
            for batch in batches:
                if batch.lengths[0] == 3:
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not multiprocessing.active_children()


def test_batches_that_do_not_fit_the_shared_memory_are_made_here(monkeypatch):
    usage = namedtuple("usage", "total used free")
    size = sum(t.nbytes for t in vars(make(0)).values() if isinstance(t, torch.Tensor))
    monkeypatch.setattr(loading.shutil, "disk_usage", lambda _: usage(0, 0, 8 * size + 2))
    assert workers_for(make(0), 1) == 1
    assert workers_for((make(0).tokens_t,), 1) == 1
    monkeypatch.setattr(loading.shutil, "disk_usage", lambda _: usage(0, 0, 8 * size))
    assert workers_for(make(0), 1) == 0
    assert workers_for(make(0), 0) == 0
