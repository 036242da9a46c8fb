"""Make the bundled encoder: draw pictures, train, probe, and write weights with their model card. One command does it all.

    python -m tools.tiny_encoder.train --out runs/tiny_encoder --panda DATASET

It trains three objectives on the same short CPU time and `CHOSEN`, which is shipped, for longer; then it probes them all. Every stage is resumable; what is done is left as it is.
"""

from __future__ import annotations

import argparse
import dataclasses
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from foreact.core.batch import FrameBatch
from foreact.core.precision import bf16_pays
from foreact.core.recipe import TrainConfig
from foreact.encoders.tiny import TinyEncoder, TinyEncoderConfig
from foreact.training.loop import train
from foreact.training.self_distillation import SelfDistillation, SelfDistillationConfig
from foreact.training.task import Task
from tools.tiny_encoder.probes import (
    ProbeRow,
    ProbeSet,
    panda_probe_set,
    probe_encoder,
    probe_pixels,
    probe_table,
    write_results,
)
from tools.tiny_encoder.pusht_frames import draw_pusht
from tools.tiny_encoder.scenes import draw_probe_scenes, draw_scenes

SIDE, CHUNK, SEED = 160, 500, 7
SIDE_PROBED, PROBED = 128, 4000
FRAMES = {"scenes": 24_000, "pusht": 8_000}
OBJECTIVES = {
    "distillation": SelfDistillationConfig(distillation=1.0, reconstruction=0.0),
    "reconstruction": SelfDistillationConfig(distillation=0.0, reconstruction=1.0),
    "both": SelfDistillationConfig(distillation=0.1, reconstruction=1.0),
    "chosen": SelfDistillationConfig(distillation=1.0, reconstruction=0.0),
}
CHOSEN = "chosen"
STEPS = {
    "distillation": 560,
    "reconstruction": 1500,
    "both": 540,
    "chosen": 1800,
}  # the same CPU time for the first three
RECIPE: dict[str, Any] = {
    "batch_size": 32,
    "learning_rate": 1e-3,
    "warmup": 100,
    "schedule": "cosine",
    "weight_decay": 0.05,
    "seed": SEED,
    "save_every": 200,
}
CARD = """---
license: apache-2.0
library_name: foreact
pipeline_tag: image-feature-extraction
tags: [foreact, tiny_encoder, robotics, self-supervised]
---
# tiny: foreact's bundled encoder

A vision transformer with {parameters} parameters that turns a frame into one token of 192 channels per 16 x 16 pixels.
It makes demos, tests and CPU-sized world models possible without a download; for anything else choose DINOv3 or DINOv2.

- **Use**: `load_encoder("tiny", image_size=128)`; any image size that is a multiple of 16, made for 96 to 256 px.
- **Architecture**: a linear patch embedding plus a stem of four strided convolutions, 5 pre-norm blocks of width 192 with
  3 heads, fixed 2-D sine-cosine positions, a final layer norm without parameters: tokens have mean 0 and variance 1.
- **Data**: {scenes:,} drawn tabletop scenes (`tools/tiny_encoder/scenes.py`: arms, pushers, primitive objects, random looks) and
  {pusht:,} Push-T frames in random colours (`tools/tiny_encoder/pusht_frames.py`), all simulated, no real pictures, no downloads.
  Neither Push-T's own colours nor any ManiSkill recording was trained on.
- **Objective**: self-distillation as in DINO and iBOT (`foreact.training.self_distillation`), chosen by the probes below and
  by what world models learn from its tokens; masked reconstruction, alone or added, reads the pixels within a patch better.
- **Budget**: {steps} steps of {batch} frames at 96 to 160 px on {threads}, AdamW, {product}, seed {seed}.
- **Reproduce**: `python -m tools.tiny_encoder.train --out runs/tiny_encoder --panda DATASET`.
- **Fingerprint** at 128 px: `{fingerprint}`
- **Licence**: Apache-2.0.

## What its tokens know

Linear probes (ridge regression on all tokens of a frame) at 128 px: median error (mean error, its 95 % bootstrap interval),
on a quarter of {probed} frames, held out; for recordings, whole episodes are held out. "Within its patch" asks the one token
whose patch holds the agent where in the patch it is. Chance is 90 degrees for angles.

{table}

Objectives compared on the same CPU time, and what is shipped, "chosen": self-distillation for longer ({budgets}). "both" weighs
self-distillation with 0.1 beside a reconstruction of weight 1.

{comparison}

## Limits

It has seen drawings of tables, arms and primitive shapes. It knows no categories, no text and no real textures, and small
details are kept only as far as 192 numbers per patch can hold them. Probe errors on looks that it has not seen are above.
"""


def draw_chunk(folder: Path, kind: str, index: int) -> Path:
    """One file of CHUNK training frames, a function of the seed, its kind and its number."""
    path = folder / f"{kind}-{index:03d}.npy"
    if not path.exists():
        rng = np.random.default_rng((SEED, kind == "pusht", index))
        frames, _ = (
            draw_pusht(CHUNK, rng, size=SIDE, recolour=True) if kind == "pusht" else draw_scenes(CHUNK, rng, size=SIDE)
        )
        partial = path.with_suffix(".partial")
        with open(partial, "wb") as file:
            np.save(file, frames)
        partial.replace(path)
    return path


