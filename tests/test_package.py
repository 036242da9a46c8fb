"""The house rules that a reader relies on: light imports, one-way arrows, small documented pieces, pinned versions."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import foreact

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "foreact"
MODULES = sorted(SOURCE.rglob("*.py"))
TOOLS = sorted((ROOT / "tools").rglob("*.py"))
MODEL_ROOMS = ("nn", "decoders", "latent_actions", "world_models")

ROOMS = (
    ("core",),
    ("nn", "data"),
    ("encoders",),
    ("recordings",),
    ("decoders", "latent_actions"),
    ("world_models",),
    ("dreams",),
    ("policies", "planning", "envs"),
    ("training",),
    ("imagination", "evaluation"),
    ("serving", "studies"),
    ("fitting",),
    ("commands",),
)
"""From the ground up: a module imports from its own room and from floors below. CONTRIBUTING.md shows this list."""
FLOOR_OF = {room: floor for floor, rooms in enumerate(ROOMS) for room in rooms}


IMPORT_ALL = """
import importlib, sys
import matplotlib

for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:  # an extra, or a simulator that has an environment of its own
        if (error.name or "").startswith("foreact"):
            raise
sys.exit(f"the backend is {matplotlib.get_backend()}" if matplotlib.get_backend() != "svg" else 0)
"""


def room_of(module: str) -> str:
    """`foreact.data.video` -> data; what stands in no room starts the command line, and belongs to it."""
    name = module.partition(".")[2].partition(".")[0]
    return name if (SOURCE / name).is_dir() and name else "commands"


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and full name of everything imported, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def local(path: Path) -> str:
    return str(path.relative_to(ROOT))


HEAVY = (
    "torch",
    "numpy",
    "transformers",
    "accelerate",
    "pyarrow",
    "av",
    "PIL",
    "matplotlib",
    "jinja2",
    "gymnasium",
    "scipy",
)


def test_import_and_help_are_light():
    """Light is what imports little: with the command line's own libraries some 350 modules, half of them Python's."""
    script = f"""
import sys
from foreact.cli import main
try:
    main(["--help"])
finally:
    print(len(sys.modules), *(name for name in {HEAVY} if name in sys.modules), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "collect" in done.stdout
    count, *heavy = done.stderr.split()
    assert not heavy
    assert int(count) < 500


def test_importing_everything_leaves_matplotlibs_backend_alone():
    """A notebook keeps drawing as its user chose."""
    names = [module_name(path) for path in MODULES if path.name != "__main__.py"]
    ended = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *names], env={**os.environ, "MPLBACKEND": "svg"}, check=False
    )
    assert ended.returncode == 0


def test_version_is_the_packages():
    assert foreact.__version__ == importlib.metadata.version("foreact")


