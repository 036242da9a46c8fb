"""Bits flipped in files on disk: every command ends well or with one line, and what carries a checksum never changes in silence."""

import random
import shutil

import pytest
import torch

from foreact.cli import main
from foreact.core.errors import ForeactError
from foreact.core.pretrained import load_model

FEW, ALL = 20, pytest.param(300, marks=pytest.mark.slow)


def flipped(path, rng):
    """Flip a bit of a file and give what puts it back."""
    whole = path.read_bytes()
    content, bit = bytearray(whole), rng.randrange(8 * len(whole))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    return lambda: path.write_bytes(whole)


def run(words):
    """Run a command, which may refuse."""
    try:
        main(words)
    except SystemExit as ended:
        return ended.code
    return 0


@pytest.mark.parametrize("flips", [FEW, ALL])
def test_a_damaged_dataset_gives_no_traceback(flips, make_dataset, tmp_path, capfd):
    data, rng = make_dataset(lengths=(5, 7), height=32, width=32), random.Random(0)
    files = sorted(path for path in data.rglob("*") if path.is_file())
    for number in range(flips):
        path = files[number % len(files)]
        back = flipped(path, rng)
        try:
            assert run(["inspect", str(data), "--contact-sheet", str(tmp_path / "sheet.png")]) in (0, 1, 2), path
        finally:
            back()
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("flips", [FEW, pytest.param(140, marks=pytest.mark.slow)])
@pytest.mark.usefixtures("small_scale")
def test_a_damaged_run_gives_no_traceback_and_no_other_weights(flips, trained, tmp_path):
    root, _ = trained
    run_folder, rng = tmp_path / "dino-wm", random.Random(0)
    shutil.copytree(root / "runs" / "dino-wm", run_folder)
    weights = load_model(run_folder).state_dict()
    for number in range(flips):
        path = run_folder / ("model.safetensors", "config.json")[number % 4 == 3]
        back = flipped(path, rng)
        try:
            found = load_model(run_folder).state_dict()
        except ForeactError:
            continue
        finally:
            back()
        assert path.name == "config.json" or all(torch.equal(found[name], value) for name, value in weights.items())


@pytest.mark.parametrize("flips", [3, pytest.param(60, marks=pytest.mark.slow)])
@pytest.mark.usefixtures("small_scale")
def test_a_damaged_training_goes_on_as_it_would_have_or_says_why_not(flips, trained, tmp_path, capfd):
    root, common = trained
    rng = random.Random(1)
    files = [
        path.relative_to(root)
        for path in sorted((root / "runs/dino-wm").rglob("*"))
        if path.suffix in (".json", ".jsonl", ".safetensors")
    ]
    whole = load_model(root / "runs/dino-wm").state_dict()
    for number in range(flips):
        shutil.copytree(root / "runs/dino-wm", tmp_path / "runs/dino-wm", dirs_exist_ok=True)
        if number:  # the first goes on undamaged
            flipped(tmp_path / files[number % len(files)], rng)
        ended = run(["train", "dino-wm", *common, "--steps", "3", "--out", str(tmp_path / "runs/dino-wm")])
        assert ended == 0 or number
        if ended == 0:
            found = load_model(tmp_path / "runs/dino-wm").state_dict()
            assert all(torch.equal(found[name], value) for name, value in whole.items())
        shutil.rmtree(tmp_path / "runs")
    assert "Traceback" not in capfd.readouterr().err
