"""What every benchmark writes beside its numbers: command, machine, versions, how busy the machine was."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import torch

from foreact.core.machine import machine, versions


def about(device: torch.device, *packages: str) -> dict[str, Any]:
    """To be called before the measurement, so that the load is that of the others."""
    load = {"load_before": round(os.getloadavg()[0], 2)}
    return {"command": command(sys.argv), "machine": machine(device) | load, "versions": versions(*packages)}


def command(arguments: list[str]) -> str:
    """The command as a reader would type it: without --out, and folders by their names."""
    shown, skip = [f"benchmarks/{Path(arguments[0]).name}"], False
    for argument in arguments[1:]:
        if argument != "--out" and not skip:
            shown.append(Path(argument).name if os.sep in argument else argument)
        skip = argument == "--out"
    return "python " + shlex.join(shown)


def out_of_memory(error: Exception) -> bool:
    """Whether memory is what was missing; on a CPU PyTorch says so in the text alone."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)


def write(results: dict[str, Any], out: Path | None) -> None:
    """As JSON, where a file is asked for."""
    if out:
        out.write_text(json.dumps(results, indent=1) + "\n")
