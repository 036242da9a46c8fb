"""What drives an arm frame by frame: a plan that was made before, or a script that sees what comes of its commands."""

from __future__ import annotations

from collections.abc import Generator

from foreact.envs.maniskill.contract import Array, Script, Simulator, Snapshot

Driver = Generator[Array, Snapshot, None]
"""Gives an action for each frame and is sent what came of it."""


def follow(plan: Array) -> Driver:
    """The planned actions (T, A), whatever happens."""
    for action in plan:  # noqa: UP028, the iterator of an array takes nothing sent to it
        yield action


def obey(simulator: Simulator, script: Script) -> Driver:
    """Joint targets for the commands of a script."""
    command = next(script)
    while True:
        seen = yield simulator.reach(command)
        try:
            command = script.send(seen)
        except StopIteration:
            return
