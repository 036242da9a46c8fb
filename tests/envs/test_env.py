"""What every environment promises, by whomever it was written."""

from __future__ import annotations

import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from dot_world import CARD as DOT
from gymnasium.utils.env_checker import check_env
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foreact.cli import main
from foreact.core.errors import ForeactError
from foreact.envs.registry import env_cards, make_env

INSTALLED = [ids[0] for card in env_cards().values() if card.versions() for ids in [card.ids]]


@pytest.mark.parametrize("env_id", [*INSTALLED, "dot/middle"])
def test_gymnasium_finds_nothing_wrong(env_id, dot):
    env = make_env(env_id, image_size=16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_env(env, skip_render_check=True)
    env.close()


@pytest.mark.parametrize("env_id", INSTALLED)
def test_the_list_says_what_the_world_has(env_id):
    card, env = env_cards()[env_id.split("/")[0]], make_env(env_id, image_size=16)
    env.reset(seed=0)
    assert (card.fps, card.cameras) == (env.world.spec.fps, tuple(env.world.spec.cameras))
    assert env.world.spec.robot in card.robot
    hidden = {name: len(values) for name, values in env.world.hidden().items()}
    assert hidden == {name: len(names) for name, names in card.hidden.items()}
    env.close()


def rollout(env, seed, steps=6):
    """Everything that an episode of fixed actions gives."""
    rng = np.random.default_rng(seed)
    low, high = env.action_space.low, env.action_space.high
    seen = [env.reset(seed=seed)[0]]
    for _ in range(steps):
        observation, reward, *_, info = env.step(rng.uniform(low, high))
        seen.append({**observation, "reward": reward, **info})
    return seen


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations([0, 1, 2]), beside=st.integers(0, 2))
@pytest.mark.parametrize("env_id", [*INSTALLED, "dot/middle"])
def test_an_episode_depends_on_its_seed_alone(env_id, order, beside, dot):
    """Neither on the episodes before it nor on environments beside it."""
    alone = {seed: rollout(make_env(env_id, image_size=16), seed) for seed in order}
    env, others = make_env(env_id, image_size=16), [make_env(env_id, image_size=16) for _ in range(beside)]
    for seed in order:
        for other in others:
            rollout(other, seed + 1, steps=2)
        for ours, theirs in zip(rollout(env, seed), alone[seed], strict=True):
            assert ours.keys() == theirs.keys()
            for name in ours:
                np.testing.assert_array_equal(ours[name], theirs[name])


def test_an_episode_is_cut_or_done_and_pictures_are_drawn_when_looked_at(dot):
    env = make_env("dot/middle", image_size=16, max_steps=3)
    env.reset(seed=0)
    ends = [env.advance(np.zeros(2))[1:3] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]
    assert env.world.drawn == 1
    env.observe()
    assert env.world.drawn == 2
    while not (done := env.advance((8 - env.world.state()) / 4))[1]:
        pass
    assert done[3]["success"]
    assert not done[2]


@pytest.mark.parametrize(
    ("action", "said"), [([0.0, np.nan], "not finite"), ([0.0], r"shape \(1,\) for 2 numbers: dx, dy")]
)
def test_a_broken_action_is_refused(action, said, dot):
    env = make_env("dot/middle", image_size=16)
    env.reset(seed=0)
    with pytest.raises(ForeactError, match=said):
        env.step(np.array(action))


def test_gymnasium_makes_it_by_its_own_name():
    pytest.importorskip("gym_pusht")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        env = gymnasium.make("foreact.envs:foreact/pusht-v0", image_size=32)
    assert env.reset(seed=1)[0]["observation.images.top"].shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("env_id", "options", "said"),
    [
        ("dot/corner", {}, "choose one of dot/middle"),
        ("dott", {}, "unknown environment 'dott': choose one of .*pusht.*dot/middle"),
        ("dot/middle", {"colour": 1}, "colour means nothing for dot/middle; its options: fps"),
    ],
)
def test_a_wrong_name_says_what_there_is(env_id, options, said, dot):
    with pytest.raises(ForeactError, match=said):
        make_env(env_id, **options)


def test_a_broken_package_is_named_and_the_others_go_on(foreign_envs, capsys):
    foreign_envs(dot="dot_world:CARD", broken="no_such_module:CARD", odd="dot_world:PLACE", dott="dot_world:CARD")
    main(["envs"])
    said = capsys.readouterr().out
    assert "dot/middle" in said
    for name, fault in (("broken", "cannot be imported"), ("odd", "is a str, not an EnvCard"), ("dott", "same")):
        assert any(name in line and fault in line for line in said.splitlines() if line.startswith("left out")), name
        with pytest.raises(ForeactError, match=fault):
            make_env(name)
    make_env("dot/middle", image_size=16)


def test_the_list_tells_how_to_install_what_is_missing(capsys, monkeypatch):
    monkeypatch.setattr("foreact.envs.world.EnvCard.versions", lambda card: None)
    main(["envs"])
    assert "not installed: pip install 'foreact[pusht]'" in capsys.readouterr().out


def test_the_list_imports_no_simulator():
    script = "import sys; from foreact.cli import main; main(['envs']); print([m for m in sys.modules if m in {!r}])"
    heavy = ("gym_pusht", "pymunk", "mani_skill", "sapien", "metaworld", "mujoco", "pygame")
    done = subprocess.run([sys.executable, "-c", script.format(heavy)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert DOT.label not in done.stdout
