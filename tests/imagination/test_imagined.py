"""The imagination as an environment: Gymnasium's rules, seeds, ends of episodes, safeguards, nothing of the future."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from foreact.core.errors import ForeactError
from foreact.dreams.dream import Dream
from foreact.imagination import ImaginedVectorEnv
from foreact.imagination.imagined import Safeguards
from foreact.imagination.rewards.video_aligned import VideoAligned
from tests.imagination.worlds import CHUNK, Oracle, dream_of, open_demonstrations, recorded_actions

TOP = "observation.images.top"


@pytest.fixture(scope="module")
def shown(tiny_dataset, tmp_path_factory):
    return open_demonstrations(tiny_dataset, tmp_path_factory.mktemp("cache"))


def make(shown, count=3, *, dream=None, reward=None, **options):
    return ImaginedVectorEnv(dream or dream_of(shown), shown, reward or VideoAligned(shown), num_envs=count, **options)


def actions_of(env, seed=0):
    return np.random.default_rng(seed).uniform(0, 500, env.action_space.shape)


def play(env, steps, seed):
    """Observations, rewards and ends of some steps with actions that each row has by itself."""
    env.reset(seed=seed)
    told = []
    for k in range(steps):
        chunk = np.stack([actions_of(env, seed=1000 * s + k)[0] for s in seed])
        seen, reward, _, truncated, _ = env.step(chunk)
        told.append((*(v.astype(np.float64) for v in seen.values()), reward, truncated))
    return told


class Alone(gymnasium.Env):
    """One environment of a vector, for Gymnasium's checker."""

    def __init__(self, env):
        self._env, self.metadata, self.render_mode = env, {"render_modes": []}, None
        self.observation_space, self.action_space = env.single_observation_space, env.single_action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        seen, infos = self._env.reset(seed=seed, options=options)
        return {name: values[0] for name, values in seen.items()}, infos

    def step(self, action):
        seen, reward, terminated, truncated, infos = self._env.step(action[None])
        return {n: v[0] for n, v in seen.items()}, float(reward[0]), bool(terminated[0]), bool(truncated[0]), infos


@pytest.mark.parametrize("look_at", ["tokens", "pictures"])
def test_it_is_what_gymnasium_asks_for(shown, look_at):
    env = make(shown, look_at=look_at, picture=(24, 32) if look_at == "pictures" else None)
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert env.action_space.shape == (3, CHUNK, 2)
    seen, _ = env.reset(seed=1)
    assert env.observation_space.contains(seen)
    seen, reward, terminated, truncated, infos = env.step(env.action_space.sample())
    assert env.observation_space.contains(seen)
    assert reward.shape == terminated.shape == truncated.shape == (3,)
    assert (reward.dtype, terminated.dtype) == (np.float64, bool)
    assert all(f"_{name}" in infos for name in infos if not name.startswith("_"))
    check_env(Alone(make(shown, 1, look_at=look_at)), skip_render_check=True)


def test_an_environment_is_the_same_alone_and_among_112(shown):
    seeds = list(range(50, 162))
    many = play(make(shown, 112), 8, seeds)
    for row in (0, 60, 111):
        alone = play(make(shown, 1), 8, [seeds[row]])
        for mine, all_ in zip(alone, many, strict=True):
            np.testing.assert_allclose(mine[0][0], all_[0][row], atol=1e-2)  # in the steps of float16
            np.testing.assert_allclose(mine[1][0], all_[1][row], atol=1e-5)
            assert mine[2][0] == all_[2][row]


def test_noise_is_that_of_the_row_to_the_bit(shown, monkeypatch):
    drawn = []
    own = Dream.noise
    monkeypatch.setattr(Dream, "noise", lambda dream, state: drawn.append(own(dream, state)) or drawn[-1])
    play(make(shown, 5), 7, [3, 9, 4, 8, 7])
    play(make(shown, 1), 7, [4])
    for many, alone in zip(drawn[:7], drawn[7:], strict=True):
        assert torch.equal(many[2], alone[0])
    assert len(torch.cat([noise[2:3] for noise in drawn[:7]]).unique(dim=0)) == 7


