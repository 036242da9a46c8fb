"""`foreact <verb>`: from robot videos to an imagined future, one command per stage."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import tyro

from foreact.errors import ForeactError
from foreact.progress import bar

Positional = tyro.conf.Positional
PresetName = Literal["tiny", "small", "paper"]
ModelName = Literal["encoder", "rla", "rla-wm", "dino-wm", "image-decoder"]


def collect(simulator: Positional[Literal["pusht"]], out: Path, episodes: int = 200, seed: int = 0, image_size: int = 128) -> None:
    """Record episodes in a simulator; run again to go on after an interruption.

    Args:
        simulator: pusht is gym-pusht's Push-T with a scripted pusher that pushes, wanders and plays.
        out: folder of the LeRobot dataset.
        episodes: how many to record.
        seed: of everything random; the same seed gives the same episodes.
        image_size: side of the square pictures, in pixels.
    """
    from foreact.envs.pusht import collect_pusht

    with bar("record Push-T", "episodes") as on_progress:
        collect_pusht(out, episodes=episodes, seed=seed, image_size=image_size, on_progress=on_progress)
    print(f"{out}: {episodes} episodes. Next: foreact inspect {out}")


def train(
    model: Positional[ModelName],
    data: Path,
    out: Path,
    preset: PresetName = "tiny",
    rla: Path | None = None,
    camera: str | None = None,
    encoder: str | None = None,
    image_size: int | None = None,
    variant: Literal["paper", "released"] = "paper",
    steps: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    seed: int | None = None,
    precision: Literal["bf16", "no"] | None = None,
    compile: bool = False,
    cache: Path | None = None,
    no_cache: bool = False,
) -> None:
    """Train a model on recordings; run again with the same --out to go on where it stopped.

    Args:
        model: what to train. rla-wm needs a trained rla; evaluation and pictures need an image-decoder.
        data: a LeRobot dataset.
        out: folder of the run: model, log.jsonl, TensorBoard files, checkpoints.
        preset: sizes and training recipe.
        rla: folder of the trained RLA for rla-wm; by default the one beside --out.
        camera: which camera; the first by default.
        encoder: tiny, a Hugging Face id, or a folder; the preset's by default.
        image_size: side of the square frames that the encoder sees; the preset's by default.
        variant: networks of rla and rla-wm as the paper or as its released code has them.
        steps: optimiser steps; the preset's by default.
        batch_size: samples per step; the preset's by default.
        learning_rate: the preset's by default.
        seed: of initial weights, batches and noise; the preset's by default.
        precision: bf16 autocast or none; the preset's by default.
        compile: use torch.compile.
        cache: folder of token caches; $FOREACT_CACHE or the user's cache folder by default.
        no_cache: encode frames while training instead of once beforehand.
    """
    from foreact.training.session import TrainRequest, run_training

    overrides = {
        "steps": steps,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
        "precision": precision,
        "compile": compile or None,
    }
    run_training(
        TrainRequest(
            model=model,
            data=data,
            out=out,
            preset=preset,
            rla=rla,
            camera=camera,
            encoder=encoder,
            image_size=image_size,
            variant=variant,
            overrides={k: v for k, v in overrides.items() if v is not None},
            cache=cache,
            no_cache=no_cache,
        ),
        bar,
    )
    print(f"{out}: {model} trained")


VERBS: dict[str, Callable[..., Any]] = {"collect": collect, "train": train}


def main(arguments: list[str] | None = None) -> None:
    """Entry point: errors of the user's making end with one line on standard error and exit status 2."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    try:
        tyro.extras.subcommand_cli_from_dict(VERBS, prog="foreact", args=arguments, description=__doc__)
    except ForeactError as error:
        if debug:
            raise
        print(f"foreact: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        if debug:
            raise
        print("foreact: interrupted; run the same command again to go on", file=sys.stderr)
        sys.exit(130)
