"""A new kind is its file and one line: a model of another package goes through every verb, and nothing in src names kinds but
their own files, their line of the registry, and studies that are about particular models.
"""

from __future__ import annotations

import ast
import dataclasses
import json
from pathlib import Path

import pytest
import torch
from foreign import install
from shift_world import SOURCE as SHIFT

from foreact.cli import main
from foreact.commands import VERBS
from foreact.core.registry import LOADED, MODELS, card
from foreact.decoders import unet
from foreact.dreams.imagination import load
from foreact.encoders.tiny import TinyEncoderConfig
from foreact.evaluation.metrics import METRICS

SOURCE = Path(__file__).resolve().parents[1] / "src" / "foreact"


@pytest.fixture
def foreign(tmp_path, monkeypatch):
    """The package is on the path."""
    points, modules = {"shift": "shift_world_model:CARD"}, {"shift_world_model": SHIFT}
    monkeypatch.syspath_prepend(install(tmp_path / "site", points, modules))


@pytest.fixture
def hasty_decoder(monkeypatch):
    """The study's image decoder, which keeps its preset's steps, learns for two."""
    monkeypatch.setitem(unet._RECIPES, "tiny", dataclasses.replace(unet._RECIPES["tiny"], steps=2))


@pytest.mark.usefixtures("foreign", "small_scale", "hasty_decoder")
def test_a_world_model_of_another_package_goes_through_every_verb(make_dataset, tmp_path, capsys):
    run, results, encoder = tmp_path / "runs/shift", tmp_path / "results.json", tmp_path / "encoder"
    TinyEncoderConfig(stem=(4, 4, 4), dim=8, depth=1, heads=2).build().save_pretrained(encoder)
    data = ["--data", str(make_dataset(lengths=(33, 34, 35))), "--cache", str(tmp_path / "cache")]
    seen = [*data, "--encoder", str(encoder), "--image-size", "32"]

    main(["train", "shift", *seen, "--out", str(run), "--gain", "0.5"])
    world = load(run)
    assert (world.world_model.config.kind, world.world_model.config.gain) == ("shift", 0.5)
    assert not torch.equal(world.world_model.normalise.mean, torch.zeros(2))  # fitted

    main(["evaluate", str(run), *data, "--out", str(results), "--steps", "10", "--chunk", "5", "--starts", "1"])
    assert "shift" in results.read_text()
    main(["report", str(results)])
    page = results.with_name("report.html").read_text()
    assert "Shift by actions" in page

    capsys.readouterr()
    main(["cost", "--preset", "tiny", "--json"])
    assert json.loads(capsys.readouterr().out)["shift"]["decode"]["params"] > 0

    arena = ["benchmark", "world-models", *seen, "--out", str(tmp_path / "arena"), "--models", "shift", "--seeds", "1"]
    main([*arena, "--steps", "2", "--batch-size", "2"])
    told = (tmp_path / "arena/results.json").read_text()
    assert '"shift"' in told
    assert '"persistence"' in told


OF_ONE_PAPER = {
    "studies/actionless.py": {"rla", "univla", "adaworld", "lawm", "future_tokens", "bc", "wam", "dino_cls"},
    "studies/cheaper.py": {"rla", "rla_wm", "dino_wm"},
    "studies/coin_scores.py": {"dino_wm", "fm_wm"},
    "studies/coin_world.py": {"rla_wm", "rae", "video_diffusion"},
    "studies/latent_actions.py": {"rla", "lawm"},
    "studies/latent_claims.py": {"lawm"},
    "studies/wmrl.py": {"bc"},
    "studies/world_models.py": {"rla_wm"},
    "fitting/request.py": {"rla", "rla_wm"},
    "fitting/run.py": {"rla"},
    "fitting/measure.py": {"rla"},
    "policies/lawam_training.py": {"lawm"},
    "policies/wam.py": {"rla"},
    "world_models/rla_wm_training.py": {"rla", "rla_wm_released"},
}
"""What is about particular models: studies of the papers' claims, the system that `foreact fit` trains, and what stands on what."""
ROLES = {"encoder", "image_decoder"}
"""Kinds that are called as their role, which all may name."""


def strings_of(path: Path) -> set[str]:
    """String constants of a module that are no docstrings, with underscores for dashes."""
    tree = ast.parse(path.read_text())
    said = {
        node.value for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and node not in said)
    return {node.value.replace("-", "_") for node in constants if isinstance(node.value, str)}


def file_of(module: str) -> str:
    return "/".join(module.split(".")[1:]) + ".py"


def test_nothing_names_a_kind_but_its_own_files_and_the_registry():
    own = {kind: at for table in (MODELS, LOADED) for known in table.values() for kind, at in known.items()}
    at_home = {kind: {file_of(at.split(":")[0]), file_of(card(kind).config.__module__)} for kind, at in own.items()}
    named = {str(path.relative_to(SOURCE)): strings_of(path) & own.keys() - ROLES for path in SOURCE.rglob("*.py")}
    wrong, unused = [], []
    for file, found in named.items():
        strange = {kind for kind in found if file not in at_home[kind] and file != "core/registry.py"}
        wrong += [f"{file} names {kind}" for kind in strange - OF_ONE_PAPER.get(file, set())]
        unused += [f"{file} does not name {kind}" for kind in OF_ONE_PAPER.get(file, set()) - strange]
    assert not wrong, "\n".join(wrong)
    assert not unused, "\n".join(unused)
    assert OF_ONE_PAPER.keys() <= named.keys()


def test_nothing_asks_what_class_a_model_of_another_file_has():
    """`isinstance(x, DinoWM)` outside the model's own room and outside what loads one particular kind."""
    classes = {node.name for room in ("latent_actions", "world_models", "decoders") for path in (SOURCE / room).glob("*.py")
               for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)}  # fmt: skip
    wrong = []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
                asked = {name.id for name in ast.walk(node.args[1]) if isinstance(name, ast.Name)} & classes
                if asked:
                    wrong.append(f"{path.relative_to(SOURCE)}:{node.lineno}: asks for {', '.join(sorted(asked))}")
    assert not wrong, "\n".join(wrong)


def test_a_verb_is_its_file_and_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "toy_verb.py").write_text(TOY_VERB)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(VERBS, "toy", "toy_verb:Toy")
    main(["toy", "--word", "hello"])
    assert capsys.readouterr().out.strip() == "hello hello"
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "Say a word twice" in capsys.readouterr().out
    files = {file_of(at.split(":")[0]) for verb, at in VERBS.items() if verb != "toy"}
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and path.parent.name != "commands":
                assert file_of(node.module) not in files, f"{path.name} imports a verb"


TOY_VERB = '''
from dataclasses import dataclass

@dataclass(frozen=True, kw_only=True)
class Toy:
    """Say a word twice.

    Attributes:
        word: which one.
    """

    word: str

    def run(self) -> None:
        print(self.word, self.word)
'''


def test_a_metric_is_its_function_and_one_line():
    """Names and directions of metrics stand in the table alone: others ask `describe`."""
    labels = {metric.label for metric in METRICS.values()}
    wrong = [
        f"{path.relative_to(SOURCE)} says {label!r}"
        for path in SOURCE.rglob("*.py")
        if path.name != "metrics.py"
        for label in labels & {s.value for s in ast.walk(ast.parse(path.read_text())) if is_string(s)}
    ]
    assert not wrong, "\n".join(wrong)


def is_string(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