def test_episodes_begin_where_they_should_and_end_with_the_demonstration_or_after_six_chunks(shown):
    env = make(shown, 400)
    env.reset(seed=0)
    assert 0.4 < (env.frame == 0).mean() < 0.6
    late = env.frame > 0
    assert (env.frame <= shown.last[env.which] - CHUNK).all()
    assert (env.frame[late] > shown.last[env.which][late] - CHUNK - 6).any()  # frames near the end, too
    begun, last = env.frame.copy(), shown.last[env.which].copy()
    steps = np.zeros(400)
    for k in range(6):
        _, _, terminated, truncated, infos = env.step(actions_of(env, k))
        assert not terminated.any()
        first = (steps == 0) & truncated
        steps[first] = k + 1
        assert set(np.flatnonzero(infos.get("_final_obs", []))) == set(np.flatnonzero(truncated))
    expected = np.minimum(6, np.ceil((last - begun) / CHUNK))
    np.testing.assert_array_equal(steps, expected)


def test_the_last_observation_of_an_episode_is_kept_and_the_next_one_has_begun(shown):
    env = make(shown, 2, max_chunks=1, from_start=1.0)
    env.reset(seed=0)
    seen, _, _, truncated, infos = env.step(actions_of(env))
    assert truncated.all()
    name = next(iter(seen))
    true = shown.tokens(env.which, np.zeros(2, int)).half().numpy()
    np.testing.assert_array_equal(seen[name], true)
    assert not np.array_equal(infos["final_obs"][name], true)
    assert infos["return"].shape == (2,)


def test_the_true_future_is_rewarded_with_nothing_to_improve(shown):
    env = make(shown, 6, dream=Dream(Oracle(shown)))
    env.reset(seed=5)
    for _ in range(3):
        _, reward, *_ = env.step(recorded_actions(shown, env.which, env.frame))
        np.testing.assert_allclose(reward, 0, atol=1e-6)


def test_no_later_action_and_no_later_frame_reaches_an_observation(shown):
    class Changed:
        """The same demonstrations with other frames after the first two chunks."""

        def __init__(self, shown):
            self.__dict__.update(vars(shown))
            self._true = shown

        def __len__(self):
            return len(self._true)

        def __getattr__(self, name):
            return getattr(self._true, name)

        def tokens(self, which, frames):
            return self._true.tokens(which, frames) + torch.from_numpy(frames > 2 * CHUNK)[:, None, None].float()

    def observe(shown, chunks):
        env = make(shown, 2, from_start=1.0, near=0.1)
        seen = [env.reset(seed=3)[0]]
        rewards = []
        for chunk in chunks:
            told = env.step(chunk)
            seen.append(told[0])
            rewards.append(told[1])
        return [next(iter(s.values())) for s in seen], rewards

    env = make(shown, 2)
    chunks = [actions_of(env, k) for k in range(4)]
    seen, rewards = observe(shown, chunks)
    other, others = observe(Changed(shown), chunks)
    assert all(map(np.array_equal, seen, other))
    assert np.array_equal(rewards[1], others[1])
    assert not np.array_equal(rewards[2], others[2])
    later, _ = observe(shown, [*chunks[:3], chunks[3] + 1])
    assert all(map(np.array_equal, seen[:4], later[:4]))
    assert not np.array_equal(seen[4], later[4])


