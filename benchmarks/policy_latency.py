"""How long one chunk of LaWAM takes, part by part: encoder, backbone, latent action, subgoal, expert.

    python benchmarks/policy_latency.py --preset tiny --repeats 1000 --out policy_latency.json

Weights are random, and the encoder is the preset's architecture: speed does not depend on what they have learnt. Batch 1. Mean,
median and 95th percentile in milliseconds after a warm-up, and FLOPs. *Plain* computes both streams' keys and values anew at every
Euler step. *Products* is each matrix product of a part, alone in its shape: what the machine could do at best.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import record
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from foreact.core.cards import DataSpec, RobotSpec
from foreact.core.machine import synchronise
from foreact.core.presets import PRESETS
from foreact.encoders.meta import meta_encoder
from foreact.latent_actions.lawm import LaWMTraining
from foreact.nn.flow import integrate
from foreact.policies import qwen
from foreact.policies.lawam import LaWAM
from foreact.policies.lawam_training import LaWAMTraining

WORDS, CAMERA = "push the block to the left", "observation.images.top"
WARM_UP = 10


class Products(TorchDispatchMode):
    """Notes the shapes of all matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, list[Any]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.bmm):
            self.calls.append((func, [torch.rand_like(a) for a in args if isinstance(a, Tensor)]))
        return func(*args, **(kwargs or {}))


def build(preset_name: str, actions: int, fps: float, device: torch.device) -> tuple[LaWAM, Callable[[], Any]]:
    """The policy, and a call of its frozen encoder, with random weights."""
    preset = PRESETS[preset_name]()
    name, size = LaWMTraining().frames(preset)
    encoder, tokens, picture = meta_encoder(name, image_size=size)
    encoder = encoder.to_empty(device=device).requires_grad_(False)
    for tensor in (*encoder.parameters(), *encoder.buffers()):
        torch.nn.init.normal_(tensor.detach(), std=0.02)
    picture = torch.rand(picture.shape, device=device)
    robot = RobotSpec(
        camera=CAMERA, cameras={CAMERA: (size, size)}, action=tuple(map(str, range(actions))), state=(), fps=fps
    )
    with device:
        model = LaWAMTraining().configure(preset, DataSpec(tokens=tokens, action_dim=actions, robots=(robot,))).build()
    model.backbone.set_words(qwen.make_tokenizer([WORDS]))
    return model.eval().requires_grad_(False), lambda: encoder(picture)


def parts(model: LaWAM, encode: Callable[[], Any], device: torch.device) -> dict[str, Callable[[], Any]]:
    """What a chunk is made of, each part alone."""
    body, size = model.config.bodies[0], model.config.tokens.image_size
    frames = torch.randint(256, (1, size, size, 3), dtype=torch.uint8, device=device)
    fps, embodiment = torch.tensor([body.fps], device=device), torch.tensor([body.embodiment], device=device)
    chunk = model.chunk(fps, embodiment, model.config.chunk)
    noise = torch.randn(1, model.config.chunk, model.config.expert.action_dim, device=device)
    seen = model.backbone([frames], [WORDS])
    u_t = torch.randn(1, model.config.tokens.count, model.config.tokens.channels, device=device)
    z = model.aggregate(seen.latents)
    subgoal = model.lawm(u_t, z)

    def plain() -> Tensor:
        return integrate(
            lambda x, t: model.expert(x, t, chunk, model.condition(seen, u_t, subgoal)), noise, steps=model.config.steps
        )

    return {
        "encoder": encode,
        "backbone": lambda: model.backbone([frames], [WORDS]),
        "latent": lambda: model.aggregate(seen.latents),
        "subgoal": lambda: model.lawm(u_t, z),
        "expert": lambda: model.denoise(noise, chunk, model.condition(seen, u_t, subgoal)),
        "expert, plain": plain,
        "whole": lambda: (encode(), model([frames], [WORDS], u_t, noise, chunk)),
    }


@torch.no_grad()
def measure(call: Callable[[], Any], repeats: int, device: torch.device) -> dict[str, float]:
    """Milliseconds and FLOPs of a call, and milliseconds of its matrix products."""
    with FlopCounterMode(display=False) as counter, Products() as products:
        call()
    return {
        **_times(call, repeats, device),
        "products": sum(_times(lambda f=f, a=a: f(*a), 20, device)["median"] for f, a in products.calls),
        "gflops": counter.get_total_flops() / 1e9,
    }


def _times(call: Callable[[], Any], repeats: int, device: torch.device) -> dict[str, float]:
    taken = []
    for number in range(WARM_UP + repeats):
        start = time.perf_counter()
        call()
        synchronise(device)
        if number >= WARM_UP:
            taken.append(1000 * (time.perf_counter() - start))
    return {"mean": float(np.mean(taken)), "median": float(np.median(taken)), "p95": float(np.percentile(taken, 95))}


def show(found: Mapping[str, Mapping[str, float]], title: str) -> None:
    """Print the table."""
    table = Table("part", "mean ms", "median ms", "p95 ms", "products ms", "GFLOP", title=title)
    for name, row in found.items():
        table.add_row(name, *(f"{row[key]:.2f}" for key in ("mean", "median", "p95", "products", "gflops")))
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="tiny", choices=sorted(PRESETS))
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--actions", type=int, default=7, help="numbers of an action")
    parser.add_argument("--fps", type=float, default=20.0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"], help="of autocast")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    device = torch.device(asked.device)
    torch.manual_seed(0)
    known = record.about(device, "transformers")
    model, encode = build(asked.preset, asked.actions, asked.fps, device)
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=asked.dtype == "bfloat16"):
        found = {name: measure(call, asked.repeats, device) for name, call in parts(model, encode, device).items()}
    show(found, f"one chunk of {model.config.chunk} actions, {asked.preset}, {asked.dtype}, {asked.device}")
    record.write(known | {"parameters": model.num_parameters(), "parts": found}, asked.out)


if __name__ == "__main__":
    main()
