"""docs/papers.md is true: every name that it gives exists, and every equation, table and figure of the papers has its row."""

from __future__ import annotations

import ast
import functools
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from foreact.cli import main

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "foreact"
PAGE = ROOT / "docs" / "papers.md"
NOT_BUILT = "not built yet"

# What the papers' texts number.
TABLES = {"RLA-WM": {"1", "2", "3", "A1", "A2"}, "LaWAM": {"1", "2", "3"}}
FIGURES = {
    "RLA-WM": {*map(str, range(1, 7)), *(f"A{k}" for k in range(1, 11))},
    "LaWAM": {*map(str, range(1, 16))},
}
EQUATIONS = {"RLA-WM": [f"E{k}" for k in range(1, 18)], "LaWAM": [f"Eq. {k}" for k in range(1, 8)]}
CITED = re.compile(r"\b(?:E\d+|Eq\. \d+)\b")


@dataclass(frozen=True)
class PageRow:
    """A row of one of the page's tables: its cells by the words in the table's head."""

    paper: str
    table: str
    cells: dict[str, str]

    @property
    def first(self) -> str:
        return next(iter(self.cells.values()))

    @property
    def places(self) -> list[tuple[str, str]]:
        """(file, dotted name) of everything that the row points at."""
        found = []
        for span in re.findall(r"`([^`]+)`", self.cells["Where"]):
            file, _, names = span.partition(": ")
            found += [(file, name) for name in names.split(", ")]
        return found


def rows() -> list[PageRow]:
    found, paper, table, head = [], "", "", None
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if line.startswith("## "):
            paper = line.removeprefix("## ")
        elif line.startswith("### "):
            table = line.removeprefix("### ")
        if not cells:
            head = None
        elif head is None:
            head = cells
        elif set(line) - set("|-"):
            assert len(cells) == len(head), f"a row of other columns than its table: {line}"
            found.append(PageRow(paper, table, dict(zip(head, cells, strict=True))))
    return found


@functools.cache
def tree(file: str) -> ast.Module:
    return ast.parse((SOURCE / file).read_text())


def defined(body: list[ast.stmt]) -> Iterator[tuple[str, list[ast.stmt]]]:
    """Names that statements define, each with the statements that define its members."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            attributes = [n for n in ast.walk(node) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)]
            of_self = [n.attr for n in attributes if isinstance(n.value, ast.Name) and n.value.id == "self"]
            yield node.name, [*node.body, *ast.parse("\n".join(f"{name} = 0" for name in of_self)).body]
        elif isinstance(node, ast.FunctionDef):
            yield node.name, []
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from ((n.id, []) for target in targets for n in ast.walk(target) if isinstance(n, ast.Name))


def exists(file: str, name: str) -> bool:
    """Whether a file below src/foreact defines a class, function, constant, method, attribute or config field."""
    if not (SOURCE / file).is_file():
        return False
    body = tree(file).body
    for part in name.split("."):
        members = dict(defined(body))
        if part not in members:
            return False
        body = members[part]
    return True


def words_of(path: Path) -> Iterator[str]:
    """Docstrings and comments of a module."""
    text = path.read_text()
    yield from (t.string for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.type == tokenize.COMMENT)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield ast.get_docstring(node) or ""


def test_every_row_points_at_code_or_says_that_there_is_none():
    assert len(rows()) > 100
    for row in rows():
        where = row.cells["Where"]
        span = r"`[a-z_/0-9]+\.py: [A-Za-z_]\w*(\.\w+)?(, [A-Za-z_]\w*(\.\w+)?)*`"
        assert where == NOT_BUILT or re.fullmatch(f"{span}(, {span})*", where), f"{row.paper}, {row.first}: {where}"
        assert where != NOT_BUILT or not row.cells.get("Command"), f"{row.first} is not built, but has a command"


def test_every_name_exists():
    gone = [f"{file}: {name}" for row in rows() for file, name in row.places if not exists(file, name)]
    assert not gone, f"docs/papers.md names what is not there: {sorted(set(gone))}"


def test_names_are_told_from_guesses():
    file = "latent_actions/rla.py"
    for name in ("RLA", "RLA.infer", "ResidualEncoder.queries", "RLAConfig.depth", "require_squares", "CARD"):
        assert exists(file, name), name
    for name in ("RLB", "RLA.guess", "infer", "RLAConfig.RLA", "RLA.infer.z", "ForeactError"):
        assert not exists(file, name), name
    assert not exists("latent_actions/rlb.py", "RLA")


@pytest.mark.parametrize("paper", EQUATIONS)
def test_every_equation_has_its_row(paper):
    assert [row.first for row in rows() if (row.paper, row.table) == (paper, "Equations")] == EQUATIONS[paper]


def test_equations_are_cited_where_the_page_says():
    said = {(row.first, file) for row in rows() if row.table == "Equations" for file, _ in row.places}
    cited = {
        (number, str(path.relative_to(SOURCE)))
        for path in SOURCE.rglob("*.py")
        for words in words_of(path)
        for number in CITED.findall(words)
    }
    assert not said - cited, f"rows whose files do not cite the equation: {sorted(said - cited)}"
    assert not cited - said, f"equations cited in files that their rows do not name: {sorted(cited - said)}"


@pytest.mark.parametrize("paper", TABLES)
def test_every_table_and_figure_has_its_row(paper):
    listed = [row.first for row in rows() if (row.paper, row.table) == (paper, "Tables and figures")]
    assert {found[1] for first in listed if (found := re.match(r"Table (\w+)", first))} == TABLES[paper]
    assert {found[1] for first in listed if (found := re.match(r"Fig\. (\w+)", first))} == FIGURES[paper]
    assert len(listed) == len(set(listed)), "a table or figure has two rows"


def test_commands_exist(capsys):
    commands = {row.cells["Command"] for row in rows() if row.cells.get("Command")}
    assert "`foreact benchmark world-models`" in commands
    for command in sorted(commands):
        assert re.fullmatch(r"`foreact [a-z -]+`", command), command
        with pytest.raises(SystemExit):
            main([*command.strip("`").split()[1:], "--help"])
        assert f"usage: {command.strip('`')} " in capsys.readouterr().out, f"{command} is no command"
