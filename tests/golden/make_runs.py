"""How the golden files were made, with the code of commit 8e8e883: they are never written again.

    python tests/golden/make_runs.py OUT

rla and rla-wm on these recordings (second argument), once to the end and once stopped after 3 of 6 steps.
"""

import dataclasses
import shutil
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import foreact.presets as presets
from foreact.train_command import TrainRequest, run_training

out = Path(sys.argv[1])
data = Path(sys.argv[2])
old = presets.tiny


def small():
    p = old()
    t = dataclasses.replace(
        p.train_rla,
        steps=6,
        batch_size=4,
        save_every=3,
        log_every=1,
        optimizer="adamw",
        learning_rate=1e-3,
        warmup=2,
        precision="no",
        ema=0.9,
    )
    return dataclasses.replace(
        p,
        dim=16,
        heads=2,
        rla_depth=1,
        condition_depth=1,
        flow_depth=1,
        latent_tokens=2,
        latent_channels=4,
        image_size=32,
        train_rla=t,
        train_world_model=t,
    )


presets.PRESETS["tiny"] = small


stop = None


@contextmanager
def bar(title, unit):
    def on(done, total, values=None):
        if stop and unit == "steps" and done >= stop:
            raise KeyboardInterrupt

    yield on


def go(model, run, at):
    global stop
    stop = at
    with suppress(KeyboardInterrupt):
        run_training(TrainRequest(model=model, data=data, out=run, preset="tiny", cache=out / "cache"), bar)


go("rla", out / "whole" / "rla", None)
go("rla-wm", out / "whole" / "rla-wm", None)
# stopped: the save comes after on_step, so a stop at step 4 leaves the state of step 3
go("rla", out / "stopped" / "rla", 4)
shutil.copytree(out / "whole" / "rla", out / "part" / "rla", ignore=shutil.ignore_patterns("checkpoints"))
go("rla-wm", out / "part" / "rla-wm", 4)
