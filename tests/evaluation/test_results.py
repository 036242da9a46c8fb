from __future__ import annotations

import dataclasses
import json

import pytest

from foreact.core.errors import ForeactError
from foreact.evaluation.results import Comparison, FilmStrip, Results, Row, StripRow, Timing


def row(**changes) -> Row:
    base = {"model": "rla_wm", "metric": "token_l1", "chunk": 3, "subset": "all", "mean": 0.25, "low": 0.2, "high": 0.3}
    return Row(**{**base, "n": 7, **changes})


def example() -> Results:
    pair = Comparison(
        model="rla_wm",
        reference="dino_wm",
        metric="token_l1",
        chunk=3,
        subset="all",
        mean=-0.1,
        low=-0.2,
        high=-0.05,
        n=7,
    )
    strip = FilmStrip(
        episode=4,
        start=0,
        task="push",
        moving=True,
        frames=(0, 10),
        rows=(StripRow(label="real", images=("data:,a", "data:,b")),),
    )
    return Results(
        split_hash="abc",
        seeds=(0, 1),
        rows=(row(), row(model="dino_wm", low=None, high=None, n=1)),
        paired=(pair,),
        timings=(Timing(model="rla_wm", batch=1, median=3.5, low=3.0, high=4.0, repeats=9),),
        strips=(strip,),
        dataset={"name": "tiny"},
        notes={"lpips": "no weights"},
    )


def test_round_trip(tmp_path):
    example().save(tmp_path / "deep" / "results.json")
    assert Results.load(tmp_path / "deep" / "results.json") == example()


def test_the_file_has_the_promised_keys(tmp_path):
    example().save(tmp_path / "results.json")
    data = json.loads((tmp_path / "results.json").read_text())
    assert data["schema"] == 1
    assert {"split_hash", "seeds", "rows", "paired"} <= data.keys()
    assert data["rows"][0] == dataclasses.asdict(row())


def test_the_smallest_file_is_read(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"schema": 1, "split_hash": "x", "seeds": [3], "rows": []}))
    assert Results.load(path) == Results(split_hash="x", seeds=(3,), rows=())


def test_lookups():
    results = example()
    assert results.row("rla_wm", "token_l1", 3).mean == 0.25
    assert results.row("rla_wm", "token_l1", 2) is None
    assert results.names() == ("rla_wm", "dino_wm")
    assert (results.last_chunk, results.metrics()) == (3, ("token_l1",))


def test_a_comparison_can_be_turned_round():
    turned = example().comparison("dino_wm", "rla_wm", "token_l1", 3)
    assert (turned.mean, turned.low, turned.high) == (0.1, 0.05, 0.2)
    assert turned.excludes_zero
    assert example().comparison("dino_wm", "oracle", "token_l1", 3) is None


def test_nan_is_neither_written_nor_read(tmp_path):
    path = tmp_path / "results.json"
    example().save(path)
    before = path.read_bytes()
    with pytest.raises(ValueError):
        dataclasses.replace(example(), rows=(row(mean=float("nan")),)).save(path)
    assert path.read_bytes() == before
    path.write_text(before.decode().replace("0.25", "NaN"))
    with pytest.raises(ForeactError, match=r"results\.json.*NaN"):
        Results.load(path)
    path.write_text(before.decode().replace("0.25", "1e999"))
    with pytest.raises(ForeactError, match=r"rows\[0\]: mean is not finite"):
        Results.load(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read as results"),
        ("[]", "names no schema"),
        ('{"rows": []}', "names no schema"),
        ('{"schema": 2, "split_hash": "", "seeds": [], "rows": []}', "another schema"),
        ('{"schema": 1, "split_hash": "", "seeds": []}', "missing keys ['rows']"),
        ('{"schema": 1, "seeds": [], "rows": []}', "missing keys ['split_hash']"),
        ('{"schema": 1, "split_hash": "", "seeds": [], "rows": 3}', "rows must be a list"),
        ('{"schema": 1, "split_hash": "", "seeds": [], "rows": [], "extra": 1}', "unknown keys ['extra']"),
        ('{"schema": 1, "split_hash": 4, "seeds": [], "rows": []}', "split_hash must be str"),
        ('{"schema": 1, "split_hash": "", "seeds": [], "rows": [{"model": "a"}]}', "rows[0] does not fit"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, text, said):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(ForeactError) as caught:
        Results.load(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("key", "value"), [("chunk", "3"), ("chunk", True), ("mean", None), ("mean", "x"), ("n", 1.5)])
def test_ill_typed_rows_are_refused(tmp_path, key, value):
    path = tmp_path / "results.json"
    path.write_text(
        json.dumps({"schema": 1, "split_hash": "", "seeds": [], "rows": [{**dataclasses.asdict(row()), key: value}]})
    )
    with pytest.raises(ForeactError, match=rf"rows\[0\]: {key} must be"):
        Results.load(path)


def test_a_missing_file_says_how_to_make_it(tmp_path):
    with pytest.raises(ForeactError, match="foreact evaluate"):
        Results.load(tmp_path / "none.json")
