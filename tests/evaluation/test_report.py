from __future__ import annotations

import dataclasses
import io
import json
import re
from html.parser import HTMLParser

import pytest
from PIL import Image
from report_fakes import MODELS, pairs, report_results, rows
from rich.console import Console

from foreact.core.errors import ForeactError
from foreact.evaluation.figures import colour, drift_curve, label, write_picture
from foreact.evaluation.report import quantity, render_report, summary_table, write_report
from foreact.evaluation.results import Results
from foreact.evaluation.rows import PairedDifference, Row
from foreact.evaluation.summary import details, winner


@pytest.fixture
def results() -> Results:
    return report_results()


class Page(HTMLParser):
    """Tags are balanced, and nothing is fetched."""

    VOID = ("meta", "img", "br", "link", "input", "hr")

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.sources += [value for name, value in attributes if name in ("src", "href", "xlink:href") and value]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        self.sources += [value for name, value in attributes if name in ("src", "href", "xlink:href") and value]

    def handle_data(self, data):
        self.text += data


def test_the_page_is_whole_and_fetches_nothing(results):
    text = render_report(results)
    page = Page(text)
    assert page.open == []
    assert page.sources
    assert all(source.startswith(("data:image/", "#")) for source in page.sources)
    assert not re.search(r"url\((?!#)|@import|<script", text)


def test_a_browser_is_told_to_fetch_nothing_and_run_nothing(results):
    """Styles in the page and pictures in the file itself are all that it needs."""
    text = render_report(results)
    policy = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', text).group(1)
    allowed = dict(part.split(maxsplit=1) for part in policy.split("; "))
    assert allowed["default-src"] == allowed["base-uri"] == allowed["form-action"] == "'none'"
    assert (allowed["img-src"], allowed["style-src"]) == ("data:", "'unsafe-inline'")
    assert len(allowed) == 5
    assert text.index("Content-Security-Policy") < text.index("<title>")
    assert not re.search(
        r"<(link|script|iframe|object|embed|form|base|video|audio|source)\b|\son[a-z]+=|@font-face", text
    )


@pytest.mark.parametrize("picture", ["https://example.com/x.png", "file:///etc/passwd", "javascript:alert(1)", "//x/y"])
def test_pictures_from_elsewhere_are_refused(results, picture, tmp_path):
    results.save(tmp_path / "results.json")
    data = json.loads((tmp_path / "results.json").read_text())
    data["strips"][0]["rows"][0]["images"][0] = picture
    (tmp_path / "results.json").write_text(json.dumps(data))
    with pytest.raises(ForeactError, match="only data: is shown"):
        Results.load(tmp_path / "results.json")


def test_the_page_says_what_is_in_the_results(results):
    text = Page(render_report(results)).text
    for said in (
        "Imagined futures: push & pull",
        "push <script>alert(1)</script>",
        "abcdef",
        "empty: no weights here",
        "1.23 M parameters",
        "preset tiny",
        "12.3 ms",
        "A claim",
        "RLA-WM #2",
        "+20",
        "it moves",
        "2 M",
    ):
        assert said in text, said


def test_winners_are_bold_only_beyond_doubt(results):
    assert winner(results, "token_l1", 2, "moving") == "rla_wm"
    assert winner(results, "token_l1_skill", 2, "moving") == "rla_wm"
    assert winner(results, "token_l1", 2, "all") is None
    assert winner(results, "block_error_px", 2, "moving") is None  # no paired interval
    text = render_report(results)
    assert "<b>0.6000</b>" in text
    assert "<b>6.00</b>" not in text
    assert "<b>0.2000</b>" not in text  # the oracle does not compete


def test_the_verdict_tells_better_from_not_told_apart(results):
    moving = details(results)
    assert moving[0] == "RLA-WM's token error is 40% below persistence's (skill −0.10 to 0.90)."
    assert moving[-1] == "RLA-WM against DINO-WM: token L1 better by 0.2000 [0.1000 to 0.4000]."
    only_all = dataclasses.replace(
        results, rows=tuple(rows("all")), paired=tuple(p for p in results.paired if p["subset"] == "all")
    )
    assert "token L1 not told apart (−0.2000 [−0.4000 to 0.1000])" in details(only_all)[-1]


