"""Rewards: arithmetic, what they rank above what, own functions, recordings that do not serve."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from foreact.core.errors import ForeactError
from foreact.imagination.rewards.base import Step
from foreact.imagination.rewards.ranking import rank
from foreact.imagination.rewards.registry import REWARDS, make_reward
from tests.imagination.worlds import CHUNK, open_demonstrations, record_squares


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Squares that go to the middle, with failures among them."""
    root = tmp_path_factory.mktemp("told")
    return open_demonstrations(record_squares(root / "data", 24), root / "cache", size=32)


@pytest.fixture(scope="module")
def classifier(told):
    return make_reward("success", told)


def step_of(shown, tokens, frames):
    which = np.arange(len(frames))
    return Step(tokens, np.zeros((len(frames), CHUNK, 2)), which, np.array(frames), shown)


def test_only_successes_are_demonstrations(told):
    source = told.recordings.sources[0]
    failed = [e for e in source.split.train if not source.successes(e).any()]
    assert failed
    assert len(told) == len(source.split.train) - len(failed)
    assert not set(told.names[:, 1]) & set(failed)


def test_the_videos_reward_by_hand(told):
    frames = [2, 10**6]
    near = told.tokens(np.arange(2), np.array(frames))
    aligned, end = (make_reward(name, told) for name in ("video-aligned", "video-end"))
    np.testing.assert_allclose(aligned(step_of(told, near, frames)), 0)
    np.testing.assert_allclose(aligned(step_of(told, near + 0.1, frames)), -0.5, rtol=1e-4)
    last = told.tokens(np.arange(2), told.last[:2])
    expected = -5 * (near - last).abs().mean(dim=(1, 2)).numpy()
    np.testing.assert_allclose(end(step_of(told, near, frames)), expected)
    assert expected[0] < -0.01 < expected[1] == 0


def test_a_picture_of_the_goal_is_encoded_once(told, tmp_path):
    frame = told.recordings.sources[0].dataset.frames(int(told.names[0, 1]))[-1]
    Image.fromarray(frame).save(tmp_path / "goal.png")
    goal = make_reward(f"goal:{tmp_path / 'goal.png'}", told)
    every = np.arange(3)
    found = goal(step_of(told, told.tokens(every, told.last[:3]), [0, 0, 0]))
    assert found[0] == pytest.approx(0, abs=1e-2)
    assert (found[1:] < found[0]).all()


@pytest.mark.parametrize("name", ["video-aligned", "video-end", "success"])
def test_true_successes_are_ranked_above_failures(told, classifier, name):
    found = rank(classifier if name == "success" else make_reward(name, told), told)
    assert found.successes > 0 < found.failures
    assert found.low <= found.mean <= found.high
    assert found.auc > 0.7
    assert f"probability {found.auc:.2f}" in found.told
    worse = rank(lambda step: -make_reward("video-end", told)(step), told)
    assert worse.auc < 0.5


def test_a_classifier_knows_frames_that_it_did_not_learn_from(told, classifier):
    source = told.recordings.held_out.sources[0]
    good, bad = [], []
    for episode in source.split.train:
        tokens = torch.from_numpy(source.cache.tokens(episode).astype(np.float32))
        done = np.concatenate([[False], source.successes(episode)[:-1]])
        found = classifier(Step(tokens, None, np.zeros(len(tokens)), np.zeros(len(tokens)), told))
        good, bad = [*good, *found[done]], [*bad, *found[~done]]
    assert np.mean(good) > np.mean(bad) + 0.2
    assert 0 <= min(bad) <= max(good) <= 1


def test_a_function_of_the_users_own_and_every_name(told):
    own = make_reward("tests.imagination.test_rewards:constant", told)
    assert own.__name__ == "constant"
    assert "without recorded successes" not in rank(own, told).told
    assert rank(own, told).auc == 0.5
    assert set(REWARDS) == {"video-aligned", "video-end", "goal", "success"}


def constant(step):
    return np.ones(len(step.which))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("success", "has no column next.success"),
        ("tests.imagination.test_rewards:missing", "cannot be imported"),
        ("nowhere:at_all", "the reward 'nowhere:at_all' cannot be imported"),
    ],
)
def test_bad_input_is_one_error(tiny_dataset, tmp_path, name, said):
    with pytest.raises(ForeactError, match=said):
        make_reward(name, open_demonstrations(tiny_dataset, tmp_path))


def test_without_labels_nobody_can_say_what_it_ranks(tiny_dataset, tmp_path):
    shown = open_demonstrations(tiny_dataset, tmp_path)
    found = rank(make_reward("video-aligned", shown), shown)
    assert found.auc is None
    assert "nobody can say" in found.told
