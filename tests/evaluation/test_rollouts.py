from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from evaluation_fakes import CHANNELS, GRID, FakeWorldModel, PerfectRLA
from hypothesis import given
from hypothesis import strategies as st

from foreact.core.errors import ForeactError
from foreact.data.lerobot import LeRobotDataset
from foreact.evaluation.poses import find_poses
from foreact.evaluation.rollouts import (
    Protocol,
    Window,
    check_model,
    imagine,
    moving_windows,
    oracle,
    persistence,
    select_windows,
    usable_lengths,
)

PROTOCOL = Protocol(steps=17, chunk=7, starts_per_episode=3, samples=5)
START = torch.randn((GRID * GRID, CHANNELS), generator=torch.Generator().manual_seed(0))
ACTIONS = np.random.default_rng(0).normal(size=(17, 2)).astype(np.float32)


def test_default_protocol_is_the_papers():
    assert Protocol().boundaries == (10, 20, 30)


def test_the_last_chunk_takes_what_is_left():
    assert PROTOCOL.boundaries == (7, 14, 17)
    assert Protocol(steps=5, chunk=7).boundaries == (5,)


@pytest.mark.parametrize("name", ["steps", "chunk", "starts_per_episode", "samples"])
def test_impossible_protocols_are_refused(name):
    with pytest.raises(ForeactError, match=f"{name} must be at least 1, not 0"):
        Protocol(**{name: 0})


@given(
    st.dictionaries(st.integers(0, 99), st.integers(1, 120), max_size=8),
    st.integers(1, 40),
    st.integers(1, 6),
)
def test_windows_fit_and_are_spread(lengths, steps, starts):
    protocol = Protocol(steps=steps, starts_per_episode=starts)
    windows = select_windows(lengths, protocol)
    assert len(set(windows)) == len(windows)
    for episode, length in lengths.items():
        own = [w.start for w in windows if w.episode == episode]
        assert len(own) == min(starts, max(length - steps, 0))
        assert own[:1] in ([], [0])
        assert all(start + steps <= length - 1 for start in own)
        if len(own) > 1:
            assert own[-1] == length - 1 - steps


def test_chunks_are_padded_with_zeros_and_cover_all_actions():
    model, chunks = FakeWorldModel(stochastic=True, horizon=11), []
    predict = model.predict
    model.predict = lambda tokens, *chunk: chunks.append(chunk[:2]) or predict(tokens, *chunk)
    imagine(model, START, ACTIONS, Window(episode=0, start=0), dataclasses.replace(PROTOCOL, samples=2))
    assert [c.shape for c, _ in chunks] == [(2, 11, 2)] * 3
    assert [lengths.tolist() for _, lengths in chunks] == [[7, 7], [7, 7], [3, 3]]
    joined = torch.cat([chunk[0, : lengths[0]] for chunk, lengths in chunks])
    assert torch.equal(joined, torch.from_numpy(ACTIONS))
    assert all(not chunk[:, lengths[0] :].any() for chunk, lengths in chunks)


def test_samples_of_a_stochastic_model_differ_and_are_reproducible():
    model, window = FakeWorldModel(stochastic=True, horizon=11), Window(episode=3, start=5)
    futures = imagine(model, START, ACTIONS, window, PROTOCOL)
    assert futures.shape == (5, 3, *START.shape)
    assert not torch.equal(futures[0], futures[1])
    assert torch.equal(futures, imagine(model, START, ACTIONS, window, PROTOCOL))


def test_noise_depends_on_seed_episode_and_start_and_on_nothing_else():
    model = FakeWorldModel(stochastic=True, horizon=11)
    base = imagine(model, START, ACTIONS, Window(episode=3, start=5), PROTOCOL)
    others = [
        imagine(model, START, ACTIONS, Window(episode=3, start=6), PROTOCOL),
        imagine(model, START, ACTIONS, Window(episode=5, start=3), PROTOCOL),
        imagine(model, START, ACTIONS, Window(episode=3, start=5), dataclasses.replace(PROTOCOL, seed=1)),
    ]
    assert all(not torch.equal(base, other) for other in others)
    torch.randn(3)  # the global generator plays no part
    assert torch.equal(base, imagine(model, START, ACTIONS, Window(episode=3, start=5), PROTOCOL))


