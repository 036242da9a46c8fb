"""The scripts in benchmarks/: that they measure what they say, and that docs/ is what the result files give."""

import dataclasses
import itertools
import json
import re
import sys
from pathlib import Path

import pytest
import torch

from foreact.core.presets import tiny
from foreact.core.token_spec import TokenSpec
from foreact.evaluation.results import Results, Timing
from foreact.evaluation.rows import Row
from foreact.evaluation.verdicts import Verdict

TOKENS = TokenSpec(grid=(4, 4), channels=192, fingerprint="test@0", encoder="tiny", image_size=64)
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """The scripts import each other, as when one of them is run."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def nano():
    """The tiny preset with next to nothing in it."""
    sizes = {"dim": 32, "heads": 2, "latent_depth": 1, "condition_depth": 1, "image_size": 64}
    preset = dataclasses.replace(tiny(), **sizes, latent_tokens=3, latent_channels=5)
    few = dataclasses.replace(preset.train, batch_size=2)
    return dataclasses.replace(preset, train_latent=few, train=few)


@pytest.mark.slow
def test_imagination_compares_every_variant_with_the_released_code_and_regression():
    import imagination

    rows = imagination.run(nano(), (1, 3), [("float32", False)], torch.device("cpu"), seconds=0.0)
    by = {(r["model"], r["batch"]): r for r in rows}
    released, regression = by[imagination.RELEASED, 3], by[imagination.REGRESSION, 3]
    assert released["to_released"] == 1
    assert regression["to_regression"] == 1
    one = by["RLA-WM, merged 2 x 2, 1 step", 3]
    assert one["to_released"] == pytest.approx(one["rate"] / released["rate"])
    assert one["flops"] < by["RLA-WM, 1 step", 3]["flops"] < by["RLA-WM, 30 steps", 3]["flops"]
    assert one["p50_ms"] <= one["p95_ms"]
    few = imagination.run(
        nano(), (1,), [("float32", False)], torch.device("cpu"), seconds=0.0, chosen=[imagination.FASTEST]
    )
    assert [r["model"] for r in few] == [imagination.RELEASED, imagination.FASTEST, imagination.REGRESSION]
    assert one["memory"] > by["RLA-WM, merged 2 x 2, 1 step", 1]["memory"] > 0


def test_a_model_that_memory_is_too_small_for_is_said_and_left_out(monkeypatch, capsys):
    import imagination

    measured = imagination.measure

    def measure(call, batch, device, *, seconds):
        if batch == 3:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")
        return measured(call, batch, device, seconds=seconds)

    monkeypatch.setattr(imagination, "measure", measure)
    some = {k: v for k, v in imagination.variants(nano(), TOKENS).items() if k in ("RLA-WM, 1 step", "DINO-WM")}
    monkeypatch.setattr(imagination, "variants", lambda preset, tokens: some)
    rows = imagination.run(nano(), (1, 3), [("float32", False)], torch.device("cpu"), seconds=0.0)
    assert [r["batch"] for r in rows] == [1, 1]
    assert rows[0]["to_released"] is None
    assert "not enough memory at batch 3" in capsys.readouterr().out
    monkeypatch.setattr(imagination, "measure", lambda *a, **k: (_ for _ in ()).throw(RuntimeError("another error")))
    with pytest.raises(RuntimeError, match="another error"):
        imagination.run(nano(), (1,), [("float32", False)], torch.device("cpu"), seconds=0.0)


def test_training_measures_whole_steps_of_every_model():
    import training

    for name in training.MODELS:
        model, config, loss = training.prepare(name, nano(), torch.device("cpu"))
        before = {k: v.clone() for k, v in model.named_parameters() if v.requires_grad}
        row = training.measure(model, config, loss, torch.device("cpu"), steps=2, compiled=False)
        assert row["low"] <= row["seconds"] <= row["high"], name
        assert 0 < row["optimizer_share"] < 1, name
        assert row["flop_rate"] == pytest.approx(row["flops"] / row["seconds"])
        assert any(not torch.equal(before[k], v) for k, v in model.named_parameters() if v.requires_grad), name


def test_training_leaves_out_what_memory_is_too_small_for(monkeypatch, capsys):
    import training

    def too_small(*arguments, **options):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")

    monkeypatch.setattr(training, "measure", too_small)
    assert training.measured("rla", nano(), torch.device("cpu"), steps=1, compiled=False) is None
    assert "rla: not enough memory" in capsys.readouterr().out


def test_training_takes_another_batch_size():
    import training

    for name in ("rla", "dino-wm", "image-decoder"):
        assert training.prepare(name, nano(), torch.device("cpu"), batch_size=1)[1].batch_size == 1


def test_data_wait_is_that_of_a_real_training(tiny_dataset, monkeypatch):
    import training

    monkeypatch.setitem(training.run_training.__globals__, "preset", lambda name: nano())
    waits = training.data_wait("tiny", tiny_dataset, ("rla", "rla-wm"), steps=1)
    assert set(waits) == {"rla", "rla-wm"}
    assert all(0 <= wait < 1 for wait in waits.values())


def test_what_paper_needs_grows_with_the_batch_and_falls_with_gpus():
    import scaling

    measured = [
        {"model": m, "tokens": 256, "width": 256, "batch": b, "checkpointed": lean, "memory": 1000 * b * (1 if lean else 3)}
        for m in ("rla", "rla_wm") for b in (1, 16) for lean in (False, True)
    ]  # fmt: skip
    needs = {(r["model"], r["checkpointed"], r["gpus"]): r for r in scaling.paper_needs(measured)}
    alone, shared, lean = needs["rla", False, 1], needs["rla", False, 8], needs["rla", True, 1]
    assert alone["states"] == shared["states"] > 5e9
    assert alone["activations"] == pytest.approx(8 * shared["activations"]) == pytest.approx(3 * lean["activations"])


def test_commands_are_shown_as_typed_without_folders_of_this_machine():
    import record

    typed = ["/somewhere/benchmarks/x.py", "/data/pusht", "--preset", "small", "--out", "/results/x.json", "--compile"]
    assert record.command(typed) == "python benchmarks/x.py pusht --preset small --compile"


def test_the_pages_are_what_the_result_files_give(capsys, monkeypatch):
    import pages

    monkeypatch.setattr(sys, "argv", ["pages.py", "--check"])
    assert pages.main() == 0, capsys.readouterr().out
    for path in pages.RESULTS.glob("*.json"):
        assert "/tmp" not in path.read_text(), path.name
        assert json.loads(path.read_text())


def row(mean, metric, **keys):
    return Row(keys=keys, metric=metric, mean=mean, low=mean - 0.1, high=mean + 0.1, n=9)


def arena_result():
    names, metrics = {"rla_wm": 0.2, "dino_wm": 0.4, "persistence": 0.6}, ("token_l1", "ssim")
    rows = [row(v * c, k, model=m, subset="moving", chunk=c) for m, v in names.items() for k in metrics for c in (1, 2)]
    return Results(
        study="world_models", dataset={"name": "some-data"}, rows=tuple(rows), seeds=(0, 1, 2), split_hash="abc",
        settings={"subset": "moving", "boundaries": [10, 20], "preset": "tiny"},
        diverged={"dino_wm": [1]}, cost={"rla_wm": {"calls": 2, "flops": 1_230_000_000}},
        timings=(Timing(model="rla_wm", batch=1, median=3.21, low=3.0, high=4.0, repeats=9),),
        verdicts=(Verdict(claim="it is better", verdict="holds", numbers="-0.2 [-0.3, -0.1]"),),
    )  # fmt: skip


def latent_result():
    sizes = {"rla-4x16": 64, "rla-32x64": 2048, "univla": 32}
    rows = [row(0.5, "skill_true", model=m, subset="held_out", chunk=1) for m in sizes]
    rows += [
        row(a / 2, f"between_{a:g}_{name}", model="rla-32x64", subset="held_out", chunk=1)
        for a in (0.25, 0.75) for name in ("true", "line", "shuffled")
    ]  # fmt: skip
    settings = {"preset": "tiny", "steps": 3, "sizes": sizes}
    return Results(
        study="latent_actions", encoder="tiny@0", split_hash="", seeds=(0,), rows=tuple(rows), settings=settings
    )


def test_the_evidence_page_shows_tables_drawings_timings_and_verdicts_of_studies():
    import pages

    results = {"some_arena": arena_result(), "some_latents": latent_result()}
    page, drawn = pages.evidence(results), pages.drawings(results)
    assert "dataset some-data, preset tiny" in page
    assert "| RLA-WM | 0.4000 [0.3000, 0.5000] |" in page  # after the last chunk, not the first
    assert "DINO-WM: training seeds [1] diverged." in page
    assert "| RLA-WM, batch 1 | 2 | 1.23 | 3.2 (3.0 to 4.0) |" in page
    assert "| it is better | *holds* | -0.2 [-0.3, -0.1] |" in page
    assert "| RLA 32x64 | 2048 | 0.50 [0.40, 0.60] |" in page
    assert {f"![{name}](figures/{name}.svg)" in page for name in results} == {True}
    assert set(drawn) == {"some_arena.svg", "some_latents.svg"}
    assert drawn == pages.drawings(results)  # the same text each time, or the check of the pages means nothing
    for text, shown in (("some_arena.svg", ("token L1", "SSIM", "persistence")), ("some_latents.svg", ("UniVLA", "numbers in z", "tokens interpolated"))):  # fmt: skip
        assert all(f">{words}<" in drawn[text] for words in shown)


def test_each_claim_is_answered_by_the_studies_that_it_names():
    import evidence_page
    import pages

    for entry in json.loads(evidence_page.CLAIMS.read_text()):
        for name, patterns in entry["results"].items():
            path = pages.RESULTS / f"{name}.json"
            told = [v["claim"] for v in json.loads(path.read_text())["verdicts"]] if path.exists() else []
            for pattern in patterns if told else ():
                assert any(re.search(pattern, claim) for claim in told), (name, pattern)
    told = Verdict(claim="regression erases it", verdict="undecided", numbers="")
    one = {"coin_world": Results(split_hash="", seeds=(), rows=(), verdicts=(told,))}
    assert "| *undecided* 1 | coin_world |" in evidence_page.claims(one)[2]
    assert "| not measured |" in evidence_page.claims({})[2]


def test_what_has_one_chunk_alone_is_not_drawn():
    import figures

    whole = arena_result()
    first = tuple(r for r in whole.rows if r["chunk"] == 1)
    alone = dataclasses.replace(whole, rows=first, settings={**whole.settings, "boundaries": [10]})
    assert figures.drift(alone) is None


def test_muon_tells_what_each_way_costs_and_loses(monkeypatch):
    import muon

    monkeypatch.setattr(muon, "tiny", nano)
    monkeypatch.setattr(muon, "TOKENS", {"4 x 4": TOKENS})
    before = torch.get_num_threads()
    rows = muon.costs(steps=1)
    torch.set_num_threads(before)
    assert {r["way"] for r in rows} == set(muon.ways())
    assert all(0 < r["share"] < 1 for r in rows)

    losses = {("ours", 0): 1.1, ("ours", 1): 1.3, (muon.REFERENCE, 0): 1.0, (muon.REFERENCE, 1): 1.0}
    runs = [{"model": "rla", "way": w, "seed": s, "loss": loss} for (w, s), loss in losses.items()]
    ours, reference = muon.differences(runs)
    assert ours["relative"] == pytest.approx(0.2)
    assert ours["high"] - ours["relative"] == pytest.approx(12.706 * 0.1)  # Student's, one degree of freedom
    assert "relative" not in reference


def test_each_second_step_of_muon_goes_where_the_last_one_went():
    import muon

    weight = torch.nn.Parameter(torch.zeros(2, 3))
    optimizer = muon.EverySecond([weight], 0.1)
    places = [weight.detach().clone()]
    for seed in range(4):
        weight.grad = torch.randn(2, 3, generator=torch.Generator().manual_seed(seed))
        optimizer.step()
        places.append(weight.detach().clone())
    first, second, third, fourth = (b - a for a, b in itertools.pairwise(places))
    torch.testing.assert_close(first, second)
    torch.testing.assert_close(third, fourth)
    assert not torch.allclose(second, third)


@pytest.mark.usefixtures("ring")
def test_imagined_and_simulated_steps_are_counted_per_environment(tiny_dataset, tmp_path, monkeypatch):
    import imagined_speed

    from foreact.envs.registry import make_env
    from tests.imagination.worlds import dream_of, open_demonstrations

    shown = open_demonstrations(tiny_dataset, tmp_path, chunk=imagined_speed.CHUNK)
    found = imagined_speed.imagined(dream_of(shown), shown, 3, 0.01)
    env = make_env("ring", image_size=16)
    found |= imagined_speed.simulated(env, 0.01)
    assert [name.split(",")[0] for name in found] == ["imagined"] * 2 + ["simulated"] * 3
    assert all(speed > 0 for speed in found.values())
    env.world.drawn = 0
    monkeypatch.setattr(imagined_speed, "rate", lambda call, seconds: call())
    assert set(imagined_speed.simulated(env, 1.0).values()) == {32}
    assert env.world.drawn == 32 + 4
