"""PPO: arithmetic by hand, a twin in NumPy, what is trained and what is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from foreact.core.errors import DivergedError, ForeactError
from foreact.encoders.pixels import PixelEncoder
from foreact.imagination import networks
from foreact.imagination.acting import collect, log_prob_of
from foreact.imagination.chunked import ChunkVectorEnv, Outcome, box_of
from foreact.imagination.losses import advantages_of, explained_variance, policy_loss
from foreact.imagination.networks import ActorCritic, merged
from foreact.imagination.ppo import PPOConfig, learn
from foreact.imagination.run import bound_of
from foreact.policies.acting import NetworkPolicy
from foreact.policies.bc import BCConfig, Camera
from foreact.policies.residual import Residual, on_top_of
from foreact.policies.sight import Extras
from foreact.policies.wam import WAMConfig
from foreact.recordings.recording import TOKENS

TOP = "observation.images.top"
SPEC = PixelEncoder(16).spec
SHAPE = (SPEC.count, SPEC.channels)
CLONED = BCConfig(
    cameras=(Camera(name=TOP, height=32, width=32),),
    image_size=32,
    action=("x", "y"),
    state=(),
    fps=10.0,
    chunk=5,
    execute=3,
    channels=4,
    dim=16,
    head="pooled",
    hidden=(24, 16),
    extras=Extras(tokens=SPEC),
)
SMALL = PPOConfig(rollouts=4, envs=16, steps=4, minibatch=32, epochs=2, learning_rate=3e-3, rank=0)


def cloned(config=CLONED):
    torch.manual_seed(0)
    return config.build().eval()


def agent_of(rank=0, config=CLONED):
    model = on_top_of(cloned(config), (0.1, 0.2))
    torch.manual_seed(1)
    return ActorCritic(model, rank=rank, alpha=16)


class Paid(ChunkVectorEnv):
    """Tokens say how many steps are left; the reward is one, or the mean action."""

    def __init__(self, count, *, horizon=4, kind="truncated", constant=True):
        import gymnasium.spaces as spaces

        super().__init__(
            count, spaces.Dict({TOP + TOKENS: box_of(SHAPE, pictures=False)}), -np.ones(2), np.ones(2), chunk=3
        )
        self._horizon, self._kind, self._constant = horizon, kind, constant
        self.left = np.full(count, horizon)

    def begin(self, row, seed, episode):
        self.left[row] = self._horizon

    def advance(self, actions):
        self.left = self.left - 1
        over, none = self.left == 0, np.zeros(self.num_envs, bool)
        reward = np.ones(self.num_envs) if self._constant else actions.mean(axis=(1, 2))
        ends = (over, none) if self._kind == "terminated" else (none, over)
        return Outcome(reward=reward, terminated=ends[0], truncated=ends[1])

    def look(self, rows):
        return {TOP + TOKENS: np.tile(self.left[rows, None, None].astype(np.float16), (1, *SHAPE))}

    def now(self):
        return {}

    def go_to(self, now):
        pass


def twin(rewards, values, next_values, terminated, ended, gamma, lam):
    """Advantages as sums, environment by environment."""
    T, n = rewards.shape
    found = np.zeros((T, n))
    for i in range(n):
        for t in range(T):
            weight = 1.0
            for k in range(t, T):
                future = 0.0 if terminated[k, i] else next_values[k, i]
                found[t, i] += weight * (rewards[k, i] + gamma * future - values[k, i])
                if ended[k, i]:
                    break
                weight *= gamma * lam
    return found


@pytest.mark.parametrize(("kind", "worth"), [("truncated", 10.0), ("terminated", 3.439)])
def test_a_reward_of_one_is_worth_what_it_is_worth(kind, worth):
    """Horizon 4, gamma 0.9: what was cut off by time goes on for ever, 10; what the task ended is 1 + .9 + .81 + .729."""
    rewards, ended = torch.ones(4, 1), torch.tensor([[False], [False], [False], [True]])
    terminated = ended if kind == "terminated" else torch.zeros_like(ended)
    future = torch.full((4, 1), 10.0)
    value = torch.zeros(4, 1)
    told = advantages_of(rewards, value, torch.where(ended, future, value), terminated, ended, gamma=0.9, lam=1.0)
    assert float(told[0]) == pytest.approx(worth)


@pytest.mark.parametrize(("kind", "worth"), [("truncated", 10.0), ("terminated", 3.439)])
def test_a_whole_episode_is_worth_the_same_through_the_environment(kind, worth):
    """With a value of 10 everywhere, which is where the value of what is cut off by time stays."""
    env, agent = Paid(8, kind=kind), agent_of()
    env.reset(seed=0)
    torch.nn.init.constant_(agent.value[-1].bias, 10.0)
    r = collect(env, agent, 4, torch.Generator())
    found = advantages_of(r.rewards, r.values, r.next_values, r.terminated, r.ended, gamma=0.9, lam=1.0) + r.values
    np.testing.assert_allclose(found[0], worth, rtol=1e-5)


def test_advantages_are_those_of_the_twin():
    rng = np.random.default_rng(0)
    rewards, values, following = rng.normal(size=(3, 7, 5))
    ended = rng.random((7, 5)) < 0.4
    terminated = ended & (rng.random((7, 5)) < 0.5)
    found = advantages_of(*map(torch.from_numpy, (rewards, values, following, terminated, ended)), gamma=0.9, lam=0.95)
    np.testing.assert_allclose(found, twin(rewards, values, following, terminated, ended, 0.9, 0.95), atol=1e-12)


def test_a_rollout_takes_the_value_of_what_came_before_the_reset():
    env, agent = Paid(6), agent_of()
    env.reset(seed=0)
    torch.nn.init.normal_(agent.value[-1].weight)
    rollout = collect(env, agent, 8, torch.Generator().manual_seed(0))
    with torch.no_grad():
        worth = [float(agent({TOP: torch.full((1, *SHAPE), float(left)).half()}, None)[2]) for left in range(5)]
    assert rollout.ended.sum() == 12
    np.testing.assert_allclose(rollout.next_values[3], worth[0], atol=1e-5)
    np.testing.assert_allclose(rollout.values[4], worth[4], atol=1e-5)
    np.testing.assert_allclose(rollout.next_values[0], worth[3], atol=1e-5)
    assert rollout.told == {"episodes": 12.0, "return": 4.0}
    tokens, actions, numbers = 48 * SPEC.count * SPEC.channels * 2, 48 * 3 * 2 * 4, 48 * 4 * 4 + 48 * 2
    assert rollout.nbytes == tokens + actions + numbers


def test_the_loss_by_hand():
    now, before, gain = torch.tensor([0.1, -0.5, 0.5]), torch.zeros(3), torch.tensor([1.0, -1.0, 3.0])
    told = policy_loss(now, before, gain, clip=0.2)
    normal = ((gain - gain.mean()) / gain.std()).numpy()
    ratio = np.exp(now.numpy())
    expected = -np.minimum(ratio * normal, np.clip(ratio, 0.8, 1.2) * normal).mean()
    assert float(told["policy_loss"]) == pytest.approx(expected, rel=1e-6)
    assert float(told["clipped"]) == pytest.approx(2 / 3)
    assert float(told["kl"]) == pytest.approx((ratio - 1 - now.numpy()).mean(), rel=1e-5)
    assert explained_variance(gain, gain) == 1
    assert explained_variance(torch.zeros(3), gain) == 0
    assert explained_variance(gain, torch.ones(3)) == 0


@pytest.mark.parametrize(
    "config",
    [
        CLONED,
        replace(CLONED, head="queries", dim=16, heads=2, depth=1, queries=2, extras=Extras(tokens=SPEC)),
        replace(CLONED, extras=Extras()),
        WAMConfig(**vars(CLONED), latent=(2, 3), learner="rla"),
    ],
    ids=["tokens", "queries", "pictures", "wam"],
)
def test_it_begins_as_the_cloned_policy_and_is_saved_without_peft(config, tmp_path):
    pytest.importorskip("peft")
    first, agent = cloned(config), agent_of(rank=2, config=config)
    rng = np.random.default_rng(0)
    seen = {TOP: rng.integers(256, size=(3, 32, 32, 3), dtype=np.uint8)}
    if config.extras.tokens:
        seen = {TOP + TOKENS: rng.normal(size=(3, *SHAPE)).astype(np.float16)}
    given = agent.see(seen)
    with torch.no_grad():
        torch.testing.assert_close(agent.policy(*given), first(*given))
        mean, std, value = agent(*given)
    torch.testing.assert_close(std, (0.1 * np.log(2) * torch.tensor([1.0, 2.0])).expand(3, 3, 2))
    assert (mean.shape, value.shape) == ((3, 3, 2), (3,))
    trained = {n for n, p in agent.named_parameters() if p.requires_grad}
    assert all("lora_" in n or ".residual." in n or n.startswith("value.") for n in trained)
    wrapped = {n for n, m in first.named_modules() if isinstance(m, torch.nn.Linear | torch.nn.Conv2d)}
    wrapped -= {"latent_head"}
    assert {n.split(".lora_A")[0].removeprefix("policy.") for n in trained if "lora_A" in n} == wrapped
    for parameter in agent.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.05)
    merged(agent.policy).save_pretrained(tmp_path)
    again = Residual.from_pretrained(tmp_path)
    with torch.no_grad():
        moved = agent.policy(*given)
        torch.testing.assert_close(again(*given), moved, atol=1e-5, rtol=1e-5)
        assert not torch.allclose(moved, first(*given), atol=1e-3)
    assert NetworkPolicy(again).act(seen).shape == (3, 5, 2)


def test_what_is_not_executed_is_the_cloned_policys_and_the_change_is_bounded():
    first, agent = cloned(), agent_of()
    torch.nn.init.normal_(agent.policy.residual[-1].weight, std=100.0)
    given = agent.see({TOP + TOKENS: np.random.default_rng(0).normal(size=(50, *SHAPE)).astype(np.float16)})
    with torch.no_grad():
        change = agent.policy(*given) - first(*given)
    assert torch.equal(change[:, 3:], torch.zeros(50, 2, 2))
    np.testing.assert_allclose(change[:, :3].abs().amax(dim=(0, 1)), [0.1, 0.2], rtol=1e-3)


def test_no_gradient_of_the_value_reaches_the_policy():
    pytest.importorskip("peft")
    agent = agent_of(rank=2)
    given = agent.see({TOP + TOKENS: np.ones((2, *SHAPE), np.float16)})
    agent(*given)[2].sum().backward()
    assert all(p.grad is None for n, p in agent.named_parameters() if not n.startswith("value."))


def test_it_learns_what_is_paid_for():
    env, agent = Paid(32, constant=False), agent_of()
    env.reset(seed=0)
    config = replace(SMALL, envs=32, minibatch=64, epochs=4, target_kl=0.5)
    optimizer = torch.optim.AdamW([p for p in agent.parameters() if p.requires_grad], lr=1e-2)
    generator, first = torch.Generator().manual_seed(0), None
    for _ in range(15):
        rollout = collect(env, agent, 4, generator)
        first = float(rollout.rewards.mean()) if first is None else first
        told = learn(agent, optimizer, rollout, config, generator)
    assert float(rollout.rewards.mean()) > first + 0.08  # of at most 0.15, the mean of both bounds
    assert told["kl"] >= 0


def test_updates_end_before_the_policy_moves_too_far():
    env, agent = Paid(16, constant=False), agent_of()
    env.reset(seed=0)
    optimizer = torch.optim.SGD(agent.parameters(), lr=50.0)
    generator = torch.Generator().manual_seed(0)
    rollout = collect(env, agent, 4, generator)
    before = log_prob_of(rollout.actions.flatten(0, 1), *agent(rollout.pictures, None)[:2])
    torch.testing.assert_close(before, rollout.log_probs.flatten(), atol=1e-4, rtol=1e-4)
    told = learn(agent, optimizer, rollout, replace(SMALL, grad_clip=1e9), generator)
    assert 1 <= told["updates"] < SMALL.updates
    assert told["kl"] > SMALL.target_kl / 8


def test_a_loss_that_is_no_number_ends_it():
    env, agent = Paid(16, constant=False), agent_of()
    env.reset(seed=0)
    rollout = collect(env, agent, 4, torch.Generator())
    with pytest.raises(DivergedError, match="the loss is nan"):
        learn(agent, torch.optim.SGD(agent.parameters(), lr=1.0), replace(rollout, rewards=rollout.rewards * torch.nan), SMALL,
              torch.Generator())  # fmt: skip


def test_a_bound_in_the_recordings_unit_goes_through_the_limits():
    first = cloned()
    first.action_limits.fit(torch.tensor([0.0, -1.0]), torch.tensor([4.0, 1.0]))
    assert bound_of(replace(SMALL, bound_unit="recorded"), first) == pytest.approx((0.05, 0.1))
    assert bound_of(SMALL, first) == (0.1, 0.1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"minibatch": 30}, "--minibatch 30 does not divide the 64 chunks"),
        ({"rollouts": 0}, "at least 1"),
        ({"bound": 0.0}, "positive"),
        ({"gamma": 1.0}, "--gamma"),
        ({"rank": -1}, "--rank"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change, said):
    with pytest.raises(ForeactError, match=said):
        replace(SMALL, **change).check()


def test_without_peft_it_is_said(monkeypatch):
    monkeypatch.setattr(networks, "find_spec", lambda name: None)
    with pytest.raises(ForeactError, match=r"pip install 'foreact\[rl\]', or .* --rank 0"):
        agent_of(rank=2)


def test_what_was_trained_by_ppo_is_not_begun_with():
    with pytest.raises(ForeactError, match="trained by reinforcement already"):
        on_top_of(on_top_of(cloned(), (0.1, 0.1)), (0.1, 0.1))
