"""What ships: it is there, small, made from seeds that nothing is judged on, and it imagines Push-T."""

import re
from pathlib import Path

import numpy as np
import pytest

from foreact import load
from foreact.core.errors import ForeactError
from foreact.core.files import read_json
from foreact.core.pretrained import SHIPPED, load_model
from foreact.data.lerobot import LeRobotDataset
from foreact.dreams.imagination import world_model_in
from foreact.encoders.base import BUNDLED
from foreact.encoders.loading import load_encoder
from foreact.evaluation.planning.plan import data_of
from foreact.serving.driving.opening import open_drive
from foreact.studies.settings import ActionlessStudy

ROOT = Path(__file__).parents[1]
SYSTEMS = {"generic": ("rla", "image-decoder"), "pusht": ("rla", "rla-wm", "dino-wm", "image-decoder")}


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_part_loads_over_the_bundled_encoder_and_has_a_card(name):
    for part in SYSTEMS[name]:
        model = load_model(f"{name}/{part}")
        size = model.config.tokens.image_size
        model.config.tokens.require(
            load_encoder("tiny", image_size=size).spec, model=part, source="the bundled encoder"
        )
        card = (SHIPPED / name / part / "README.md").read_text()
        assert "python -m tools.systems.make" in card
        assert re.search(r"\| .* \| .*\d\.\d+", card)


def test_what_ships_is_small():
    def megabytes(folder: Path) -> float:
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6

    assert megabytes(BUNDLED / "tiny") + megabytes(SHIPPED / "generic") < 15
    assert megabytes(SHIPPED / "pusht") < 25


def test_seeds_of_what_ships_are_nobody_elses():
    """The demo's recordings are in the Makefile, evaluation seeds in the settings of studies and in docs."""
    trained = {
        int(seed)
        for name in SYSTEMS
        for words in read_json(SHIPPED / name / "system.json")["recordings"].values()
        for seed in re.findall(r"--seed (\d+)", words)
    }
    makefile = (ROOT / "Makefile").read_text()
    used = {int(seed) for seed in re.findall(r"--seed (\d+)", makefile)} | {ActionlessStudy.first_seed}
    assert trained
    assert used
    assert not trained & used
    assert max(trained) < ActionlessStudy.first_seed


@pytest.mark.parametrize("name", ["pusht", "pusht/dino-wm"])
def test_the_shipped_push_t_system_foresees_episodes_that_nothing_was_trained_on(name):
    dataset, model, errors, copied = LeRobotDataset(SHIPPED / "pusht" / "recordings"), load(name), [], []
    for episode in dataset.episodes:
        start, frames = 10, dataset.frames(episode.index)
        future = model.imagine(frames[start], dataset.actions(episode.index)[start : start + 20], seed=0)
        truth = model.encode(frames[[start, start + 20]]).numpy()
        errors.append(np.abs(future.tokens[-1] - truth[1]).mean())
        copied.append(np.abs(truth[0] - truth[1]).mean())
    assert np.mean(errors) < np.mean(copied)


def test_it_is_driven_and_planned_with_by_its_name():
    folder = world_model_in("pusht")
    assert data_of(str(folder)) == str(SHIPPED / "pusht" / "recordings")
    drive = open_drive(str(folder), env=None, data=None, options={}, chunk=5, futures=2)
    assert len(drive.episodes) == 7


def test_a_damaged_part_is_named(tmp_path, monkeypatch):
    import shutil

    monkeypatch.setattr("foreact.core.pretrained.SHIPPED", tmp_path)
    shutil.copytree(SHIPPED / "pusht", tmp_path / "pusht")
    weights = tmp_path / "pusht" / "rla-wm" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100] + b"x" * 100)
    with pytest.raises(ForeactError, match=r"rla-wm/model.safetensors is damaged"):
        load("pusht")
    weights.unlink()
    with pytest.raises(ForeactError, match=r"rla-wm/model.safetensors is missing"):
        load("pusht")
