"""A policy server in a thread of its own, and what robots send it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from foreact.policies.acting import NetworkPolicy
from foreact.policies.bc import BCConfig, Camera
from foreact.policies.spec import PolicySpec
from foreact.serving.server import PolicyServer

TOP, WRIST, STATE = "observation.images.top", "observation.images.wrist", "observation.state"
CONFIG = BCConfig(
    cameras=(Camera(name=TOP, height=24, width=32), Camera(name=WRIST, height=16, width=16)),
    image_size=16,
    action=("a", "b", "c"),
    state=("p", "q"),
    fps=10.0,
    robot="arm",
    chunk=5,
    execute=2,
    channels=4,
    dim=16,
    depth=1,
    heads=2,
    queries=3,
    hidden=(24,),
)


def network() -> NetworkPolicy:
    torch.manual_seed(0)
    return NetworkPolicy(CONFIG.build())


def observe(seed: int = 0) -> dict[str, object]:
    rng = np.random.default_rng(seed)
    pictures = {c.name: rng.integers(0, 256, (c.height, c.width, 3), np.uint8) for c in CONFIG.cameras}
    return {**pictures, "observation.state": rng.normal(size=2).astype(np.float32), "task": "push"}


class Slow:
    """Answers each observation with its first state number, a moment later."""

    memoryless = True

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds, self.batches = seconds, []

    def reset(self, seeds=None) -> None:
        self.seeds = seeds

    def act(self, observation) -> np.ndarray:
        states = np.asarray(observation["observation.state"])
        self.batches.append(1 if states.ndim == 1 else len(states))
        time.sleep(self.seconds)
        if (states[..., 0] == 13).any():
            raise RuntimeError("a secret of the server")
        return np.broadcast_to(states[..., None, :1], (*states.shape[:-1], CONFIG.chunk, 3)).copy()


@contextmanager
def served(policy, **options) -> Iterator[str]:
    """Inside, the policy is served; gives the address."""
    server = PolicyServer(policy=policy, spec=PolicySpec.of(CONFIG, "test"), identity="test 0", **options)
    loop, ready, ports = asyncio.new_event_loop(), threading.Event(), []
    stop = asyncio.Event()

    async def run() -> None:
        async with server.listening() as port:
            ports.append(port)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    assert ready.wait(10)
    try:
        yield f"ws://127.0.0.1:{ports[0]}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def listen_once(policy, port: int) -> None:
    """Begin to listen, and stop."""

    async def run() -> None:
        server = PolicyServer(policy=policy, spec=PolicySpec.of(CONFIG, "test"))
        async with server.listening("127.0.0.1", port):
            pass

    asyncio.run(run())
