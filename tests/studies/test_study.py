"""The runner of studies: each unit is kept by itself, slices, what stands on what diverged, and what is done again."""

from types import SimpleNamespace

import numpy as np
import pytest

from foreact.core.errors import DivergedError, ForeactError
from foreact.evaluation.results import Results
from foreact.studies import study as runner
from foreact.studies.settings import CoinWorld
from foreact.studies.study import Study, Unit
from foreact.studies.values import episode_values, rows, stack


class Toy(Study):
    """Two models, one of which stands on a part; a model scores its name's length plus the seed."""

    name = "toy"

    def __init__(self, out, *, seeds=2, minutes=None, diverges=(), protocol=1):
        super().__init__(CoinWorld(out=out, seeds=seeds, slice_minutes=minutes), None)
        self.diverges, self.protocol, self.trained, self.done = diverges, protocol, [], []

    @property
    def units(self):
        return [
            Unit(name="part", folder="part", scored=False),
            Unit(name="long", folder="l", needs=("part",)),
            Unit(name="a", folder="a"),
        ]

    @property
    def about(self):
        return {"protocol": {"steps": self.protocol}}

    def train(self, unit, seed, run):
        self.trained.append((unit.name, seed))
        if (unit.name, seed) in self.diverges:
            raise DivergedError("the loss is nan")
        run.mkdir(parents=True, exist_ok=True)
        (run / "config.json").write_text("{}")

    def score(self, unit, seed, run):
        self.done.append((unit.name, seed))
        return self.scored(episode_values(unit.name, {"size": np.full(5, len(unit.name) + seed)}, range(5)), seed)

    def references(self):
        return self.scored(episode_values("zero", {"size": np.zeros(5)}, range(5)), 0)

    def summarise(self, seeds):
        return Results(split_hash="", seeds=(), rows=rows(stack(seeds)))


def means(results):
    return {row["model"]: (row.mean, row.seeds) for row in results.rows}


def test_units_of_all_seeds_are_put_together_and_kept(tmp_path):
    first = Toy(tmp_path)
    results = runner.run(first)
    assert means(results) == {"long": (4.5, 2), "a": (1.5, 2), "zero": (0.0, 2)}
    assert (results.study, results.seeds, results.diverged) == ("toy", (0, 1), {})
    assert results.command == "foreact benchmark coin-world --seeds 2"
    assert Results.load(tmp_path / "results.json") == results
    again = Toy(tmp_path)
    assert means(runner.run(again)) == means(results)
    assert again.done == []
    other = Toy(tmp_path, protocol=2)
    runner.run(other)
    assert len(other.done) == 4  # of another protocol, all is scored again


def test_a_slice_ends_after_the_running_unit_and_the_next_goes_on(tmp_path, monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(runner.time, "monotonic", lambda: clock.now)

    class Slow(Toy):
        def train(self, unit, seed, run):
            clock.now += 0 if (run / "config.json").exists() else 60
            super().train(unit, seed, run)

    slices = []
    for _ in range(9):
        study = Slow(tmp_path, minutes=2)
        results = runner.run(study)
        slices.append(study.done)
        if results:
            break
        assert not (tmp_path / "results.json").exists()
    assert slices == [[("long", 0)], [("a", 0)], [("long", 1), ("a", 1)]]
    assert means(results) == {"long": (4.5, 2), "a": (1.5, 2), "zero": (0.0, 2)}


def test_what_stands_on_what_diverged_is_left_out_and_said(tmp_path):
    study = Toy(tmp_path, diverges=[("part", 0), ("a", 1)])
    results = runner.run(study)
    assert results.diverged == {"part": [0], "long": [0], "a": [1]}
    assert ("long", 0) not in study.trained
    assert means(results) == {"a": (1.0, 1), "long": (5.0, 1), "zero": (0.0, 2)}
    with pytest.raises(ForeactError, match="every model of every seed diverged"):
        runner.run(Toy(tmp_path / "none", seeds=1, diverges=[("part", 0), ("a", 0)]))
