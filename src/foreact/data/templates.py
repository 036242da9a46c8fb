"""Names of a dataset's files out of the templates of its `meta/info.json`, which somebody else wrote."""

from __future__ import annotations

import re
from pathlib import PurePosixPath, PureWindowsPath

from foreact.core.errors import ForeactError

_FIELD = re.compile(r"\{(?P<name>[a-z_]+)(:0?(?P<width>[1-9])d)?\}")


def fill(template: object, where: str, **values: object) -> str:
    """The path that a template names, relative to the dataset; links that lie there may lead anywhere, as those of the Hub's cache do.

    Args:
        template: text with fields such as {video_key} and {episode_index:06d}.
        where: the file that holds it.
        values: of the fields that it may have; those with a width are whole numbers.

    Raises:
        ForeactError: it is no text or has other fields, or the path would lead out of the dataset.
    """

    def value(field: re.Match[str]) -> str:
        name, width = field["name"], field["width"]
        if name not in values or (width and not isinstance(values[name], int)):
            raise ForeactError(f"{where}: {template!r} has the field {field[0]}, which is none of {sorted(values)}")
        return f"{values[name]:0{width}d}" if width else str(values[name])

    path = _FIELD.sub(value, template) if isinstance(template, str) else ""
    if not path or "{" in _FIELD.sub("", str(template)) or "}" in _FIELD.sub("", str(template)):
        raise ForeactError(f"{where}: {template!r} is no name of files; its fields look like {{name}} and {{name:03d}}")
    parts = PurePosixPath(path).parts
    if path[0] in "/\\" or PureWindowsPath(path).drive or ".." in re.split(r"[/\\]", path) or "\0" in path or not parts:
        raise ForeactError(f"{where}: {template!r} names {path!r}, which is not in the dataset")
    return path
