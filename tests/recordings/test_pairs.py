"""Pair sampling: every pair lies inside its episode, the laws are what they say, batches depend on (seed, step) alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreact.core.errors import ForeactError
from foreact.core.recipe import PairSampling
from foreact.data.movement import moving_starts
from foreact.recordings.pairs import PairSampler, action_statistics, gather_actions


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=6).filter(lambda x: max(x) > 1),
    horizon=st.integers(1, 20),
    law=st.sampled_from(["uniform", "beta"]),
    step=st.integers(0, 1000),
)
def test_pairs_lie_inside_their_episode(lengths, horizon, law, step):
    sampler = PairSampler(dict(enumerate(lengths)), PairSampling(max_horizon=horizon, law=law), seed=3)
    pairs = sampler.sample(step, 29)
    ends = pairs.start + pairs.horizon
    assert (pairs.start >= 0).all()
    assert (pairs.horizon >= 1).all()
    assert (pairs.horizon <= horizon).all()
    assert (ends < np.array(lengths)[pairs.episode]).all()


def test_batches_are_a_function_of_seed_and_step():
    make = lambda seed: PairSampler({0: 50, 1: 60}, PairSampling(), seed=seed)  # noqa: E731
    one, again, other = make(1).sample(5, 64), make(1).sample(5, 64), make(2).sample(5, 64)
    assert np.array_equal(one.start, again.start)
    assert np.array_equal(one.horizon, again.horizon)
    assert not np.array_equal(one.start, other.start)
    assert not np.array_equal(one.start, make(1).sample(6, 64).start)
    assert np.array_equal(one[16:32].start, one.start[16:32])


def test_uniform_horizons_are_uniform_and_beta_horizons_are_long():
    draw = lambda law: PairSampler({0: 5000}, PairSampling(law=law), seed=0).sample(0, 20_000).horizon  # noqa: E731
    counts = np.bincount(draw("uniform"), minlength=16)[1:]
    assert counts.min() > 0.9 * 20_000 / 15
    assert counts.max() < 1.1 * 20_000 / 15
    beta = draw("beta")
    assert beta.mean() / 15 == pytest.approx(5 / 7 + 0.5 / 15, abs=0.01)


def test_starts_are_drawn_near_movement_nine_times_out_of_ten():
    moving = np.zeros(100, dtype=bool)
    moving[40:50] = True
    sampler = PairSampler({7: 100}, PairSampling(moving=0.9), seed=0, moving={7: moving})
    starts = sampler.sample(0, 20_000).start
    expected = 0.9 + 0.1 * 10 / 99
    assert ((starts >= 40) & (starts < 50)).mean() == pytest.approx(expected, abs=0.01)


def test_nothing_moves_anywhere_means_uniform_starts():
    sampler = PairSampler({0: 11}, PairSampling(moving=0.9), seed=0, moving={0: np.zeros(11, dtype=bool)})
    assert set(sampler.sample(0, 500).start) == set(range(10))


def test_bad_samplers_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        PairSampler({0: 5}, PairSampling(max_horizon=0), seed=0)
    with pytest.raises(ValueError, match="no episode has two frames"):
        PairSampler({0: 1}, PairSampling(), seed=0)


def test_chunks_hold_the_actions_that_lead_from_t_to_t_plus_h():
    actions = {4: np.arange(22, dtype=np.float32).reshape(11, 2)}
    pairs = PairSampler({4: 11}, PairSampling(max_horizon=5), seed=0).sample(0, 13)
    chunks = gather_actions(actions, pairs, 7)
    assert chunks.shape == (13, 7, 2)
    for chunk, t, h in zip(chunks, pairs.start, pairs.horizon, strict=True):
        np.testing.assert_array_equal(chunk[:h, 0], 2 * np.arange(t, t + h))
        assert not chunk[h:].any()


def test_statistics_leave_out_the_last_action_which_leads_nowhere():
    rows = np.array([[1.0], [3.0], [1000.0]], dtype=np.float32)
    mean, std = action_statistics([rows, rows])
    assert (mean[0], std[0]) == (2.0, 1.0)


def test_movement_is_dilated_and_quiet_steps_do_not_count():
    change = np.zeros(30)
    change[14] = 1.0
    change[2] = 0.01
    mask = moving_starts([change, np.zeros(4)])
    assert mask[0].tolist() == [11 <= t <= 17 for t in range(31)]
    assert not mask[1].any()
    assert len(mask[1]) == 5


def test_a_gap_in_seconds_is_the_same_number_of_frames_for_all_pairs():
    sampling = PairSampling(seconds=0.7, moving=0.0)
    assert [sampling.gap(fps) for fps in (10, 30, 1)] == [7, 21, 1]
    pairs = PairSampler({0: 9, 1: 8, 2: 7}, sampling, seed=0, fps=10).sample(0, 500)
    assert set(pairs.horizon) == {7}
    assert set(zip(pairs.episode.tolist(), pairs.start.tolist())) == {(0, 0), (0, 1), (1, 0)}
    with pytest.raises(ForeactError, match=r"no episode is longer than 0\.7 s"):
        PairSampler({2: 7}, sampling, seed=0, fps=10)


def test_a_gap_in_seconds_keeps_to_starts_near_movement():
    moving = np.zeros(50, dtype=bool)
    moving[[10, 48]] = True  # the second is too near the end
    sampling = PairSampling(seconds=0.5, moving=1.0)
    assert set(PairSampler({0: 50}, sampling, seed=0, moving={0: moving}, fps=10).sample(0, 99).start) == {10}