def draw_bank(folder: Path, workers: int) -> list[np.ndarray]:
    """All training frames, memory-mapped: arrays uint8 (CHUNK, SIDE, SIDE, 3)."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [(kind, index) for kind, count in FRAMES.items() for index in range(count // CHUNK)]
    with ProcessPoolExecutor(workers) as pool:
        jobs = [pool.submit(draw_chunk, folder, kind, index) for kind, index in wanted]
        return [np.load(job.result(), mmap_mode="r") for job in jobs]


def probe_sets(panda: Path | None, size: int) -> list[ProbeSet]:
    """Labelled frames that were not trained on: Push-T as it is, scenes of one look, and recordings of a real robot's model."""
    rng = np.random.default_rng(SEED + 1)
    pusht, pusht_labels = draw_pusht(PROBED, rng, size=size)
    scenes, scene_labels = draw_probe_scenes(PROBED, rng, size=size)
    sets = [
        ProbeSet(name="Push-T, default look", frames=pusht, labels=pusht_labels, groups=np.arange(PROBED)),
        ProbeSet(name="scenes, one look", frames=scenes, labels=scene_labels, groups=np.arange(PROBED)),
    ]
    return [*sets, panda_probe_set(panda, size)] if panda else sets


def train_encoder(
    bank: list[np.ndarray], objective: SelfDistillationConfig, config: TrainConfig, run: Path
) -> TinyEncoder:
    """Train with the library's loop and return the encoder with averaged weights."""
    torch.manual_seed(config.seed)
    model = SelfDistillation(objective)

    def batches(step: int, rank: int, processes: int) -> torch.Tensor:
        rng = np.random.default_rng((config.seed, step))
        chunks, rows = rng.integers(len(bank), size=config.batch_size), rng.integers(CHUNK, size=config.batch_size)
        return torch.from_numpy(np.stack([bank[c][r] for c, r in zip(chunks, rows)]))

    task = Task(
        model=model,
        loss=lambda module, frames, generator: module.loss(FrameBatch(frames=frames), generator),
        batches=batches,
        export=lambda _: model.encoder.save_pretrained(run / "encoder", half=True),
        about={"objective": dataclasses.asdict(objective), "frames": [*FRAMES.values(), SIDE, SEED]},
        after_step=model.after_step,
    )
    train(task, config, run)
    return TinyEncoder.from_pretrained(run / "encoder")


def random_encoder() -> TinyEncoder:
    """The architecture with PyTorch's default random weights, without the cosine transform that training starts from."""
    torch.manual_seed(SEED)
    encoder = TinyEncoderConfig().build()
    for module in encoder.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
            module.reset_parameters()
    return encoder.eval()


def main() -> None:
    """Draw, train and probe as the command line asks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, default=Path("runs/tiny_encoder"), help="frames, runs and the finished encoder"
    )
    parser.add_argument(
        "--panda", type=Path, help="LeRobot dataset of ManiSkill recordings: the probe of an unseen domain"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that draw, and threads that train")
    parser.add_argument("--only", choices=[*STEPS, "probe"], help="one stage alone")
    args = parser.parse_args()
    torch.set_num_threads(args.workers)
    bank = draw_bank(args.out / "frames", args.workers)
    for name, steps in STEPS.items():
        if args.only in (None, name):
            train_encoder(bank, OBJECTIVES[name], TrainConfig(steps=steps, **RECIPE), args.out / name)
    if args.only in (None, "probe"):
        finish(args.out, probe_sets(args.panda, SIDE_PROBED))


def finish(out: Path, sets: list[ProbeSet]) -> None:
    """Probe all runs, random weights and raw patches; write the chosen encoder with results and card to `out/tiny`."""
    encoders = {name: TinyEncoder.from_pretrained(out / name / "encoder") for name in STEPS}
    final = encoders[CHOSEN]
    shown = {"random weights": random_encoder(), **encoders}
    rows = [row for name, encoder in shown.items() for s in sets for row in probe_encoder(encoder, s, name=name)]
    rows += [row for s in sets for row in probe_pixels(s)]
    about: dict[str, object] = {
        "fingerprint": final.spec.fingerprint,
        "objectives": {name: dataclasses.asdict(objective) for name, objective in OBJECTIVES.items()},
        "recipe": RECIPE,
        "steps": STEPS,
        "frames": FRAMES,
        "probed_at": [SIDE_PROBED, PROBED],
    }
    final.save_pretrained(out / "tiny", half=True, card=model_card(rows, final))
    write_results(out / "tiny" / "probes.json", rows, about)
    print(probe_table(rows))


def model_card(rows: list[ProbeRow], encoder: TinyEncoder) -> str:
    """The card that lies beside the weights."""
    main_rows = [dataclasses.replace(r, features="tiny") if r.features == CHOSEN else r for r in rows]
    main_rows = [r for r in main_rows if r.features not in OBJECTIVES]
    other_rows = [r for r in rows if r.features in OBJECTIVES]
    return CARD.format(
        parameters=f"{encoder.num_parameters():,}",
        fingerprint=encoder.spec.fingerprint,
        scenes=FRAMES["scenes"],
        pusht=FRAMES["pusht"],
        steps=STEPS[CHOSEN],
        seed=SEED,
        threads="one CPU thread" if torch.get_num_threads() == 1 else f"{torch.get_num_threads()} CPU threads",
        product="bf16" if bf16_pays("cpu") else "float32",
        table=probe_table(main_rows),
        comparison=probe_table(other_rows),
        budgets=", ".join(f"{name} {steps} steps" for name, steps in STEPS.items()),
        batch=RECIPE["batch_size"],
        probed=PROBED,
    )


if __name__ == "__main__":
    main()
