"""Which solvers there are: a new one is its file and one line here."""

from __future__ import annotations

import dataclasses
from importlib import import_module
from typing import Any

from foreact.core.errors import ForeactError
from foreact.planning.solver import Solver

SOLVERS = {
    "cem": "foreact.planning.cem:CEM",
    "mppi": "foreact.planning.mppi:MPPI",
    "gradient": "foreact.planning.gradient:Gradient",
    "shooting": "foreact.planning.shooting:Shooting",
}
"""Name -> where its class is."""


def make_solver(name: str, **options: Any) -> Solver:
    """A solver by its name.

    Raises:
        ForeactError: an unknown name, or an option that it does not have or cannot take.
    """
    if name not in SOLVERS:
        raise ForeactError(f"unknown solver {name!r}: choose one of {', '.join(SOLVERS)}")
    module, _, kind = SOLVERS[name].partition(":")
    made: type[Solver] = getattr(import_module(module), kind)
    known = {field.name: field for field in dataclasses.fields(made)}
    for option, value in options.items():
        if option not in known:
            raise ForeactError(f"{option} means nothing for {name}; its options: {', '.join(known)}")
        whole = str(known[option].type).startswith("int")
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
            raise ForeactError(f"{name}'s {option} must be a {'whole ' if whole else ''}number, not {value!r}")
    return made(**options)
