"""Frozen parts: kept by hash in checkpoints and averages, whole in exported folders, asked for again in a resume."""

import json
import shutil
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from runs import Runs

from foreact.core.errors import ForeactError
from foreact.core.pretrained import load_model, state_hash
from foreact.training.journal import read_log
from foreact.training.loop import _Run
from foreact.training.task import FrozenPart


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny_dataset, in_small):
    """`rla`, `rla-wm` over it and its `student` side by side, finished; and another `rla`."""
    root = tmp_path_factory.mktemp("frozen")
    made = Runs(root, tiny_dataset)
    with in_small():
        made.train("rla", root / "runs/rla")
        made.train("rla-wm", root / "runs/rla-wm")
        made.train("rla-wm", root / "runs/student", teacher=root / "runs/rla-wm", flow_steps=1)
    other = load_model(root / "runs/rla")
    torch.nn.init.normal_(other.decoder.out.weight)
    other.save_pretrained(root / "other/rla")
    return made


def state_of(run):
    """Tensors and description of the latest checkpoint."""
    (folder,) = run.glob("checkpoints/step-*")
    return safetensors.torch.load_file(folder / "state.safetensors"), json.loads((folder / "state.json").read_text())


@pytest.mark.parametrize(
    ("run", "frozen"),
    [("rla-wm", {"rla"}), ("student", {"rla", "condition", "mean", "future"})],
)
def test_checkpoints_and_averages_hold_no_tensor_of_a_frozen_part(runs, run, frozen):
    folder = runs.root / "runs" / run
    tensors, described = state_of(folder)
    model = load_model(folder)
    modules = {name.split("/", 1)[1].split(".")[0] for name in tensors}
    assert not modules & frozen
    assert modules | frozen >= {name.split(".")[0] for name in model.state_dict()}
    assert described["frozen"] == {name: state_hash(model.get_submodule(name)) for name in frozen}
    trained = {k for k in model.state_dict() if k.split(".")[0] not in frozen}
    assert {k.removeprefix("average/") for k in tensors if k.startswith("average/")} == trained


def test_the_exported_folder_is_whole_and_loads_alone(runs, tmp_path):
    for run, origin in (("rla-wm", "rla"), ("student", "rla-wm")):
        folder = tmp_path / run / "alone"
        shutil.copytree(runs.root / "runs" / run, folder, ignore=shutil.ignore_patterns("checkpoints"))
        model, part = load_model(folder), load_model(runs.root / "runs" / origin)
        held = model.rla.state_dict() if origin == "rla" else model.state_dict()
        for name, tensor in part.state_dict().items():
            kept = origin == "rla" or not name.startswith("flow.") or "code" in name
            assert torch.equal(held[name], tensor) == kept, name
        assert read_log(folder)[-1]["held_out_loss"] > 0


def test_a_stopped_run_goes_on_to_the_same_weights(runs, small_scale, tmp_path):
    for run, options in (
        ("rla-wm", {"rla": runs.root / "runs/rla"}),
        ("student", {"teacher": runs.root / "runs/rla-wm", "flow_steps": 1}),
    ):
        out = runs.train("rla-wm", tmp_path / run, stop=3, **options)
        assert state_of(out)[1]["step"] == 2
        runs.train("rla-wm", out, **options)
        whole, resumed = load_model(runs.root / "runs" / run), load_model(out)
        for (name, expected), found in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
            assert torch.equal(expected, found), name


def test_a_resume_with_another_part_is_refused_and_names_it(runs, small_scale, tmp_path):
    out = runs.train("rla-wm", tmp_path / "rla-wm", stop=3, rla=runs.root / "runs/rla")
    was, now = (state_hash(load_model(runs.root / folder / "rla")) for folder in ("runs", "other"))
    with pytest.raises(ForeactError, match=rf"another rla \({was} then, {now} now\): name the rla .* by --rla"):
        runs.train("rla-wm", out, rla=runs.root / "other/rla")
    runs.train("rla-wm", out, rla=runs.root / "runs/rla")


def test_a_students_resume_with_another_teacher_is_refused(runs, small_scale, tmp_path):
    teacher = runs.root / "runs/rla-wm"
    out = runs.train("rla-wm", tmp_path / "student", stop=3, teacher=teacher, flow_steps=1)
    other = load_model(teacher)
    torch.nn.init.normal_(other.condition.project.linear.weight)
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(ForeactError, match=r"begun with other settings \(teacher: "):
        runs.train("rla-wm", out, teacher=tmp_path / "other", flow_steps=1)


def test_a_state_of_before_the_parts_were_kept_by_hash_goes_on_if_they_are_the_same(runs, small_scale, tmp_path):
    out = runs.train("rla-wm", tmp_path / "rla-wm", stop=3, rla=runs.root / "runs/rla")
    tensors, described = state_of(out)
    rla = load_model(runs.root / "runs/rla").state_dict()
    old = tensors | {f"{group}/rla.{k}": v.clone() for group in ("model", "average") for k, v in rla.items()}
    (folder,) = out.glob("checkpoints/step-*")
    safetensors.torch.save_file(old, folder / "state.safetensors")
    del described["frozen"]
    extras = described["about"]["model"].pop("extras")
    described["about"]["model"] |= {"variant": "paper", **extras}  # as such a version wrote them
    (folder / "state.json").write_text(json.dumps(described))
    with pytest.raises(ForeactError, match="another rla: name the rla that it was begun with by --rla"):
        runs.train("rla-wm", out, rla=runs.root / "other/rla")
    runs.train("rla-wm", out, rla=runs.root / "runs/rla")
    whole, resumed = load_model(runs.root / "runs/rla-wm").state_dict(), load_model(out).state_dict()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_student_of_the_released_networks_is_made_too(runs, small_scale, tmp_path):
    teacher = runs.train("rla-wm", tmp_path / "released", rla=runs.root / "runs/rla", variant="released")
    student = load_model(runs.train("rla-wm", tmp_path / "student", teacher=teacher, flow_steps=1))
    assert (student.config.kind, student.config.steps) == ("rla_wm_released", 1)


def test_the_average_follows_what_is_trained_alone(tmp_path):
    import toy

    class Two(toy.Toy):
        def __init__(self):
            super().__init__()
            self.frozen = torch.nn.Linear(2, 2).requires_grad_(False)

    task = toy.toy_task(tmp_path)
    model = Two()
    held = FrozenPart(option="part", hash=state_hash(model.frozen))
    run = _Run(replace(task, model=model, frozen={"frozen": held}), toy.CONFIG, tmp_path)
    assert run.average.keys() == {"layer.weight", "layer.bias"}
    run.train(None)
    assert {k.split("/", 1)[1].split(".")[0] for k in state_of(tmp_path)[0]} == {"layer"}
