"""What commands have in common: the options of recordings and of trainings, and help that says no more than it must."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from tyro.conf import arg

from foreact.core.arguments import OutFolder


@dataclass(frozen=True, kw_only=True)
class RecordingOptions:
    """Which recordings are learnt from.

    Attributes:
        camera: which camera; the first by default.
        episodes: only these, such as 0:50,60: for the first fifty and all from the sixtieth on; all by default.
        skip_defective: leave out the episodes in which `foreact inspect` finds something broken, and say which.
        skip_missing: leave out the episodes whose videos are not there, and say which.
        cache: folder of token caches; $FOREACT_CACHE or the user's cache folder by default.
    """

    camera: str | None = None
    episodes: str | None = None
    skip_defective: bool = False
    skip_missing: bool = False
    cache: OutFolder | None = None

    def recordings(self, data: Sequence[str]) -> dict[str, Any]:
        """The fields of a `TrainRequest` that say what is learnt from."""
        return {"data": tuple(data), **{f.name: getattr(self, f.name) for f in dataclasses.fields(RecordingOptions)}}


def quiet(command: type) -> type:
    """The same command for help and parsing, which `plain` turns back.

    Options that must be given come first, and of others without a telling default no "(default: None)" is shown.
    """
    hints = get_type_hints(command, include_extras=True)
    fields = sorted(dataclasses.fields(command), key=lambda f: f.default is not dataclasses.MISSING)
    shown = {
        "__annotations__": {f.name: _quiet_hint(hints[f.name], f.default) for f in fields},
        "__dataclass_fields__": {f.name: f for f in fields},
        "__doc__": command.__doc__,
        "_plain": command,
    }
    return type(command.__name__, (command,), shown)


def plain(parsed: Any) -> Any:
    """What a `quiet` command has parsed, as an instance of the command itself."""
    if not hasattr(parsed, "_plain"):
        return parsed
    return parsed._plain(**{name: plain(value) for name, value in vars(parsed).items()})


def _quiet_hint(hint: Any, default: Any) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return quiet(hint)
    if get_origin(hint) in (Union, types.UnionType):
        members = [_quiet_hint(member, dataclasses.MISSING) for member in get_args(hint)]
        hint = Union[tuple(members)]  # noqa: UP007
    elif get_origin(hint) is Annotated and dataclasses.is_dataclass(get_args(hint)[0]):
        return Annotated[(quiet(get_args(hint)[0]), *get_args(hint)[1:])]
    silent = any(default is value for value in (None, False, True, ()))
    return Annotated[hint, arg(help_behavior_hint="")] if silent else hint
