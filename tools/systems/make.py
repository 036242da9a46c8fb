"""Make the trained models that ship, from `foreact` commands: record, train, measure, and write them with their cards.

    python -m tools.systems.make record --out runs/systems --foreact metaworld=.venv-metaworld/bin/foreact
    python -m tools.systems.make generic --out runs/systems --panda DATASET
    python -m tools.systems.make pusht --out runs/systems
    python -m tools.systems.make ship --out runs/systems --panda DATASET

Every stage is resumable; what is done is left as it is. `generic` learns from all recordings, `pusht` from Push-T and begins with it.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from foreact.core.files import write_json
from foreact.core.pretrained import GENERIC, SHIPPED, SYSTEM_FILE, load_model
from foreact.core.pretrained import RECORDINGS as SHOWN_BESIDE
from foreact.data.lerobot import LeRobotDataset
from foreact.evaluation.results import Results
from foreact.evaluation.rows import select
from foreact.recordings.splits import SPLIT_FILE, Split, Splits
from tools.systems.cards import generic_card, pusht_card
from tools.systems.recordings import FAMILIES, RECORDINGS, SHOWN
from tools.systems.skill import held_out_skill

PRESET, ENCODER, SIDE = "tiny", "tiny", 96
STEPS = {"early": 6_000, "rla": 2_000, "image-decoder": 3_000, "short": 300}
PUSHT_STEPS = {"rla": 1_500, "image-decoder": 1_200, "teacher": 5_000, "rla-wm": 1_000, "dino-wm": 2_000}
PUSHT = "pusht-7001"


def record(out: Path, programs: dict[str, str]) -> None:
    """All recordings; simulators live in Python environments of their own, whose `foreact` is named."""
    for recording in (*RECORDINGS, SHOWN):
        words = [*recording.command.split(), "--out", str(out / "data" / recording.name)]
        program = {"python": sys.executable, "foreact": programs.get(recording.family, "foreact")}[words[0]]
        _run([program, *words[1:]])


def train_generic(out: Path, panda: Path) -> None:
    """RLA and image decoder on everything, RLA first on a part; and what each family's absence costs."""
    everything = [folder for folders in families(out, panda).values() for folder in folders]
    early = [out / "data" / recording.name for recording in RECORDINGS if recording.early]
    first = out / "early" / "rla"
    _train("rla", [*early[:2], panda, *early[2:]], first, STEPS["early"], out)
    _train("image-decoder", everything, out / GENERIC / "image-decoder", STEPS["image-decoder"], out)
    _train("rla", everything, out / GENERIC / "rla", STEPS["rla"], out, "--from", str(first), "--learning-rate", "2e-3")
    for left_out in (None, *FAMILIES):
        kept = [f for family, folders in families(out, panda).items() if family != left_out for f in folders]
        _train("rla", kept, _short(out, left_out), STEPS["short"], out)


def train_pusht(out: Path) -> None:
    """The Push-T system, once the first stage of the generic models is done."""
    data, pusht, first = [out / "data" / PUSHT], out / "pusht", out / "early" / "rla"
    _train("rla", data, pusht / "rla", PUSHT_STEPS["rla"], out, "--from", str(first), "--learning-rate", "2e-3")
    _train("rla-wm", data, pusht / "teacher", PUSHT_STEPS["teacher"], out, "--rla", str(pusht / "rla"))
    student = ["--teacher", str(pusht / "teacher"), "--flow-steps", "1"]
    _train("rla-wm", data, pusht / "rla-wm", PUSHT_STEPS["rla-wm"], out, *student)
    _train("dino-wm", data, pusht / "dino-wm", PUSHT_STEPS["dino-wm"], out)
    begun = ["--from", str(out / GENERIC / "image-decoder"), "--learning-rate", "2e-3"]
    _train("image-decoder", data, pusht / "image-decoder", PUSHT_STEPS["image-decoder"], out, *begun)
    runs = [str(pusht / "rla-wm"), str(pusht / "dino-wm")]
    measured = ["--data", str(data[0]), "--cache", str(out / "cache"), "--out", str(pusht / "results.json")]
    _run(["foreact", "evaluate", *runs, *measured, "--rla", str(pusht / "rla")])