def test_it_goes_on_to_the_bit_from_its_state(shown):
    env, again = make(shown, 5, look_at="pictures"), make(shown, 5, look_at="pictures")
    env.reset(seed=1)
    for k in range(5):
        env.step(actions_of(env, k))
    state = env.state()
    again.seed_rows(1)
    again.restore(state)
    np.testing.assert_array_equal(env.seen[TOP], again.seen[TOP])
    for k in range(5, 12):
        mine, theirs = env.step(actions_of(env, k)), again.step(actions_of(env, k))
        for a, b in zip(mine[1:4], theirs[1:4], strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(mine[0][TOP], theirs[0][TOP])
        np.testing.assert_array_equal(mine[4]["return"], theirs[4]["return"])


def test_what_the_model_is_unsure_of_is_stopped_or_costs(shown):
    plain = make(shown, 4, from_start=1.0)
    both = [dream_of(shown, luck=0.0), dream_of(shown, luck=0.0, gain=0.02)]
    rewards = {}
    for name, options in {
        "samples": {"safeguards": Safeguards(samples=4, spread_penalty=2.0)},
        "stopped": {"safeguards": Safeguards(samples=4, stop_spread=1e-3)},
        "ensemble": {"dream": both, "safeguards": Safeguards(spread_penalty=1.0)},
        "sure": {"dream": dream_of(shown, luck=0.0), "safeguards": Safeguards(samples=2, stop_spread=1e-3)},
    }.items():
        env = make(shown, 4, from_start=1.0, **options)
        env.reset(seed=2)
        _, rewards[name], _, truncated, infos = env.step(actions_of(env))
        assert (infos["spread"] > 0.01).all() == (name != "sure")
        assert truncated.all() == infos["unsure"].all() == (name == "stopped")
        if name == "samples":
            plain.reset(seed=2)
            np.testing.assert_allclose(rewards[name], plain.step(actions_of(env))[1] - 2 * infos["spread"], atol=1e-6)


def test_late_frames_can_have_short_episodes(shown):
    env = make(shown, 50, safeguards=Safeguards(late_chunks=1))
    env.reset(seed=0)
    late = env.frame > 0
    truncated = env.step(actions_of(env))[3]
    assert truncated[late].all()
    assert not truncated[~late].any()


def test_memory_is_that_of_the_tokens(shown):
    env = make(shown, 112)
    spec = shown.recordings.tokens
    assert env.tokens.nbytes == 112 * spec.count * spec.channels * 4
    source = shown.recordings.sources[0]
    assert isinstance(source.cache._tokens, np.memmap)
    held = [v for v in vars(env).values() if isinstance(v, np.ndarray)]
    assert sum(v.nbytes for v in held) < 112 * 8 * 10


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dream": {"horizon": 3}}, "a chunk has 4 actions, the world model imagines 3 at a time"),
        ({"dream": {"action_dim": 5}}, "actions of 2 numbers, the world model takes 5"),
        ({"count": 0}, "at least one environment"),
        ({"max_chunks": 0}, "at least one chunk"),
        ({"from_start": 1.5}, "probability"),
        ({"safeguards": Safeguards(stop_spread=0.1)}, "one future has no spread"),
        ({"safeguards": Safeguards(samples=0)}, "are positive"),
        ({"reward": lambda step: np.full(3, np.nan)}, "the reward is nan for frame"),
        ({"reward": lambda step: 1.0}, r"the shape \(\) for 3 environments"),
    ],
    ids=lambda value: None if isinstance(value, dict) else "",
)
def test_bad_input_is_one_error(shown, options, said):
    options = dict(options)
    dream = dream_of(shown, **options.pop("dream", {}))
    with pytest.raises(ForeactError, match=said):
        env = make(shown, dream=dream, **options)
        env.reset(seed=0)
        env.step(actions_of(env))


def test_bad_steps_are_one_error(shown):
    env = make(shown)
    with pytest.raises(ForeactError, match="call reset before step"):
        env.step(actions_of(env))
    with pytest.raises(ForeactError, match="3 environments need as many seeds, not 2"):
        env.reset(seed=[1, 2])
    env.reset(seed=0)
    with pytest.raises(ForeactError, match=r"actions must be \(3, 4, 2\) here, not \(4, 2\)"):
        env.step(actions_of(env)[0])
    with pytest.raises(ForeactError, match="NaN or infinite"):
        env.step(np.full(env.action_space.shape, np.nan))


def test_demonstrations_must_be_longer_than_a_chunk(tiny_dataset, tmp_path, shown):
    with pytest.raises(ForeactError, match="the longest demonstration has 53 frames, a chunk of 60 actions needs 61"):
        open_demonstrations(tiny_dataset, tmp_path, chunk=60)
    long = open_demonstrations(tiny_dataset, tmp_path, chunk=45)
    assert 0 < len(long) == len(shown) - long.left_out < len(shown)
    assert (long.last >= 45).all()
