"""An environment of another package: `dot/middle`."""

from __future__ import annotations

import pytest
from foreign import install

from foreact.envs.registry import env_cards


@pytest.fixture
def foreign_envs(tmp_path, monkeypatch):
    """Installs entry points of `foreact.envs`: name -> module:attribute."""

    def add(**points):
        monkeypatch.syspath_prepend(install(tmp_path / "site", points, {}, group="foreact.envs"))
        env_cards.cache_clear()

    yield add
    env_cards.cache_clear()


@pytest.fixture
def dot(foreign_envs):
    foreign_envs(dot="dot_world:CARD")
