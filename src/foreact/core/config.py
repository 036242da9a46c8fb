"""Configs: plain frozen dataclasses that become JSON and come back strictly."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from foreact.core.errors import ForeactError

if TYPE_CHECKING:
    from foreact.core.pretrained import PretrainedModel

T = TypeVar("T")
_LARGEST = 1 << 24


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig(ABC):
    """Base of all model configs: plain, frozen, JSON-serialisable data that can build its model.

    Attributes:
        kind: name in the registry.
        added: fields that checkpoints of earlier versions lack; they were built with the defaults.
    """

    kind: ClassVar[str]
    added: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def build(self) -> PretrainedModel:
        """Make the model with fresh weights, on the default device."""

    def to_dict(self) -> dict[str, Any]:
        """The config as JSON-serialisable data."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls: type[T], data: Any, *, where: str = "config") -> T:
        """Inverse of `to_dict`, strict: unknown or ill-typed keys, and missing ones unless `added`, raise `ForeactError` naming `where`."""
        made, data = cls.upgrade(dict(data)) if isinstance(data, dict) else (cls, data)  # type: ignore[attr-defined]
        config = decode(made, data, where)
        _require_sizes(dataclasses.asdict(config), where)
        return config

    @classmethod
    def upgrade(cls, data: dict[str, Any]) -> tuple[type[ModelConfig], dict[str, Any]]:
        """The class and the data of a config that an earlier version wrote; `added` fields need no upgrade."""
        return cls, data

    @classmethod
    def upgrade_run(cls, about: dict[str, Any]) -> dict[str, Any]:
        """What an earlier version's checkpoint says of its run (`training.task.Task.about`), as this one would say it."""
        return about


def _require_sizes(value: Any, where: str) -> None:
    """Whole numbers in configs are sizes and counts."""
    if isinstance(value, dict | list | tuple):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            _require_sizes(part, f"{where}: {key}")
    elif isinstance(value, int) and not 0 <= value <= _LARGEST:
        raise ForeactError(f"{where} is {value}, which is no size: it must be between 0 and {_LARGEST}")


def decode(annotation: Any, value: Any, where: str) -> Any:
    """Turn JSON data into `annotation` (dataclasses, tuples, optionals, scalars), strictly."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
        return _decode_dataclass(annotation, value, where)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            if type(None) in args:
                return None
            raise ForeactError(f"{where} must not be null")
        return decode(next(a for a in args if a is not type(None)), value, where)
    if origin is typing.Literal:
        if value not in args:
            raise ForeactError(f"{where} is {value!r}, not one of {list(args)}")
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ForeactError(f"{where} must be a list")
        items = args[:1] * len(value) if len(args) == 2 and args[1] is Ellipsis else args
        if len(items) != len(value):
            raise ForeactError(f"{where} must have {len(items)} entries, not {len(value)}")
        return tuple(decode(a, v, f"{where}[{i}]") for i, (a, v) in enumerate(zip(items, value, strict=True)))
    if annotation is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if annotation is float and isinstance(value, float) and not math.isfinite(value):
        raise ForeactError(f"{where} is not finite")
    if isinstance(annotation, type) and (
        not isinstance(value, annotation) or (annotation is int and isinstance(value, bool))
    ):
        raise ForeactError(f"{where} must be {annotation.__name__}, not {value!r}")
    return value


def _decode_dataclass(cls: type[T], value: Any, where: str) -> T:
    if not isinstance(value, dict):
        raise ForeactError(f"{where} must be an object for {cls.__name__}")
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    names = fields.keys()
    value = {name: fields[name].default for name in getattr(cls, "added", ())} | value
    if value.keys() != names:
        raise ForeactError(
            f"{where} does not fit {cls.__name__}: missing keys {sorted(names - value.keys())}, unknown keys {sorted(value.keys() - names)}"
        )
    return cls(**{name: decode(hints[name], value[name], f"{where}: {name}") for name in names})
