"""The verbs of the command line: their arguments, their help, and what they call."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import subcommand

from foreact.core.progress import bar
from foreact.studies.settings import Arena, CheaperStudy, CoinWorld, LatentStudy, PresetName, SamplerStudy

ManiSkillTask = Literal["PullCube", "PullCubeTool", "PokeCube", "RollBall", "PushT", "Play"]
ManiSkillRobot = Literal["panda", "xarm6_robotiq", "ur_10e"]
LatentAction = Literal["rla", "univla", "adaworld", "lawm", "dino-cls"]
Model = Literal["encoder", LatentAction, "rla-wm", "dino-wm", "fm-wm", "rae", "video-diffusion", "image-decoder"]


def collect(
    simulator: tyro.conf.Positional[Literal["pusht", "maniskill"]],
    out: Path,
    episodes: int = 200,
    seed: int = 0,
    image_size: int = 128,
    max_steps: int | None = None,
    look: Literal["default", "unseen"] | None = None,
    task: ManiSkillTask | None = None,
    robot: ManiSkillRobot | None = None,
    uncertain: bool = False,
    workers: int | None = None,
) -> None:
    """Record episodes in a simulator; run again to go on after an interruption.

    Args:
        simulator: pusht is gym-pusht's Push-T with a scripted pusher that pushes, wanders and plays; maniskill are the
            papers' arms and tasks, in an environment of its own (requirements/maniskill.txt).
        out: folder of the LeRobot dataset.
        episodes: how many to record.
        seed: of everything random; the same seed gives the same episodes.
        image_size: side of the square pictures, in pixels.
        max_steps: pusht: frames of the longest episodes; 70 if not given. The shortest have 50, or fewer where this is less.
        look: pusht: unseen has other colours and an L for a block, to see what a model does with a scene it was not
            trained on.
        task: maniskill: what the arm does.
        robot: maniskill: which arm.
        uncertain: maniskill: objects get unseen pushes at random times, so that the future is truly uncertain.
        workers: processes that simulate; one per core if not given. The episodes do not depend on it.
    """
    asked = dict(locals()) | {"workers": workers or min(os.cpu_count() or 1, 8)}
    from foreact.envs.collect import CollectRequest, run_collect

    with bar(f"record {task or 'Push-T'}", "episodes") as on_progress:
        run_collect(CollectRequest(**asked), on_progress)
    print(f"{out}: {episodes} episodes. Next: foreact inspect {out}")


def train(
    model: tyro.conf.Positional[Model],
    data: Path,
    out: Path,
    preset: PresetName = "tiny",
    rla: Path | None = None,
    camera: str | None = None,
    encoder: str | None = None,
    image_size: int | None = None,
    variant: Literal["paper", "released"] = "paper",
    latent: str | None = None,
    merge: int = 1,
    teacher: Path | None = None,
    flow_steps: int | None = None,
    flow_depth: int | None = None,
    pretrained: str | None = None,
    seconds: float | None = None,
    augment: bool = True,
    steps: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    optimizer: Literal["adamw", "muon"] | None = None,
    seed: int | None = None,
    precision: Literal["auto", "bf16", "no"] | None = None,
    compile: bool = False,
    checkpoint_activations: bool = False,
    cache: Path | None = None,
    no_cache: bool = False,
) -> None:
    """Train a model on recordings; run again with the same --out to go on where it stopped.

    Args:
        model: what to train. rla-wm needs a trained rla, pictures need an image-decoder, adaworld and video-diffusion see pixels.
        data: a LeRobot dataset.
        out: folder of the run: model, log.jsonl, TensorBoard files, checkpoints.
        preset: sizes and training recipe.
        rla: folder of the trained RLA for rla-wm; by default the one beside --out.
        camera: which camera; the first by default.
        encoder: tiny, pixels, a Hugging Face id, or a folder; the preset's by default. dino-cls adds its class token.
        image_size: side of the square frames that the encoder sees; the preset's by default.
        variant: networks of rla and rla-wm as the paper or as its released code has them.
        latent: tokens x channels of z, for rla, such as 8x16; the preset's by default.
        merge: side of the squares of patches that rla-wm's condition network, or rla's decoder, reads as one; 2 makes it four
            times cheaper.
        teacher: a trained rla-wm, of which a student with fewer --flow-steps is made; only its flow is trained.
        flow_steps: Euler steps of rla-wm's sampler; the preset's by default.
        flow_depth: blocks of the flow of a --teacher's student; the teacher's by default.
        pretrained: for video-diffusion: diffusers folder or Hub id of Stable Video Diffusion to start from.
        seconds: from the first frame to the second of every pair; by default 1.2 for lawm and the preset's law for the others.
        augment: lawm: infer z from another view of the pair than the one that is predicted; frames are then encoded while training.
        steps: optimiser steps; the preset's by default.
        batch_size: samples per step; the preset's by default.
        learning_rate: the preset's by default.
        optimizer: adamw, or muon for transformer blocks; the preset's by default.
        seed: of initial weights, batches and noise; the preset's by default.
        precision: bf16 by autocast, none, or auto: bf16 where this machine multiplies it faster than float32; the preset's by default.
        compile: use torch.compile.
        checkpoint_activations: less memory for a third more compute.
        cache: folder of token caches; $FOREACT_CACHE or the user's cache folder by default.
        no_cache: encode frames while training instead of once beforehand.
    """
    asked = dict(locals())
    from foreact.train_command import TrainRequest, run_training

    run_training(TrainRequest.of(asked), bar)
    print(f"{out}: {model} trained")


def import_(
    source: tyro.conf.Positional[Path],
    out: Path,
    format: Literal["auto", "folder", "maniskill", "iws"] = "auto",
    fps: int | None = None,
    camera: str | None = None,
    task: str | None = None,
    height: int | None = None,
    actor: str | None = None,
    actions: Literal["reached", "joints", "commanded"] | None = None,
) -> None:
    """Turn recordings of another format into a LeRobot dataset.

    Args:
        source: a folder of mp4 (with csv or parquet actions of the same name, or without: actionless), ManiSkill's
            h5 + json recordings, or IWS hdf5 episodes.
        out: folder of the LeRobot dataset.
        format: told from the files by default.
        fps: frames per second; the videos' by default.
        camera: name of the camera, or which of the recorded ones.
        task: what the robot does, for recordings that do not say.
        height: scale the pictures to this even height.
        actor: ManiSkill: the object whose pose is kept; the only one that moves by default.
        actions: IWS: which of the recorded actions are kept; reached poses by default.
    """
    from foreact.data.importers import import_recordings

    with bar(f"import {source.name}", "episodes") as on_progress:
        episodes = import_recordings(
            source,
            out,
            format=format,
            fps=fps,
            camera=camera,
            task=task,
            height=height,
            actor=actor,
            actions=actions,
            on_progress=on_progress,
        )
    print(f"{out}: {episodes} episodes. Next: foreact inspect {out}")


def inspect(dataset: tyro.conf.Positional[Path], camera: str | None = None, contact_sheet: Path | None = None) -> None:
    """Show what a dataset holds and every defect found; draw a contact sheet.

    Args:
        dataset: a LeRobot dataset.
        camera: which camera is drawn; the first by default.
        contact_sheet: where the picture goes; contact_sheet.png in the current folder by default.
    """
    from rich import print as show

    from foreact.data.inspect import contact_sheet as draw
    from foreact.data.inspect import inspect_dataset, render_inspection
    from foreact.data.lerobot import LeRobotDataset

    recordings = LeRobotDataset(dataset, camera=camera)
    with bar("inspect", "episodes") as on_progress:
        inspection = inspect_dataset(recordings, on_progress=on_progress)
    show(render_inspection(inspection))
    path = contact_sheet or Path("contact_sheet.png")
    draw(recordings, path)
    print(f"contact sheet: {path}")


def evaluate(
    runs: tyro.conf.Positional[tuple[Path, ...]],
    data: Path,
    out: Path,
    steps: int = 30,
    chunk: int = 10,
    starts: int = 4,
    samples: int = 4,
    seed: int = 0,
    rla: Path | None = None,
    image_decoder: Path | None = None,
    camera: str | None = None,
    cache: Path | None = None,
) -> None:
    """Roll out held-out episodes and compare with what was filmed, beside persistence and an oracle.

    Args:
        runs: folders of trained world models, and of rla and image-decoder where they do not lie beside them.
        data: a LeRobot dataset; the episodes that the models were not trained on are used.
        out: the results file, JSON.
        steps: actions from the first frame to the last.
        chunk: actions per prediction.
        starts: start frames per episode, at most.
        samples: futures per start frame of a stochastic model.
        seed: of the sampling noise.
        rla: autoencoder of the oracle row; by default the one inside an rla-wm, or beside the runs.
        image_decoder: draws tokens; by default the one beside the runs; without one there are no picture metrics.
        camera: which camera; the first by default.
        cache: folder of token caches.
    """
    from rich import print as show

    from foreact.evaluation.report import summary_table
    from foreact.evaluation.rollouts import Protocol
    from foreact.evaluation.session import evaluate_runs

    protocol = Protocol(steps=steps, chunk=chunk, starts_per_episode=starts, samples=samples, seed=seed)
    results = evaluate_runs(
        runs, data, protocol=protocol, rla=rla, image_decoder=image_decoder, camera=camera, cache=cache, bar=bar
    )
    results.save(out)
    show(summary_table(results))
    print(f"results: {out}")


def claims(
    runs: tyro.conf.Positional[tuple[Path, ...]],
    data: Path,
    results: Path,
    unseen: Path | None = None,
    image_decoder: Path | None = None,
    camera: str | None = None,
    cache: Path | None = None,
    pairs: int = 512,
    seed: int = 0,
) -> None:
    """Measure the paper's three claims about RLA on held-out pairs, and add them to a results file.

    Args:
        runs: folders of trained rla of different sizes |z| (one is enough).
        data: the LeRobot dataset that they were trained on.
        results: a results file of `foreact evaluate`, to which the claims are added.
        unseen: recordings of a scene that no rla was trained on, for the third claim.
        image_decoder: draws the pictures; by default the one beside the runs.
        camera: which camera; the first by default.
        cache: folder of token caches.
        pairs: held-out frame pairs.
        seed: of pairs and noise.
    """
    from foreact.evaluation.session import study_claims

    study_claims(
        runs,
        data,
        results,
        unseen=unseen,
        image_decoder=image_decoder,
        camera=camera,
        cache=cache,
        pairs=pairs,
        seed=seed,
        bar=bar,
    )
    print(f"results: {results}. Next: foreact report {results}")


def report(results: tyro.conf.Positional[Path], out: Path | None = None, picture: Path | None = None) -> None:
    """Make one self-contained HTML page of a results file: film strips, drift curves, tables, cost.

    Args:
        results: a results file of `foreact evaluate`.
        out: the page; report.html beside the results by default.
        picture: also draw the film strips as a PNG.
    """
    from foreact.evaluation.figures import write_picture
    from foreact.evaluation.report import write_report
    from foreact.evaluation.results import Results

    page = out or results.with_name("report.html")
    write_report(Results.load(results), page)
    if picture is not None:
        write_picture(Results.load(results), picture)
    print(f"report: {page}")


def benchmark(
    study: Annotated[CoinWorld, subcommand(CoinWorld.name)]
    | Annotated[Arena, subcommand(Arena.name)]
    | Annotated[LatentStudy, subcommand(LatentStudy.name)]
    | Annotated[SamplerStudy, subcommand(SamplerStudy.name)]
    | Annotated[CheaperStudy, subcommand(CheaperStudy.name)],
) -> None:
    """Compare methods: train what the study needs, score it, say what holds; run again to go on after an interruption.

    Args:
        study: which comparison.
    """
    from foreact.studies.command import run_study

    run_study(study, bar)


def cost(preset: PresetName = "paper", json: bool = False, variant: Literal["paper", "released"] = "paper") -> None:
    """Count parameters and FLOPs of every stage of an imagined chunk, without allocating weights.

    Args:
        preset: whose models.
        json: print JSON instead of a table.
        variant: networks as the paper or as its released code has them.
    """
    from json import dumps

    from rich import print as show

    from foreact.core.presets import preset as named
    from foreact.evaluation.cost import cost_table, preset_cost

    stages = preset_cost(named(preset), variant=variant)
    show(dumps(stages, indent=2) if json else cost_table(stages, preset))


VERBS: dict[str, Callable[..., Any]] = {
    "collect": collect,
    "import": import_,
    "inspect": inspect,
    "train": train,
    "evaluate": evaluate,
    "claims": claims,
    "report": report,
    "benchmark": benchmark,
    "cost": cost,
}
