"""Another package, installed as pip would leave it: modules on the path, and a `.dist-info` with entry points."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def install(
    folder: Path,
    points: Mapping[str, str],
    modules: Mapping[str, str],
    *,
    name: str = "foreign",
    group: str = "foreact.models",
) -> Path:
    """Write a package into `folder`, which the caller puts on the path.

    Args:
        folder: of the path.
        points: entry points of the group, name -> module:attribute.
        modules: name -> source.
        name: of the distribution.
        group: of the entry points.
    """
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *(f"{k} = {v}" for k, v in points.items())]))
    for module, source in modules.items():
        (folder / f"{module}.py").write_text(source)
    return folder
