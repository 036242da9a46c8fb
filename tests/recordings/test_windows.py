"""Windows: every column at every offset is what the dataset holds there; masks and edges; several cameras and sources."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foreact.core.errors import ForeactError
from foreact.data.lerobot import LeRobotDataset
from foreact.encoders.pixels import PixelEncoder
from foreact.recordings.recording import Recording
from foreact.recordings.recordings import Recordings
from foreact.recordings.splits import split_episodes
from foreact.recordings.token_cache import LiveTokens
from foreact.recordings.windows import Window, WindowBatches, clamp, read_windows

TOP, SIDE = "observation.images.top", "observation.images.side"


def recording(root, **options):
    dataset = LeRobotDataset(root)
    cache = LiveTokens(dataset, PixelEncoder(32))
    return Recording(dataset=dataset, split=split_episodes(dataset), cache=cache, **options)


@pytest.fixture(scope="module")
def recordings(two_camera_dataset):
    return Recordings(sources=(recording(two_camera_dataset),))


@settings(max_examples=80, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    offsets=st.lists(st.integers(-12, 12), min_size=1, max_size=6),
    data=st.data(),
)
def test_times_are_drawn_into_the_episode_and_masked_where_they_were_not(lengths, offsets, data):
    at = np.array([data.draw(st.integers(0, length - 1)) for length in lengths])
    wanted = at[:, None] + np.array(offsets)
    times, inside = clamp(wanted, np.array(lengths))
    for row, length in enumerate(lengths):
        for k, t in enumerate(wanted[row]):
            assert inside[row, k] == (0 <= t < length)
            assert times[row, k] == (t if 0 <= t < length else 0 if t < 0 else length - 1)


@settings(max_examples=40, deadline=None)
@given(
    frames=st.lists(st.integers(0, 10), min_size=1, max_size=4),
    state=st.lists(st.integers(-20, 20), min_size=1, max_size=4),
    action=st.lists(st.integers(-20, 20), min_size=1, max_size=4),
    data=st.data(),
)
def test_rows_and_masks_are_those_of_a_plain_loop(recordings, frames, state, action, data):
    single = recordings.sources[0]
    train = single.split.train
    episodes = np.array([data.draw(st.sampled_from(train)) for _ in frames])
    window = Window(columns={"observation.state": tuple(state), "action": tuple(action), "task": ()})
    batch = read_windows(recordings, window, np.zeros(len(frames), np.int64), episodes, np.array(frames))
    for row, (episode, t) in enumerate(zip(episodes.tolist(), frames, strict=True)):
        length = single.dataset.episode(episode).length
        for name, offsets, last in (("observation.state", state, length - 1), ("action", action, length - 2)):
            stored = single.dataset.column(name, episode)
            for k, offset in enumerate(offsets):
                assert batch.inside[name][row, k] == (0 <= t + offset <= last)
                np.testing.assert_array_equal(batch.columns[name][row, k], stored[min(max(t + offset, 0), last)])
        assert batch.task[row] == single.dataset.episode(episode).task


def test_seconds_are_rounded_to_the_sources_own_frames():
    window = Window(columns={"action": (0, 0.1, 0.34, -0.5, 2)})
    assert window.offsets("action", 10).tolist() == [0, 1, 3, -5, 2]
    assert window.offsets("action", 30).tolist() == [0, 3, 10, -15, 2]


def test_frames_and_tokens_of_several_cameras(recordings):
    single = recordings.sources[0]
    columns = {TOP: (0, -1), SIDE: (0,), f"{SIDE}.tokens": (1, 0), "observation.images.tokens": (0,)}
    where = np.zeros(2, np.int64), np.array(single.split.train[:2]), np.array([3, 5])
    batch = read_windows(recordings, Window(columns=columns), *where)
    for row, (episode, t) in enumerate(zip(where[1].tolist(), where[2].tolist(), strict=True)):
        top, side = (single.dataset.frames(episode, size=32, camera=c) for c in ("top", "side"))
        np.testing.assert_array_equal(batch.columns[TOP][row], top[[t, t - 1]])
        np.testing.assert_array_equal(batch.columns[SIDE][row], side[[t]])
        np.testing.assert_array_equal(
            batch.columns[f"{SIDE}.tokens"][row],
            LiveTokens(single.dataset.with_camera("side"), PixelEncoder(32)).tokens(episode)[[t + 1, t]],
        )
        np.testing.assert_array_equal(
            batch.columns["observation.images.tokens"][row, 0], single.cache.tokens(episode)[t]
        )
    assert all(mask.all() for mask in batch.inside.values())


def test_batches_are_a_function_of_seed_and_step_and_split_over_processes(recordings):
    window = Window(columns={"observation.state": (0,), "action": (0, 1, 2), "task": ()})
    make = WindowBatches(recordings, window=window, batch_size=8, seed=2)
    whole, again = make(4, 0, 1), WindowBatches(recordings, window=window, batch_size=8, seed=2)(4, 0, 1)
    halves = [make(4, rank, 2) for rank in (0, 1)]
    for name in window.timed:
        assert torch.equal(whole.columns[name], again.columns[name])
        assert torch.equal(whole.columns[name], torch.cat([half.columns[name] for half in halves]))
        assert torch.equal(whole.inside[name], torch.cat([half.inside[name] for half in halves]))
    assert whole.task == halves[0].task + halves[1].task
    assert not torch.equal(make(5, 0, 1).columns["action"], whole.columns["action"])
    assert whole.inside["action"][:, 0].all(), "every window begins with an action that leads somewhere"


def test_a_source_without_the_column_or_with_other_actions_is_refused(
    two_camera_dataset, tiny_dataset, actionless_dataset
):
    two, tiny, none = recording(two_camera_dataset), recording(tiny_dataset), recording(actionless_dataset)
    build = lambda sources, *names: WindowBatches(  # noqa: E731
        Recordings(sources=sources), window=Window(columns=dict.fromkeys(names, (0,))), batch_size=4, seed=0
    )
    with pytest.raises(ForeactError, match=r"no camera 'observation\.images\.side'"):
        build((two, tiny), SIDE)
    with pytest.raises(ForeactError, match="no episode with actions"):
        build((two, none), "action")
    with pytest.raises(ForeactError, match=r"no column 'observation\.effort'"):
        build((two,), "observation.effort")
    mixed = build((two, none), "observation.images", "observation.state")(0, 0, 1)
    assert mixed.columns["observation.images"].shape == (4, 1, 32, 32, 3)