def ship(out: Path, panda: Path) -> None:
    """Write the models in half precision, with what they were trained on and how they do."""
    skill: dict[str, dict[str, float]] = {}
    for family, folders in families(out, panda).items():
        runs = {GENERIC: out / GENERIC / "rla", "short": _short(out, None), "short, without it": _short(out, family)}
        skill[family] = {name: held_out_skill(run, folders, cache=out / "cache") for name, run in runs.items()}
    about: dict[str, Any] = {"preset": PRESET, "encoder": ENCODER, "image_size": SIDE}
    about["recordings"] = {recording.name: recording.command for recording in RECORDINGS}
    generic = about | {"steps": STEPS, "skill": skill}
    _write(out / GENERIC, GENERIC, ("rla", "image-decoder"), generic_card(generic), generic)
    results = Results.load(out / "pusht" / "results.json")
    rows = [row.to_dict() for row in select(results.rows, chunk=results.last_chunk, subset="moving")]
    pusht = about | {"steps": PUSHT_STEPS, "rows": rows}
    _write(out / "pusht", "pusht", ("rla", "rla-wm", "dino-wm", "image-decoder"), pusht_card(results), pusht)
    _ship_recordings(out)


def families(out: Path, panda: Path) -> dict[str, list[Path]]:
    """Family -> its datasets."""
    found = {family: [out / "data" / r.name for r in RECORDINGS if r.family == family] for family in FAMILIES}
    return {family: [*folders, *([panda] if family == "maniskill" else [])] for family, folders in found.items()}


def _short(out: Path, left_out: str | None) -> Path:
    return out / "short" / (left_out or "all") / "rla"


def _ship_recordings(out: Path) -> None:
    """Episodes to drive and to plan from, which nothing was trained on."""
    folder = SHIPPED / "pusht" / SHOWN_BESIDE
    shutil.copytree(out / "data" / SHOWN.name, folder, dirs_exist_ok=True)
    dataset = LeRobotDataset(folder)
    first, *others = (episode.index for episode in dataset.episodes)
    split = Split(dataset=dataset.fingerprint(), train=(first,), validation=tuple(others))
    for model in ("rla-wm", "dino-wm"):
        Splits(parts=(split,)).save(SHIPPED / "pusht" / model / SPLIT_FILE)


def _write(source: Path, name: str, models: Sequence[str], card: str, about: dict[str, Any]) -> None:
    for model in models:
        load_model(source / model).save_pretrained(SHIPPED / name / model, half=True, card=card)
    write_json(SHIPPED / name / SYSTEM_FILE, about, indent=1)


def _train(kind: str, data: Sequence[Path], run: Path, steps: int, out: Path, *more: str) -> None:
    sees = ["--encoder", ENCODER, "--image-size", str(SIDE)] if kind != "rla-wm" else []
    learnt = ["--data", *map(str, data), "--cache", str(out / "cache"), "--out", str(run)]
    _run(["foreact", "train", kind, *learnt, "--preset", PRESET, "--steps", str(steps), *sees, *more])


def _run(words: list[str]) -> None:
    program = [sys.executable, "-m", "foreact"] if words[0] == "foreact" else [words[0]]
    subprocess.run([*program, *words[1:]], check=True)


def main() -> None:
    """One stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=["record", "generic", "pusht", "ship"])
    parser.add_argument("--out", type=Path, required=True, help="recordings, token caches and runs")
    parser.add_argument("--panda", type=Path, help="LeRobot dataset of ManiSkill's Panda, for generic and ship")
    parser.add_argument("--foreact", nargs="*", default=[], help="FAMILY=PROGRAM: the foreact beside a simulator")
    asked = parser.parse_args()
    if asked.stage == "record":
        record(asked.out, dict(pair.split("=", 1) for pair in asked.foreact))
    elif asked.stage == "pusht":
        train_pusht(asked.out)
    elif asked.panda is None:
        parser.error(f"{asked.stage} needs --panda")
    else:
        {"generic": train_generic, "ship": ship}[asked.stage](asked.out, asked.panda)


if __name__ == "__main__":
    main()
