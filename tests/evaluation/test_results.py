from __future__ import annotations

import dataclasses
import io
import json
import re

import pytest
from rich.console import Console

from foreact.core.errors import ForeactError
from foreact.evaluation.intervals import wilson
from foreact.evaluation.report import summary_table
from foreact.evaluation.results import FilmStrip, Results, StripRow, Timing
from foreact.evaluation.rows import PairedDifference, Row, select
from foreact.evaluation.verdicts import Verdict


def row(**changes) -> Row:
    keys = {"model": "rla_wm", "chunk": 3, "subset": "all"}
    keys |= {name: changes.pop(name) for name in keys.keys() & changes.keys()}
    return Row(**{"keys": keys, "metric": "token_l1", "mean": 0.25, "low": 0.2, "high": 0.3, "n": 7, **changes})


def example() -> Results:
    keys = {"model": "rla_wm", "reference": "dino_wm", "chunk": 3, "subset": "all"}
    pair = PairedDifference(keys=keys, metric="token_l1", mean=-0.1, low=-0.2, high=-0.05, n=7)
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
    assert data["schema"] == 2
    assert {"split_hash", "seeds", "rows", "paired"} <= data.keys()
    numbers = {"metric": "token_l1", "mean": 0.25, "low": 0.2, "high": 0.3, "n": 7, "seeds": 1}
    assert data["rows"][0] == {"model": "rla_wm", "chunk": 3, "subset": "all", **numbers}


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


def test_a_difference_can_be_turned_round():
    turned = example().difference("dino_wm", "rla_wm", "token_l1", 3)
    assert (turned.mean, turned.low, turned.high) == (0.1, 0.05, 0.2)
    assert turned.excludes_zero
    assert example().difference("dino_wm", "oracle", "token_l1", 3) is None


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
        ('{"schema": 3, "split_hash": "", "seeds": [], "rows": []}', "another schema"),
        (
            '{"schema": 2, "split_hash": "", "seeds": [], "rows": [{"env": [1], "metric": "a"}]}',
            "env must be str or int",
        ),
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
    path.write_text(json.dumps({"schema": 2, "split_hash": "", "seeds": [], "rows": [{**row().to_dict(), key: value}]}))
    with pytest.raises(ForeactError, match=rf"rows\[0\]: {key} must be"):
        Results.load(path)


def test_a_missing_file_says_how_to_make_it(tmp_path):
    with pytest.raises(ForeactError, match="foreact evaluate"):
        Results.load(tmp_path / "none.json")


def test_files_of_schema_1_are_read(tmp_path):
    path = tmp_path / "results.json"
    example().save(path)
    data = json.loads(path.read_text()) | {"schema": 1}
    for name in ("study", "settings", "diverged", "verdicts", "command"):
        del data[name]
    for entry in (*data["rows"], *data["paired"]):
        del entry["seeds"]
    path.write_text(json.dumps(data))
    assert Results.load(path) == example()


def test_studies_of_schema_1_are_read(tmp_path):
    """Sampler variants had run, solver, steps, FLOPs and difference in one row."""
    gap = {"mean": -0.1, "low": -0.2, "high": 0.0, "n": 7}
    one = {"run": "plain", "solver": "heun", "steps": 2, "flops": 9, "metric": "token_l1", "seeds": 3}
    data = {"schema": 1, "study": "samplers", "dataset": "some-data", "split_hash": "abc", "seeds": [0], "diverged": {},
            "rows": [{**one, "mean": 0.5, "low": 0.4, "high": 0.6, "n": 7, "to_reference": gap}],
            "reference": "plain, euler 30", "verdicts": [{"claim": "it is", "verdict": "holds", "numbers": "1"}]}  # fmt: skip
    path = tmp_path / "results.json"
    path.write_text(json.dumps(data))
    read = Results.load(path)
    (found,), (pair,) = read.rows, read.paired
    assert (found["model"], found["run"], found["steps"], found.seeds) == ("plain, heun 2", "plain", 2, 3)
    assert (pair["reference"], pair.mean, found.mean) == ("plain, euler 30", -0.1, 0.5)
    assert (read.cost, read.dataset) == ({"plain, heun 2": {"flops": 9}}, {"name": "some-data"})
    assert read.settings["reference"] == "plain, euler 30"
    assert read.verdicts == (Verdict(claim="it is", verdict="holds", numbers="1"),)


def test_success_rates_are_stored_filtered_and_shown(tmp_path):
    rates = {("wam", 16): 9, ("wam", 8): 5, ("random", 8): 0}
    rows = tuple(
        Row.of(wilson(k, 10), "success_rate", {"env": "pusht", "policy": policy, "horizon": horizon})
        for (policy, horizon), k in rates.items()
    )
    path = tmp_path / "policies.json"
    Results(split_hash="", seeds=(0,), rows=rows).save(path)
    read = Results.load(path)
    assert read.rows == rows
    assert [r.mean for r in select(read.rows, policy="wam")] == [0.9, 0.5]
    (never,) = select(read.rows, policy="random", metric="success_rate")
    assert never.low == 0
    assert never.high == pytest.approx(0.2775, abs=1e-4)  # Wilson's, where the normal approximation says 0
    shown = Console(width=120, file=io.StringIO())
    shown.print(summary_table(read))
    text = shown.file.getvalue()
    assert {"policy", "horizon", "success rate", "0.90", "0.60 to 0.98", "10 episodes"} <= set(
        re.findall(r"success rate|10 episodes|0.60 to 0.98|[\w.]+", text)
    )
    assert text.count("pusht") == 3