def test_a_sample_is_the_same_whatever_other_samples_there_are():
    model, window = FakeWorldModel(stochastic=True, horizon=11), Window(episode=3, start=5)
    five = imagine(model, START, ACTIONS, window, PROTOCOL)
    two = imagine(model, START, ACTIONS, window, dataclasses.replace(PROTOCOL, samples=2))
    assert torch.equal(two, five[:2])


def test_a_deterministic_model_is_rolled_out_once():
    model = FakeWorldModel(horizon=7)
    futures = imagine(model, START, ACTIONS, Window(episode=0, start=0), PROTOCOL)
    assert futures.shape == (1, 3, *START.shape)
    assert model.calls == [(7,), (7,), (3,)]


def test_oracle_feeds_its_own_tokens_back():
    truth = torch.randn((4, 5, 3), generator=torch.Generator().manual_seed(1))
    assert torch.allclose(oracle(PerfectRLA(), truth), truth[1:][None], atol=1e-6)

    class Half(PerfectRLA):
        def decode(self, tokens_t, z):
            return tokens_t + z / 2

    expected = truth[0] + (truth[1:] - truth[:1]) / 2
    assert torch.allclose(oracle(Half(), truth), expected[None], atol=1e-6)


def test_persistence_copies_the_start():
    truth = torch.randn((4, 5, 3), generator=torch.Generator().manual_seed(1))
    assert torch.equal(persistence(truth), truth[:1].expand(3, 5, 3)[None])


def test_episodes_without_actions_or_too_short_are_left_out(partly_actionless_dataset):
    dataset = LeRobotDataset(partly_actionless_dataset)  # 19, 23 (no actions), 29, 31 (no actions) frames
    assert usable_lengths(dataset, range(4), Protocol(steps=18)) == {0: 19, 2: 29}
    assert usable_lengths(dataset, range(4), Protocol(steps=19)) == {2: 29}
    with pytest.raises(ForeactError, match=r"none of the 4 held-out episodes.*the longest of them 29 frames.*30 steps"):
        usable_lengths(dataset, range(4), Protocol())


def test_actions_that_are_not_finite_are_refused(tiny_dataset, monkeypatch):
    dataset = LeRobotDataset(tiny_dataset)
    actions = dataset.actions(1).copy()
    actions[4, 0] = np.inf
    monkeypatch.setattr(dataset, "column", lambda key, episode: actions)
    with pytest.raises(ForeactError, match="episode 1, row 4: action target_x is inf"):
        usable_lengths(dataset, [1], Protocol(steps=9))


def test_models_that_do_not_fit_are_refused(tiny_dataset):
    dataset, model = LeRobotDataset(tiny_dataset), FakeWorldModel(horizon=5)
    with pytest.raises(ForeactError, match="chunks of at most 5 actions, not 7"):
        check_model("mine", model, dataset, PROTOCOL)
    model.config.action_dim = 3
    with pytest.raises(ForeactError, match=r"mine was trained with actions of 3 dimensions.* has 2"):
        check_model("mine", model, dataset, PROTOCOL)


def test_moving_windows_follow_the_object_where_it_is_known(tiny_dataset):
    dataset = LeRobotDataset(tiny_dataset)
    windows = select_windows({e.index: e.length for e in dataset.episodes}, PROTOCOL)
    moving, rule = moving_windows(dataset, windows, PROTOCOL, find_poses(dataset), np.zeros(len(windows)))
    expected = []
    for window in windows:
        path = dataset.column("observation.environment_state", window.episode)[window.start : window.start + 18, :2]
        expected.append(np.linalg.norm(path - path[0], axis=1).max() > 5)
    assert moving.tolist() == expected
    assert "5 pixels" in rule


def test_moving_windows_follow_the_tokens_where_nothing_is_known(tiny_dataset):
    windows = tuple(Window(episode=0, start=i) for i in range(4))
    moving, rule = moving_windows(LeRobotDataset(tiny_dataset), windows, PROTOCOL, (), np.array([0.1, 0.4, 0.2, 0.3]))
    assert moving.tolist() == [False, True, False, True]
    assert "median" in rule