def test_arrows_point_one_way():
    assert {path.name for path in SOURCE.iterdir() if (path / "__init__.py").exists()} <= FLOOR_OF.keys()
    wrong = []
    for path in MODULES:
        own = room_of(module_name(path))
        if path == SOURCE / "__init__.py":  # offers what the rooms made, when asked
            continue
        for line, name in imports_of(ast.parse(path.read_text())):
            other = room_of(name) if name.startswith("foreact.") else own
            if other != own and FLOOR_OF[other] >= FLOOR_OF[own]:
                wrong.append(f"{local(path)}:{line}: {own} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_contributing_shows_the_order_of_the_rooms():
    shown = " <- ".join(", ".join(rooms) for rooms in ROOMS)
    assert shown in " ".join((ROOT / "CONTRIBUTING.md").read_text().split())


def test_the_library_needs_no_tools():
    """Nor scripts of benchmarks/: neither is installed."""
    assert TOOLS
    wrong = [
        f"{local(path)}:{line}: imports {name}"
        for path in MODULES
        for line, name in imports_of(ast.parse(path.read_text()))
        if name.partition(".")[0] in ("tools", "benchmarks")
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("rooms", "forbidden"),
    [
        (("data",), ("torch.nn", "torch.optim", "transformers", "accelerate")),
        (MODEL_ROOMS, ("os", "pathlib", "logging", "torch.optim", "accelerate", "pyarrow", "av")),
    ],
)
def test_rooms_know_only_their_trade(rooms, forbidden):
    """Data knows no network; a model knows no file, device, logger or optimiser."""
    wrong = [
        f"{local(path)}:{line}: imports {name}"
        for path in MODULES
        if room_of(module_name(path)) in rooms
        for line, name in imports_of(ast.parse(path.read_text()))
        if any(f"{name}.".startswith(f"{word}.") for word in forbidden)
    ]
    assert not wrong, "\n".join(wrong)


def test_public_names_have_docstrings():
    bare = []
    for path in [*MODULES, *TOOLS]:
        tree = ast.parse(path.read_text())
        if path.name != "__init__.py" and not ast.get_docstring(tree):
            bare.append(local(path))
        for node in tree.body:
            if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or node.name.startswith("_"):
                continue
            members = node.body if isinstance(node, ast.ClassDef) else []
            methods = [m for m in members if isinstance(m, ast.FunctionDef) and not m.name.startswith("_")]
            named = [node, *(m for m in methods if m.name != "forward")]
            bare += [f"{local(path)}:{n.lineno}: {n.name}" for n in named if not ast.get_docstring(n)]
    assert not bare, "\n".join(bare)


def test_pieces_are_small():
    large = []
    for path in [*MODULES, *TOOLS]:
        text = path.read_text()
        if len(text.splitlines()) > 300:
            large.append(f"{local(path)} has {len(text.splitlines())} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                length = (node.end_lineno or 0) - node.lineno + 1
                if length > 60:
                    large.append(f"{local(path)}:{node.lineno}: {node.name} has {length} lines")
    assert not large, "\n".join(large)


def text_files(folder: Path = ROOT) -> Iterator[Path]:
    """Files of the repository that a person may read; no virtual environment, cache or result."""
    for path in sorted(folder.iterdir()):
        hidden = path.is_dir() and path.name.startswith(".") and path.name != ".ci"
        made = path.name in {"runs", "build", "dist", "__pycache__"} or path.suffix == ".egg-info"
        if path.is_symlink() or hidden or made or (path / "pyvenv.cfg").exists():
            continue
        if path.is_dir():
            yield from text_files(path)
        elif path.suffix in {
            "",
            ".py",
            ".md",
            ".toml",
            ".txt",
            ".html",
            ".css",
            ".js",
            ".json",
            ".jsonl",
            ".yml",
            ".sh",
        }:
            yield path


def test_nothing_names_one_machine_or_a_registry():
    own = re.compile(
        r"(?<![\w.])/(ro{2}t|hom[e]|Us[e]rs|wor[k]|op[t]|mn[t])/\w|\.pyen[v]|pyp[i]\.org|pythonhoste[d]|pytorch\.or[g]/whl"
    )
    found = [
        f"{local(path)}:{number}: {line.strip()[:120]}"
        for path in text_files()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if own.search(line)
    ]
    assert not found, "\n".join(found)


def test_every_dependency_is_pinned():
    pins = [line for line in (ROOT / "requirements" / "constraints.txt").read_text().splitlines() if line[0] != "#"]
    assert pins[0] == "torch==2.13.0"
    assert all(re.fullmatch(r'[a-z0-9-]+==[\w.]+( ; python_version (<|>=) "3\.\d+")?', pin) for pin in pins)
    pinned = {pin.partition("==")[0] for pin in pins}
    asked = [line for line in importlib.metadata.requires("foreact") or [] if "lpips" not in line]
    asked += [line for line in (ROOT / "requirements" / "pusht.txt").read_text().splitlines() if line[0] != "#"]
    names = {re.split(r"[^\w-]", line)[0].lower().replace("_", "-") for line in asked}
    assert len(names) > 15
    assert names <= pinned
