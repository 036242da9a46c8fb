"""Clips for models of video: which frames they hold."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from foreact.core.recipe import PairSampling
from foreact.data.lerobot import LeRobotDataset
from foreact.recordings.recordings import PairBatches, Recordings
from foreact.recordings.splits import split_episodes


def named(episodes, frames):
    """Tokens that say which frame they are."""
    return np.stack([episodes, frames], axis=1)[:, None].astype(np.float16)


@pytest.mark.parametrize(("horizon", "stride", "count"), [(15, 5, 3), (7, 3, 3), (4, 1, 4)])
def test_clips_hold_every_stride_th_frame_and_end_with_the_pairs_second_one(tiny_dataset, horizon, stride, count):
    dataset = LeRobotDataset(tiny_dataset)
    recordings = Recordings(dataset=dataset, split=split_episodes(dataset), cache=SimpleNamespace(gather=named))
    sampling = PairSampling(max_horizon=horizon, moving=0.0)
    batches = PairBatches(recordings, sampling, batch_size=64, seed=0, horizon=horizon, clip_stride=stride)
    batch = batches(3, 0, 1)
    assert batch.clip.shape == (64, count, 1, 2)
    assert torch.equal(batch.clip[:, -1], batch.tokens_th)
    after = batch.clip[:, :, 0, 1] - batch.tokens_t[:, :1, 1]
    for row, h in zip(after.tolist(), batch.lengths.tolist(), strict=True):
        assert row == [min(stride * (k + 1), h) for k in range(count)]
    assert torch.equal(batch.clip[:, :, 0, 0], batch.tokens_t[:, :1, 0].expand(-1, count))
    part = batches(3, 1, 2)
    assert torch.equal(part.clip, batch.clip[32:])
    plain = PairBatches(recordings, sampling, batch_size=4, seed=0, horizon=horizon)
    assert plain(0, 0, 1).clip is None


def test_held_out_batches_come_from_held_out_episodes_alone(tiny_dataset):
    dataset = LeRobotDataset(tiny_dataset)
    recordings = Recordings(dataset=dataset, split=split_episodes(dataset), cache=SimpleNamespace(gather=named))
    for shown, episodes in (
        (recordings, recordings.split.train),
        (recordings.held_out, recordings.split.validation),
    ):
        batch = PairBatches(shown, PairSampling(moving=0.0), batch_size=64, seed=0, horizon=15)(0, 0, 1)
        assert set(batch.tokens_t[:, 0, 0].int().tolist()) == set(episodes)
