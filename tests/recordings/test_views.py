"""Two views of a pair: one draw for both frames, another for the other view, the same for one process and two."""

import numpy as np
import pytest
import torch

from foreact.core.batch import Batch, Columns
from foreact.core.recipe import PairSampling
from foreact.data.lerobot import LeRobotDataset
from foreact.encoders.pixels import PixelEncoder
from foreact.recordings.batches import PairBatches
from foreact.recordings.recording import Recording
from foreact.recordings.recordings import Recordings
from foreact.recordings.splits import split_episodes
from foreact.recordings.token_cache import LiveTokens
from foreact.recordings.views import ClipViews, ViewRanges

STILL = ViewRanges(area=(1, 1), ratio=(1, 1), brightness=0, contrast=0, saturation=0, hue=0)


def frames(seed, count=5, size=32):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8))


def draw(ranges, count=5, seed=0):
    return ClipViews.draw(count, ranges, torch.Generator().manual_seed(seed))


def test_ranges_of_nothing_leave_the_picture():
    assert torch.equal(draw(STILL)(frames(0)), frames(0))


def test_a_view_is_the_same_for_every_frame_of_its_clip_and_differs_between_clips():
    views = draw(ViewRanges())
    assert torch.equal(views(frames(0)), views(frames(0)))
    same = frames(0, count=1).expand(5, -1, -1, -1)
    shown = views(same).float()
    assert (shown[0] - shown[1:]).abs().mean(dim=(1, 2, 3)).min() > 1
    assert torch.equal(views[1:3](same[1:3]), views(same)[1:3])


def test_crops_keep_the_share_and_the_ratio_they_are_drawn_from():
    views = draw(ViewRanges(area=(0.5, 0.6), ratio=(1.0, 1.5)), count=500)
    width, height = views.theta[:, 0, 0], views.theta[:, 1, 1]
    assert 0.499 < (width * height).min() < (width * height).max() < 0.601
    assert 0.999 < (width / height).min() < 1.1 < 1.4 < (width / height).max() < 1.501
    assert (views.theta[:, 0, 2].abs() <= 1 - width + 1e-6).all()
    assert views.theta[:, 0, 2].max() > 0.1 > -0.1 > views.theta[:, 0, 2].min()


def test_a_crop_shows_the_part_it_names():
    picture = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
    picture[:, :16, 16:] = 200  # the upper right quarter
    view = ClipViews(theta=torch.tensor([[[0.5, 0.0, 0.5], [0.0, 0.5, -0.5]]]), colour=draw(STILL, 1).colour)
    assert (view(picture).float() - 200).abs()[:, :-1, 1:].max() < 1


@pytest.mark.parametrize("change", [{"saturation": 0.9}, {"hue": 0.5}])
def test_saturation_and_hue_leave_grey_alone_and_keep_the_mean(change):
    colour = draw(ViewRanges(**(vars(STILL) | change)), count=50).colour
    torch.testing.assert_close(colour @ torch.tensor([0.3, 0.3, 0.3, 1.0]), torch.full((50, 3), 0.3))
    red = colour @ torch.tensor([0.9, 0.1, 0.2, 1.0])
    torch.testing.assert_close(red.mean(dim=1), torch.full((50,), 0.4))
    assert red.std(dim=0).min() > 0.05


def test_a_third_of_a_turn_permutes_the_colours():
    colour = draw(STILL, 1).colour
    from foreact.recordings.views import _colour_maps

    one = torch.ones(1)
    turned = _colour_maps(one, one, one, 2 * torch.pi / 3 * one)
    torch.testing.assert_close((turned @ torch.tensor([0.9, 0.1, 0.2, 1.0]))[0], torch.tensor([0.2, 0.9, 0.1]))
    torch.testing.assert_close(_colour_maps(one, one, one, 0 * one), colour)


@pytest.fixture
def recordings(tiny_dataset):
    dataset = LeRobotDataset(tiny_dataset)
    cache = LiveTokens(dataset, PixelEncoder(32))
    return Recordings(sources=(Recording(dataset=dataset, split=split_episodes(dataset), cache=cache),))


def batches(recordings, views=None):
    columns = Columns(states=True, two_views=views is not None)
    made = PairBatches(recordings, law=PairSampling(moving=0.0), columns=columns, batch_size=6, seed=1)
    made.views = views
    return made


def test_batches_in_two_views_depend_on_seed_and_step_alone_and_split_over_processes(recordings):
    make = batches(recordings, views=ViewRanges())
    whole = make(3, 0, 1)
    halves = [make(3, rank, 2) for rank in (0, 1)]
    for name in ("tokens_t", "tokens_th", "seen_t", "seen_th", "state_t", "state_th", "embodiment"):
        assert torch.equal(getattr(whole, name), torch.cat([getattr(half, name) for half in halves])), name
    assert not torch.equal(make(4, 0, 1).tokens_t, whole.tokens_t)
    assert not torch.equal(whole.seen_t, whole.tokens_t)


def test_views_of_nothing_give_the_tokens_of_the_recording_twice(recordings):
    plain, still = batches(recordings)(0, 0, 1), batches(recordings, views=STILL)(0, 0, 1)
    assert plain.seen_t is None
    for name in ("tokens_t", "tokens_th"):
        torch.testing.assert_close(getattr(still, name), getattr(plain, name))
        torch.testing.assert_close(getattr(still, name.replace("tokens", "seen")), getattr(plain, name))


def test_states_are_those_of_the_pairs_frames(recordings):
    batch = batches(recordings)(0, 0, 1)
    _, pairs = batches(recordings).sample(0, 6)
    for row in range(6):
        rows = recordings.dataset.column("observation.state", int(pairs.episode[row]))
        np.testing.assert_array_equal(batch.state_t[row], rows[pairs.start[row]])
        np.testing.assert_array_equal(batch.state_th[row], rows[pairs.start[row] + pairs.horizon[row]])
    assert isinstance(batch, Batch)
    assert batch.embodiment.tolist() == [1] * 6
