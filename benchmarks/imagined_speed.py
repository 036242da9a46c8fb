"""What an imagined step costs beside a simulated one, on one machine in one run, per CPU-second.

    python benchmarks/imagined_speed.py --world-model runs/push/rla-wm --data data/push --env maniskill/PullCube --out speed.json

A step is one action of one environment. Imagined ones are counted in chunks at the full batch: tokens alone, and with every
observation drawn. The simulator is counted drawing every frame, drawing once per chunk, and not drawing at all. CPU-seconds are
those of this process and its threads.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import record
import torch

from foreact.core.progress import progress_bar
from foreact.dreams.fast import FastWorldModel
from foreact.dreams.imagination import load
from foreact.envs.env import RobotEnv
from foreact.envs.registry import make_env
from foreact.imagination import ImaginedVectorEnv
from foreact.imagination.demonstrations import Demonstrations
from foreact.imagination.rewards.registry import make_reward
from foreact.recordings.opening import open_recordings

CHUNK = 8


def rate(call: Callable[[], int], seconds: float) -> float:
    """Steps per CPU-second; `call` tells how many it made, and is called once before."""
    call()
    begun, steps = time.process_time(), 0
    while time.process_time() - begun < seconds:
        steps += call()
    return steps / (time.process_time() - begun)


def imagined(world: Any, demonstrations: Demonstrations, batch: int, seconds: float) -> dict[str, float]:
    """Steps per CPU-second in a dream, with tokens and with pictures."""
    found = {}
    for name in ("tokens", "pictures") if world.decoder is not None else ("tokens",):
        reward = make_reward("video-aligned", demonstrations)
        env = ImaginedVectorEnv(world, demonstrations, reward, num_envs=batch, look_at=name)
        env.reset(seed=0)
        chunk = env.action_space.sample()

        def step(env: ImaginedVectorEnv = env, chunk: Any = chunk) -> int:
            env.step(chunk)
            return batch * CHUNK

        found[f"imagined, {name}"] = rate(step, seconds)
    return found


def simulated(env: RobotEnv, seconds: float) -> dict[str, float]:
    """Steps per CPU-second in a simulator, by how often it is drawn."""

    def run(every: int) -> int:
        env.world.start(0)
        for step in range(4 * CHUNK):
            env.world.act(env.clipped(env.action_space.sample()))
            if every and step % every == 0:
                env.observe()
        return 4 * CHUNK

    ways = {"drawing every frame": 1, "drawing once per chunk": CHUNK, "state only": 0}
    return {f"simulated, {name}": rate(partial(run, every), seconds) for name, every in ways.items()}


def main() -> None:
    """Measure and write rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--world-model", type=Path, required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--env", required=True)
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=112)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    results = {"benchmark": "imagined_speed", **record.about(torch.device("cpu"))}
    world: Any = load(asked.world_model)
    tokens = world.world_model.config.tokens
    world.world_model = FastWorldModel(world.world_model)
    seen = {"encoder": tokens.encoder, "image_size": tokens.image_size, "cache": asked.cache}
    demonstrations = Demonstrations(open_recordings(asked.data, progress=progress_bar, **seen), chunk=CHUNK)
    found = imagined(world, demonstrations, asked.batch, asked.seconds)
    env = make_env(asked.env, image_size=asked.image_size)
    found |= simulated(env, asked.seconds)
    drawn = found["simulated, drawing every frame"]
    rows = [{"what": name, "steps_per_cpu_second": speed, "to_drawing": speed / drawn} for name, speed in found.items()]
    for row in rows:
        print(
            f"{row['what']:36} {row['steps_per_cpu_second']:10.1f} steps per CPU-second, {row['to_drawing']:6.1f} times the simulator"
        )
    record.write({**results, "env": asked.env, "batch": asked.batch, "rows": rows}, asked.out)


if __name__ == "__main__":
    main()