def test_samplers_are_held_against_regression_with_resampled_residuals(results):
    keys, rest = {"chunk": 2, "subset": "moving"}, {"metric": "token_energy_score", "n": 5}
    compared = {"model": "rla_wm", "reference": "dino_wm_dressed", **keys}
    pair = PairedDifference(keys=compared, mean=0.2, low=0.1, high=0.4, **rest)
    dressed = dataclasses.replace(
        results,
        models={"rla_wm": {"stochastic": True}, "dino_wm": {"stochastic": False}},
        rows=(*results.rows, Row(keys={"model": "dino_wm_dressed", **keys}, mean=0.3, low=0.2, high=0.4, **rest)),
        paired=(*results.paired, pair),
    )
    told = "RLA-WM against DINO-WM + resampled residuals: energy score (tokens) worse by 0.2000 [0.1000 to 0.4000]."
    assert details(dressed) == [*details(results), told]
    assert "DINO-WM + resampled residuals" in render_report(dressed)


def test_a_worse_model_is_called_worse(results):
    turned = [dataclasses.replace(p, mean=-p.mean, low=-p.high, high=-p.low) for p in pairs("moving", sure=True)]
    assert (
        "token L1 worse by 0.2000 [0.1000 to 0.4000]" in details(dataclasses.replace(results, paired=tuple(turned)))[-1]
    )


def test_bare_results_make_a_page_too():
    page = Page(render_report(Results(split_hash="x", seeds=(0,), rows=())))
    assert page.open == []
    assert page.sources == []


def test_sums_count_all_flow_steps_once(results):
    text = Page(render_report(results)).text
    row = re.sub(r"\s+", " ", text[text.index("sum of a chunk") :])
    assert row.startswith("sum of a chunk 1.5 k 2 M 1 k 2 M") or row.startswith("sum of a chunk1.5 k2 M1 k2 M")


def test_the_file_is_written_or_refused(results, tmp_path):
    write_report(results, tmp_path / "deep" / "report.html")
    assert (tmp_path / "deep" / "report.html").read_text().startswith("<!DOCTYPE html>")
    blocked = tmp_path / "folder"
    blocked.mkdir()
    with pytest.raises(ForeactError, match="cannot write"):
        write_report(results, blocked)


def test_the_terminal_table_has_models_numbers_and_intervals(results):
    console = Console(file=io.StringIO(), width=140)
    console.print(summary_table(results))
    text = console.file.getvalue()
    for said in ("After 20 steps", "5 held-out episodes", "RLA-WM", "oracle", "0.6000", "0.5500 to 0.6500", "skill"):
        assert said in text, said


def test_drift_curves_draw_every_model_in_its_colour_and_the_pages_ink(results):
    drawing = drift_curve(results, "token_l1", subset="moving")
    assert drawing.startswith("<svg")
    assert all(colour(model, MODELS) in drawing for model in MODELS)
    assert "currentColor" in drawing
    assert "#010203" not in drawing
    assert drawing == drift_curve(results, "token_l1", subset="moving")


def test_a_picture_for_a_readme(results, tmp_path):
    write_picture(results, tmp_path / "picture.png")
    width, height = Image.open(tmp_path / "picture.png").size
    assert width > height > 100
    write_picture(results, tmp_path / "again.png")
    assert (tmp_path / "picture.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    with pytest.raises(ForeactError, match="no film strips"):
        write_picture(dataclasses.replace(results, strips=()), tmp_path / "none.png")


def test_names_and_colours():
    assert label("dino_wm_dressed") == "DINO-WM + resampled residuals"
    assert (label("rla_wm #3"), label("my_model")) == ("RLA-WM #3", "my model")
    names = ("a", "rla_wm", "b")
    assert len({colour(name, names) for name in names}) == 3


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (999, "999"), (1234, "1.23 k"), (3.5e12, "3.5 T"), (2_000_000, "2 M")]
)
def test_quantities(value, text):
    assert quantity(value) == text
