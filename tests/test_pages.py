"""README.md and docs/ hold: links and anchors, commands and code, sizes, and that no number stands there that was typed."""

from __future__ import annotations

import dataclasses
import itertools
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from foreign import install

from foreact import __version__
from foreact.cli import main
from foreact.commands.parsing import parse
from foreact.commands.train import APART
from foreact.core.registry import card, trainable
from foreact.dreams.imagination import load
from foreact.encoders.tiny import TinyEncoderConfig
from foreact.evaluation.figures import about, label
from foreact.evaluation.metrics import METRICS

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
CODE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", CODE.sub("", page.read_text()), re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        found.add(next(name for k in range(99) if (name := f"{slug}-{k}" if k else slug) not in found))
    return found


def links(page: Path) -> Iterator[str]:
    yield from re.findall(r"!?\[[^]]*\]\(([^) ]+)\)", CODE.sub("", page.read_text()))


def commands(page: Path) -> Iterator[str]:
    for block in blocks(page, "sh"):
        lines = (line.split("#")[0].strip() for line in block.replace("\\\n", " ").splitlines())
        yield from (line for line in lines if line.startswith("foreact "))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            assert link.startswith("https://"), link
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {link}: {sorted(anchors(target))}"


def test_a_link_to_nowhere_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A `b`: c-d (e_f)\n\n[here](#a-b-c-d-e_f) and [there](none.md)\n\n## Twice\n\n## Twice\n")
    assert anchors(page) == {"a-b-c-d-e_f", "twice", "twice-1"}
    assert list(links(page)) == ["#a-b-c-d-e_f", "none.md"]
    with pytest.raises(AssertionError, match=r"none\.md"):
        test_links_lead_somewhere(page)


def test_every_page_is_reached_from_the_readme():
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in seen:
            seen.add(page)
            near = ((page.parent / link.partition("#")[0]).resolve() for link in links(page) if ":" not in link)
            waiting += [found for found in near if found.suffix == ".md"]
    assert set(PAGES) <= seen


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pictures_have_words_and_pages_one_title(page):
    text = CODE.sub("", page.read_text())
    assert all(words.strip() for words in re.findall(r"!\[([^]]*)\]", text))
    levels = [len(marks) for marks in re.findall(r"^(#+) ", text, re.MULTILINE)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_the_readme_is_one_page():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 100


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_is_understood(page, monkeypatch):
    own = {"token-mlp": "dino-wm"} if page.name == "add_a_model.md" else {}
    for command in commands(page):
        words = shlex.split(command)[1:]
        words = [own.get(word, word) for word in words if "--width" not in words or word not in ("--width", "64")]
        assert callable(parse(words)), command


def test_the_pages_show_commands():
    assert sum(len(list(commands(page))) for page in PAGES) >= 19


def test_readme_lists_every_model_with_its_file_and_command():
    rows = [line for line in (ROOT / "README.md").read_text().splitlines() if "`foreact train " in line]
    named = {name for row in rows for name in re.findall(r"`foreact train ([a-z-]+)`", row)}
    assert named == {*(kind.replace("_", "-") for kind in trainable()), *APART} - {"encoder"}
    files = [file for row in rows for file in re.findall(r"`(\w+/\w+\.py)`", row)]
    assert len(files) == len(named)
    assert all((ROOT / "src/foreact" / file).is_file() for file in files)


def test_nothing_measured_is_typed(monkeypatch):
    """What stands between the marks is what `pages.py` writes there, wherever the marks are; the rest has no measured number."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import filled_parts
    import pages

    files = pages.load()
    readme = (ROOT / "README.md").read_text()
    assert {m["name"] for m in filled_parts.PARTS.finditer(readme)} == {"found", "hardware"}
    emptied = filled_parts.PARTS.sub(lambda m: m["begin"] + m["end"], readme)
    assert filled_parts.filled(emptied, files) == readme
    typed = re.sub(r"```.*?```", "", emptied, flags=re.DOTALL)
    assert not re.findall(r"\d+(?:\.\d+)? ?(?:ms|s|min|minutes|hours|MiB|GiB|px)\b|\d\.\d{3,}(?!\d)(?!\))", typed.replace("2605.07079", "").replace("2606.15768", ""))  # fmt: skip
    (demo,) = [line for line in readme.splitlines() if line.startswith("| `make demo`")]
    minutes = sum(files["demo"]["taken"].values()) / 60
    assert f" {minutes:.1f} min | " in demo


def test_each_sentence_of_what_was_found_follows_the_results(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import filled_parts
    import pages

    files = pages.load()
    before = filled_parts.found(files)
    turned = {"holds": "does not hold", "does not hold": "holds", "undecided": "undecided"}
    for name in ("coin_world", "arena_maniskill", "cheaper_maniskill"):
        study = files[name]
        verdicts = tuple(dataclasses.replace(v, verdict=turned[v.verdict]) for v in study.verdicts)
        files[name] = dataclasses.replace(study, verdicts=verdicts)
    after = filled_parts.found(files)
    assert len(before) == 4
    assert before[0] == after[0]
    assert all(old != new for old, new in zip(before[1:], after[1:], strict=True))
    assert after[1].startswith("2. RLA-WM imagines better than DINO-WM, as the paper claims")


def test_concepts_explain_every_number_and_row_of_a_report():
    text = (ROOT / "docs/concepts.md").read_text()
    of_studies = {
        "success_rate",
        "energy_score",
        "energy_score_local",
        "driven_error",
        "random_sharpness",
        "random_hit",
    }
    for name in METRICS.keys() - of_studies:
        assert f"| {METRICS[name].label} | {METRICS[name].about} |" in text, name
    for name in ("persistence", "oracle", "true_tokens", "dino_wm_dressed"):
        assert f"| {label(name)} | {about(name)} |" in text
    for word in ("window", "chunk", "n.", "95 % interval", "paired", "split", "seed", "parameters", "flops", "ms", "batch", "k is"):  # fmt: skip
        assert word in text.lower(), word


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_speak_plainly(page):
    """Words of the house that a stranger cannot know."""
    text = page.read_text()
    if page.name != "CHANGELOG.md":
        assert not re.search(r"\bdress(?:ed|ing)\b|\bproduct rate\b|true tokens drawn", text, re.IGNORECASE)


def test_changelog_and_citation_are_of_this_version():
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert re.findall(r"^## (\S+)", changes, re.MULTILINE)[:2] == ["Unreleased", __version__]
    kinds = set(re.findall(r"^### (.*)", changes, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    import yaml

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert (citation["cff-version"], str(citation["version"]), citation["license"]) == (
        "1.2.0",
        __version__,
        "Apache-2.0",
    )
    papers = {reference["url"].rpartition("/")[2] for reference in citation["references"]}
    assert papers == {"2605.07079", "2606.15768"}
    assert all({"type", "title", "authors"} <= reference.keys() for reference in citation["references"])


@pytest.mark.usefixtures("small_scale")
def test_the_model_of_the_page_goes_from_training_to_the_report(make_dataset, tmp_path, monkeypatch):
    page = ROOT / "docs/add_a_model.md"
    (source,) = blocks(page, "python")
    (project,) = blocks(page, "toml")
    points = dict(re.findall(r'^(\w+) = "(\w+:\w+)"', project, re.MULTILINE))
    assert points == {"token_mlp": "foreact_token_mlp:CARD"}
    monkeypatch.syspath_prepend(install(tmp_path / "site", points, {"foreact_token_mlp": source}, name="token-mlp"))
    monkeypatch.chdir(tmp_path)
    data = make_dataset(lengths=(33, 34, 35))

    run = [command for command in commands(page) if "benchmark" not in command]
    assert [command.split()[1] for command in run] == ["train", "evaluate", "report"]
    TinyEncoderConfig(stem=(4, 4, 4), dim=8, depth=1, heads=2).build().save_pretrained("encoder")
    few = {
        "train": "--steps 3 --batch-size 4 --precision no --encoder encoder --image-size 32 --cache cache",
        "evaluate": "--starts 1 --samples 2 --cache cache",
        "report": "",
    }
    for command in run:
        words = shlex.split(command.replace("data/mine", str(data)))[1:]
        main([*words, *few[words[0]].split()])
    assert load("runs/mine/token-mlp").world_model.config.width == 64
    report = (tmp_path / "runs/mine/report.html").read_text()
    assert "Token MLP" in report
    assert "After 30 steps" in report
    assert card("token-mlp").check("page").label == "Token MLP"
    assert "foreact_token_mlp" in sys.modules
