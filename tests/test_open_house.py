"""A new kind is its file and one line: a model of another package goes through every verb, and nothing in src names kinds but
their own files, their line of the registry, and studies that are about particular models.
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
import torch
from foreign import install
from shift_world import SOURCE as SHIFT

from foreact.cli import main
from foreact.core.registry import LOADED, MODELS
from foreact.dreams.imagination import load

SOURCE = Path(__file__).resolve().parents[1] / "src" / "foreact"


@pytest.fixture
def foreign(tmp_path, monkeypatch):
    """The package is on the path."""
    monkeypatch.syspath_prepend(
        install(tmp_path / "site", {"shift": "shift_world_model:CARD"}, {"shift_world_model": SHIFT})
    )


def test_a_world_model_of_another_package_goes_through_every_verb(foreign, place, tmp_path, capsys):
    root, common = place
    run, data = tmp_path / "runs/shift", common[:6]
    main(["train", "--help"]) if False else None
    main(["train", "shift", *data, "--out", str(run), "--gain", "0.5"])
    world = load(run, image_decoder=root / "runs/image-decoder")
    assert (world.world_model.config.kind, world.world_model.config.gain) == ("shift", 0.5)
    assert not torch.equal(world.world_model.normalise.mean, torch.zeros(2))  # fitted

    results = tmp_path / "results.json"
    parts = ["--rla", str(root / "runs/rla"), "--image-decoder", str(root / "runs/image-decoder")]
    main(
        [
            "evaluate",
            str(run),
            *data[:4],
            "--out",
            str(results),
            *parts,
            "--steps",
            "10",
            "--chunk",
            "5",
            "--starts",
            "1",
        ]
    )
    assert "shift" in {row["model"] for row in json.loads(results.read_text())["rows"]}
    main(["report", str(results)])
    page = results.with_name("report.html").read_text()
    assert "Shift by actions" in page
    assert "#123456" in page

    capsys.readouterr()
    main(["cost", "--preset", "tiny", "--json"])
    assert json.loads(capsys.readouterr().out)["shift"]["decode"]["params"] > 0

    arena = ["benchmark", "world-models", *data, "--out", str(tmp_path / "arena"), "--models", "shift", "--seeds", "1"]
    main([*arena, "--steps", "2", "--batch-size", "2"])
    told = json.loads((tmp_path / "arena/results.json").read_text())
    assert {"shift", "persistence"} <= {row["model"] for row in told["rows"]}
    assert told["cost"]["shift"]["calls"] == 1
