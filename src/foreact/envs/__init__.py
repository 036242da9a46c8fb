"""Simulators as environments. Importing this tells Gymnasium of them, as `gymnasium.make("foreact.envs:foreact/pusht-v0")` does."""

from foreact.envs.registry import register

register()
