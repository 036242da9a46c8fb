from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "loading.py"


def test_the_benchmark_runs(tiny_dataset: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), str(tiny_dataset), "--seconds", "0.02", "--out", str(tmp_path / "out.json")]
    done = subprocess.run([*command, "--image-size", "32"], capture_output=True, text=True, check=True)
    results = json.loads((tmp_path / "out.json").read_text())
    ways = ["decoding in order", "decoding at random", "token cache", "LeRobot's way, with PyAV"]
    assert list(results["ways"])[:4] == ways
    for name, rates in results["ways"].items():
        assert name.split()[0] in done.stdout
        assert all(len(rates[kind]) == 3 and min(rates[kind]) > 0 for kind in ("cold", "warm"))
