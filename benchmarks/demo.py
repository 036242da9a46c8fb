"""What `make demo` takes on both kinds of CPU: for real on this one, foreseen by `foreact fit` on one without bf16.

    python benchmarks/demo.py runs/demo-benchmark --out demo.json

Both commands of the demo are run and timed in an empty folder. Then `fit` measures its stages once more in a process that
imitates a CPU without bf16 instructions: oneDNN, MKL and PyTorch are told to use AVX2.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import record
import torch
from muon import AVX2

from foreact.commands.fit import Fit as FitOptions
from foreact.core.precision import bf16_pays
from foreact.core.progress import progress_bar
from foreact.fitting.measure import measure
from foreact.fitting.planning import within
from foreact.fitting.request import FitRequest, prepare
from foreact.fitting.stages import Plan, Stage

FOREACT = [sys.executable, "-m", "foreact"]


def demo(folder: Path, *, episodes: int, minutes: float) -> dict[str, float]:
    """Seconds of both commands of `make demo`."""
    data = folder / "data"
    collect = [
        "collect",
        "pusht",
        "--episodes",
        str(episodes),
        "--max-steps",
        "55",
        "--seed",
        "0",
        "--image-size",
        "96",
    ]
    fit = ["fit", str(data), "--out", str(folder), "--name", "Push-T", "--image-size", "96", "--compare", "dino-wm"]
    commands = {"collect": [*collect, "--out", str(data)], "fit": [*fit, "--minutes", f"{minutes:g}"]}
    taken = {}
    for name, command in commands.items():
        start = time.perf_counter()
        subprocess.run([*FOREACT, *command], env=os.environ | {"FOREACT_CACHE": str(folder / "tokens")}, check=True)
        taken[name] = time.perf_counter() - start
    return taken


def foresee(folder: Path, *, minutes: float) -> list[dict[str, Any]]:
    """The stages that `fit` plans here in so many minutes, and what it thinks that each takes."""
    request = FitRequest(
        recordings=FitOptions(data=(), out=folder, cache=folder / "elsewhere").recordings((str(folder / "data"),)),
        out=folder / "foreseen",
        image_size=96,
        compare=("dino-wm",),
        minutes=minutes,
    )
    setup = prepare(request, progress_bar)
    with progress_bar("measure this machine", "stages") as on_progress:
        return [told(stage) for stage in within(measure(setup, on_progress), minutes).stages]


def told(stage: Stage) -> dict[str, Any]:
    """A stage's name, seconds, and units of its last piece of work."""
    work = stage.pieces[-1]
    return {"stage": stage.name, "count": work.count, "unit": work.unit, "seconds": stage.seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the demo; made")
    parser.add_argument("--episodes", type=int, default=800)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    parser.add_argument("--foresee", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.foresee:
        rows = {"bf16": bf16_pays("cpu"), "stages": foresee(options.folder, minutes=options.minutes)}
        options.foresee.write_text(json.dumps(rows))
        return
    results = {"benchmark": "demo", **record.about(torch.device("cpu")), "imitated": AVX2, "minutes": options.minutes}
    results["taken"] = demo(options.folder, episodes=options.episodes, minutes=options.minutes)
    plan = json.loads((options.folder / "fit.json").read_text())
    here = Plan.load(options.folder, plan["settings"])
    assert here is not None
    results["here"] = {"bf16": bf16_pays("cpu"), "stages": [told(stage) for stage in here.stages]}
    other = options.folder / "foreseen.json"
    again = [sys.executable, __file__, str(options.folder), "--minutes", str(options.minutes), "--foresee", str(other)]
    subprocess.run(again, env=os.environ | AVX2, check=True)
    results["without_bf16"] = json.loads(other.read_text())
    record.write(results, options.out)


if __name__ == "__main__":
    main()
