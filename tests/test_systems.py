"""What ships: it is there, small, made from seeds that nothing is judged on, and it imagines Push-T."""

import re
from pathlib import Path

import numpy as np
import pytest

from foreact import load
from foreact.core.errors import ForeactError
from foreact.core.files import read_json
from foreact.core.pretrained import SHIPPED, load_model
from foreact.encoders.base import BUNDLED
from foreact.encoders.loading import load_encoder
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
    assert min(trained) >= 7000 > max(used - {ActionlessStudy.first_seed})


def test_the_shipped_push_t_system_moves_agent_and_block_as_the_simulator_does():
    pytest.importorskip("gym_pusht")
    from foreact.envs.recorder import record_take
    from foreact.envs.registry import find_env, make_env

    env = make_env("pusht", image_size=96, start="near")
    take = record_take(env, find_env("pusht")[0].policies["expert"](env.world), seed=123)
    frames, actions = take.frames["observation.images.top"], take.columns["action"]
    model, errors, copied = load("pusht"), [], []
    for start in range(0, len(frames) - 21, 10):
        future = model.imagine(frames[start], actions[start : start + 20], seed=0)
        truth = frames[start + 20].astype(float)
        errors.append(np.abs(future.frames[-1] - truth).mean())
        copied.append(np.abs(frames[start].astype(float) - truth).mean())
    assert np.mean(errors) < 0.6 * np.mean(copied)


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
