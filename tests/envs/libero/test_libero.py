"""LIBERO by its protocol where it is installed, and what is said where it is not."""

from __future__ import annotations

import sys
from importlib.metadata import distributions

import numpy as np
import pytest

from foreact.core.errors import ForeactError
from foreact.envs.libero import simulator
from foreact.envs.libero.world import CAMERAS, CARD, LIMITS
from foreact.envs.registry import find_env, make_env

INSTALLED = any(d.name == "hf-libero" for d in distributions())
needs_libero = pytest.mark.skipif(not INSTALLED, reason="LIBERO is not installed")


def test_the_suites_are_environments_like_others():
    assert find_env("libero/spatial/3") == (CARD, "spatial/3")
    assert len(CARD.ids) == 40
    with pytest.raises(ForeactError, match="unknown environment 'libero/spatial/10'"):
        find_env("libero/spatial/10")


@pytest.fixture
def bare_libero(tmp_path, monkeypatch):
    """A LIBERO without its assets."""
    package = tmp_path / "libero" / "libero"
    for name in ("", "benchmark", "envs"):
        (package / name).mkdir(parents=True, exist_ok=True)
        (package / name / "__init__.py").write_text("")
    for name in [name for name in sys.modules if name.partition(".")[0] == "libero"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LIBERO_CONFIG_PATH", str(tmp_path))
    monkeypatch.delenv(simulator.ASSETS, raising=False)
    simulator.libero.cache_clear()
    yield tmp_path
    simulator.libero.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "libero"]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.skipif(INSTALLED, reason="LIBERO is installed")
def test_without_libero_its_installation_is_named():
    with pytest.raises(ForeactError, match=r"LIBERO needs libero: pip install -c requirements/libero.txt"):
        make_env("libero/spatial/0")


def test_without_assets_their_download_is_named(bare_libero):
    with pytest.raises(ForeactError, match=r"assets are not in .*get_assets_path\(\).*LIBERO_ASSETS"):
        simulator.libero()


def test_another_mujoco_is_warned_of(bare_libero, monkeypatch):
    (bare_libero / "assets" / "scenes").mkdir(parents=True)
    monkeypatch.setenv(simulator.ASSETS, str(bare_libero / "assets"))
    monkeypatch.setattr(simulator, "version", lambda _: "3.8.1")
    with pytest.warns(UserWarning, match=r"measured with MuJoCo 3.3.2; this is 3.8.1"):
        simulator.libero()


@needs_libero
def test_an_episode_follows_the_protocol_and_its_seed():
    env = make_env("libero/object/0", image_size=64)
    assert env.max_steps == LIMITS["object"]
    first, again = env.reset(seed=3)[0], None
    env.reset(seed=4)
    assert np.abs(env.world.seen["robot0_eef_pos"] - first["observation.state"][:3]).max() < 0.05
    again = env.reset(seed=3)[0]
    for name in (*CAMERAS, "observation.state"):
        np.testing.assert_array_equal(first[name], again[name])
        assert first[name].std() > 0
    assert first["observation.state"].shape == (8,)
    before = env.world.state()
    env.advance(np.array([0.0, 0.0, -1.0, 0.0, 0.0, 0.0, -1.0]))
    assert env.world.state()[2] < before[2]
    env.close()


@needs_libero
def test_the_expert_does_the_task():
    env = make_env("libero/object/0", image_size=64)
    policy = CARD.policies["expert"](env.world)
    env.reset(seed=0)
    policy.reset([0])
    done = False
    for _ in range(env.max_steps):
        _, done, cut, _ = env.advance(policy.act({})[0])
        if done or cut:
            break
    assert done
    with pytest.raises(ForeactError, match="knows the suites object and spatial, not goal"):
        CARD.policies["expert"](type("Goal", (), {"suite": "goal"})())
    env.close()
