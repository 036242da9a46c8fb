"""The report read by people: a sentence that says what came out, a line per number, a keyboard, a screen reader, paper."""

from __future__ import annotations

import dataclasses
import itertools
import re
from html.parser import HTMLParser

import pytest
from report_fakes import pairs, report_results, rows

from foreact.evaluation.figures import about, label
from foreact.evaluation.metrics import METRICS, describe
from foreact.evaluation.report import render_report
from foreact.evaluation.results import Results
from foreact.evaluation.summary import verdict


class Outline(HTMLParser):
    """What a screen reader goes by: elements with their attributes, and the words in each."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[str] = []
        self.captioned: list[bool] = []
        self.words: dict[str, list[str]] = {}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.inside.append(tag)
        if tag == "table":
            self.captioned.append(False)
        elif tag == "caption":
            self.captioned[-1] = True

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data):
        if self.inside and data.strip():
            self.words.setdefault(self.inside[-1], []).append(data.strip())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def text() -> str:
    return render_report(report_results())


@pytest.fixture(scope="module")
def page(text) -> Outline:
    return Outline(text)


def test_a_screen_reader_finds_its_way(page):
    assert page.all("html") == [{"lang": "en"}]
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels)), levels
    assert len(page.all("main")) == 1
    named = {a["id"] for _, a in page.elements if "id" in a}
    for section in page.all("section"):
        assert section.get("aria-label") or section["aria-labelledby"] in named
    ids = [a["id"] for tag, a in page.elements if "id" in a and tag in ("h2", "h3")]
    assert len(ids) == len(set(ids))


def test_tables_have_captions_and_their_heads_a_scope(page):
    assert len(page.captioned) > 4
    assert all(page.captioned)
    assert all(head.get("scope") in ("row", "col", "colgroup") for head in page.all("th"))


def test_pictures_are_said_in_words(page):
    said = [picture["alt"] for picture in page.all("img")]
    assert "RLA-WM #2, frame 24 of episode 7" in said
    assert all(said)
    drawings = page.all("svg")
    assert len(drawings) == 3
    assert all(drawing["role"] == "img" for drawing in drawings)
    assert any("token L1, lower is better: RLA-WM 0.6000 after 20 steps" in d["aria-label"] for d in drawings)


def test_a_keyboard_reaches_what_scrolls_and_skips_to_the_numbers(text, page):
    regions = [a for tag, a in page.elements if tag == "div" and a.get("class") == "scroll"]
    assert len(regions) == len(page.captioned)
    assert all(a["tabindex"] == "0" and a["role"] == "region" and a["aria-label"] for a in regions)
    (skip,) = page.all("a")
    assert f'id="{skip["href"][1:]}"' in text
    assert ":focus-visible" in text


def test_it_prints_light_whole_tables_with_their_heads(text):
    (rules,) = re.findall(r"@media print \{(.*?)\n\}", text, re.DOTALL)
    for rule in ("--paper: #fff", "table-header-group", "break-inside: avoid", "overflow: visible"):
        assert rule in rules, rule


def test_every_number_and_every_row_has_its_line(page):
    results = report_results()
    explained = " ".join(page.words["dd"])
    for metric in results.metrics():
        assert describe(metric).label in page.words["dt"]
        assert describe(metric).about in explained
    for name in results.names():
        assert label(name) in page.words["dt"]
        assert about(name) in explained or "A world model" in explained
    assert page.words["small"].count("lower is better") == 2
    assert page.words["small"].count("higher is better") == 1


@pytest.mark.parametrize("name", [*METRICS, "block_error_px", "arm_error_deg_best_of_k", "hand_error_mm", "x_error"])
def test_a_metric_says_what_it_is(name):
    metric = describe(name)
    assert metric.about.endswith(".")
    assert metric.about[0].isupper()
    assert metric.direction in ("lower is better", "higher is better", "1 is best")
    if name.endswith(("_px", "_deg", "_mm", "_l1")):
        assert metric.unit


@pytest.mark.parametrize("name", ["persistence", "oracle", "true_tokens", "dino_wm_dressed"])
def test_rows_that_are_no_models_say_what_they_are(name):
    assert len(about(name)) > 60
    assert about(name) != about("my_model")


@pytest.mark.parametrize(
    ("signs", "said"),
    [
        ((1, 1), "After 20 steps, RLA-WM and DINO-WM are nearer to the truth than a copy of the first frame; RLA-WM is the nearest (by token L1)."),
        ((1, 0), "After 20 steps, RLA-WM is nearer to the truth than a copy of the first frame; DINO-WM cannot be told from a copy of the first frame; RLA-WM is the nearest (by token L1)."),
        ((0, -1), "After 20 steps, RLA-WM cannot be told from a copy of the first frame; DINO-WM is farther from the truth than a copy of the first frame; which of the models is the nearest is undecided (by token L1)."),
    ],
)  # fmt: skip
def test_the_first_sentence_is_what_the_intervals_say(signs, said):
    def turned(pair):
        sign = dict(zip(("rla_wm", "dino_wm"), signs, strict=True))[pair["model"]]
        if pair["reference"] != "persistence" or sign == 1:
            return pair
        low, high = (-0.1, 0.1) if sign == 0 else (-pair.high, -pair.low)
        return dataclasses.replace(pair, mean=pair.mean * sign, low=low, high=high)

    results = report_results()
    results = dataclasses.replace(results, paired=tuple(map(turned, results.paired)))
    assert verdict(results) == said
    assert said in render_report(results)


def test_without_intervals_nothing_is_claimed():
    bare = [dataclasses.replace(p, low=None, high=None) for p in pairs("moving", sure=True)]
    results = dataclasses.replace(report_results(), rows=tuple(rows("moving")), paired=tuple(bare))
    assert verdict(results).startswith("After 20 steps, RLA-WM and DINO-WM cannot be told from a copy")
    assert verdict(Results(split_hash="x", seeds=(0,), rows=())) == ""
