"""Clips for models of video: which frames they hold."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from foreact.core.batch import Columns
from foreact.core.recipe import PairSampling
from foreact.data.lerobot import LeRobotDataset
from foreact.recordings.batches import PairBatches
from foreact.recordings.recording import Recording
from foreact.recordings.recordings import Recordings
from foreact.recordings.splits import split_episodes


def recorded(root):
    dataset = LeRobotDataset(root)
    cache = SimpleNamespace(gather=named)
    return Recordings(sources=(Recording(dataset=dataset, split=split_episodes(dataset), cache=cache),))


def named(episodes, frames):
    """Tokens that say which frame they are."""
    return np.stack([episodes, frames], axis=1)[:, None].astype(np.float16)


@pytest.mark.parametrize(("horizon", "stride", "count"), [(15, 5, 3), (7, 3, 3), (4, 1, 4)])
def test_clips_hold_every_stride_th_frame_and_end_with_the_pairs_second_one(tiny_dataset, horizon, stride, count):
    recordings = recorded(tiny_dataset)
    sampling = PairSampling(max_horizon=horizon, moving=0.0)
    columns = Columns(actions=horizon, clip_stride=stride)
    batches = PairBatches(recordings, law=sampling, columns=columns, batch_size=64, seed=0)
    batch = batches(3, 0, 1)
    assert batch.clip.shape == (64, count, 1, 2)
    assert torch.equal(batch.clip[:, -1], batch.tokens_th)
    after = batch.clip[:, :, 0, 1] - batch.tokens_t[:, :1, 1]
    for row, h in zip(after.tolist(), batch.lengths.tolist(), strict=True):
        assert row == [min(stride * (k + 1), h) for k in range(count)]
    assert torch.equal(batch.clip[:, :, 0, 0], batch.tokens_t[:, :1, 0].expand(-1, count))
    part = batches(3, 1, 2)
    assert torch.equal(part.clip, batch.clip[32:])
    plain = PairBatches(recordings, law=sampling, columns=Columns(actions=horizon), batch_size=4, seed=0)
    assert plain(0, 0, 1).clip is None


def test_held_out_batches_come_from_held_out_episodes_alone(tiny_dataset):
    recordings = recorded(tiny_dataset)
    for shown, episodes in (
        (recordings, recordings.split.train),
        (recordings.held_out, recordings.split.validation),
    ):
        columns, law = Columns(actions=15), PairSampling(moving=0.0)
        batch = PairBatches(shown, law=law, columns=columns, batch_size=64, seed=0)(0, 0, 1)
        assert set(batch.tokens_t[:, 0, 0].int().tolist()) == set(episodes)
