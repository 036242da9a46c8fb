"""The sampler study: rows, pairing, references, and what it refuses."""

import json

import numpy as np
import pytest
import torch

from foreact.cli import main
from foreact.core.pretrained import load_model
from foreact.dreams.fast import FastWorldModel
from foreact.evaluation.rows import select
from foreact.studies import samplers
from foreact.studies.sampler_variants import METRICS, SamplerVariant, compare


def made_up(offsets, *, seeds=1):
    """10 episodes; every metric of each variant an offset above a common course."""
    course = np.random.default_rng(0).uniform(1, 2, (seeds, 10))
    return {variant.key(m, 3): course + offset for variant, offset in offsets.items() for m in METRICS}


def test_every_variant_is_compared_with_the_reference():
    plain, heun, merged = (
        SamplerVariant(run="plain", solver="euler", steps=30), SamplerVariant(run="plain", solver="heun", steps=2),
        SamplerVariant(run="merged", solver="euler"),
    )  # fmt: skip
    values = made_up({plain: 0.0, heun: -0.1, merged: 0.2})
    rows, pairs = compare(values, (plain, heun, merged), plain, 3)

    def gap(run, solver, steps, metric):
        return select(pairs, run=run, solver=solver, steps=steps, metric=metric)[0]

    assert gap("plain", "euler", 30, "token_l1").mean == 0
    assert gap("plain", "heun", 2, "token_l1").mean == pytest.approx(-0.1)
    assert gap("merged", "euler", 1, "token_energy_score").low == pytest.approx(0.2)
    assert select(rows, run="merged", metric="token_l1")[0].n == 10
    told = {v.claim: v.verdict for v in samplers.verdicts(values, (plain, heun, merged), plain, 3)}
    assert told["plain, heun 2 is better than plain, euler 30 in energy score (tokens)"] == "holds"
    assert told["merged, euler 1 is better than plain, euler 30 in token L1"] == "does not hold"


def test_a_resampled_model_shares_its_weights_and_leaves_the_original_alone(place):
    root, _ = place
    fast = FastWorldModel(load_model(root / "runs" / "rla-wm"))
    before = fast.config
    other = SamplerVariant(run="rla-wm", solver="heun", steps=3).of(fast)
    assert (other.config.solver, other.config.steps) == ("heun", 3)
    assert fast.config is before
    assert all(a is b for a, b in zip(fast.model.parameters(), other.model.parameters(), strict=True))


def test_the_command_measures_and_tells(place, tiny_dataset, tmp_path, capsys, monkeypatch):
    root, _ = place
    monkeypatch.setattr(samplers, "SAMPLERS", (("euler", 1), ("midpoint", 1), samplers.REFERENCE))
    model = load_model(root / "runs" / "rla-wm")
    for parameter in (*model.flow.parameters(), *model.rla.decoder.parameters()):
        torch.nn.init.normal_(parameter, std=0.3)  # three steps of training have not made z matter
    model.save_pretrained(tmp_path / "lively")
    command = ["benchmark", "samplers", "--data", str(tiny_dataset), "--cache", str(root / "cache")]
    main([*command, "--runs", str(tmp_path / "lively"), "--out", str(tmp_path / "new" / "out")])
    results = json.loads((tmp_path / "new" / "out" / "results.json").read_text())
    cost = {(r["solver"], r["steps"]): results["cost"][r["model"]]["flops"] for r in results["rows"]}
    assert cost["euler", 1] < cost["midpoint", 1] < cost["euler", 30]
    values = {(r["solver"], r["steps"]): r["mean"] for r in results["rows"] if r["metric"] == "token_energy_score"}
    assert len(set(values.values())) == 3
    assert "euler 30" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("runs", "message"), [([], "--runs"), (["dino-wm"], "dino-wm holds a dino_wm"), (["none"], "none")]
)
def test_what_cannot_be_sampled_is_one_line(place, tiny_dataset, tmp_path, capsys, runs, message):
    root, _ = place
    named = ["--runs", *(str(root / "runs" / run) for run in runs)] if runs else []
    with pytest.raises(SystemExit) as ended:
        main(["benchmark", "samplers", "--data", str(tiny_dataset), "--out", str(tmp_path), *named])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
