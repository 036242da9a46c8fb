"""Functions of the user's own, by name: `module:function`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from foreact.core.errors import ForeactError


def import_function(name: str, *, what: str) -> Any:
    """The function that `module:function` names; `what` it is for is said in errors.

    Raises:
        ForeactError: it cannot be imported.
    """
    module, _, function = name.partition(":")
    try:
        return getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ForeactError(f"the {what} {name!r} cannot be imported: {error}") from error
