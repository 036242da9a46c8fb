"""A policy server among a hundred robots, some of them rude: do the others get their actions, and does memory stay flat?

    python benchmarks/serving_soak.py RUN [--minutes 30] [--robots 100] [--out soak.json]

A quarter of the robots send malformed and oversized messages, or vanish in the middle; each comes again at once. The tests play
the same for a second.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import record
import torch
from foreact_client import Client
from foreact_client.wire import pack
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


def observe(metadata: Mapping[str, Any], seed: int = 0) -> dict[str, Any]:
    """An observation of the served policy's sizes, of noise."""
    rng = np.random.default_rng(seed)
    pictures = {c["name"]: rng.integers(0, 256, (c["height"], c["width"], 3), np.uint8) for c in metadata["cameras"]}
    state = (
        {"observation.state": rng.normal(size=len(metadata["state"])).astype(np.float32)} if metadata["state"] else {}
    )
    return {**pictures, **state, "task": "push"}


def be_rude(url: str, number: int) -> None:
    """Send nonsense, wait for the answer or not, and vanish without a goodbye."""
    with Client(url) as client:
        right, most = observe(client.metadata), client.metadata["most_bytes"]
    large = pack({**right, next(iter(right)): np.zeros(2 * most, np.uint8)})
    nonsense = [b"\xc1", "words", pack(right)[:-9], large]
    line = connect(url)
    line.recv()
    try:
        for k in range(3):
            line.send(nonsense[(number + k) % len(nonsense)])
            if number % 2:
                line.recv()
        line.send(pack(right))
    except ConnectionClosed:
        return
    line.socket.close()


def be_good(url: str, number: int, *, times: int = 4, pause: float = 0.0) -> list[float]:
    """Ask several times, compare with the first answer; seconds that each answer took."""
    taken = []
    with Client(url, deadline=60) as client:
        seen = observe(client.metadata, number)
        first = client.act(seen)
        for _ in range(times):
            began = time.monotonic()
            np.testing.assert_allclose(client.act(seen), first, atol=1e-4, rtol=1e-4)
            taken.append(time.monotonic() - began)
            time.sleep(pause)
    return taken


class Crowd:
    """Robots, each in a thread, until the time is over."""

    def __init__(self, url: str, robots: int, until: float) -> None:
        self._url, self._until = url, until
        self.taken: list[float] = []
        self.failures: list[str] = []
        self.rude = 0
        self._threads = [threading.Thread(target=self._live, args=(number,)) for number in range(robots)]
        for thread in self._threads:
            thread.start()

    def _live(self, number: int) -> None:
        while time.monotonic() < self._until:
            try:
                if number % 4 == 0:
                    be_rude(self._url, number)
                    self.rude += 1
                    time.sleep(0.5)
                else:
                    self.taken += be_good(self._url, number, times=20, pause=0.5)
            except Exception as error:
                self.failures.append(f"robot {number}: {type(error).__name__}: {error}"[:200])

    def wait(self) -> None:
        """Until all have gone home."""
        for thread in self._threads:
            thread.join()


def soak(url: str, process: psutil.Process, minutes: float, robots: int) -> dict[str, Any]:
    """What the good robots got, and the server's memory in MiB at ten moments."""
    crowd, memory = Crowd(url, robots, time.monotonic() + 60 * minutes), []
    for _ in range(10):
        time.sleep(6 * minutes)
        memory.append(round(process.memory_info().rss / 2**20, 1))
    crowd.wait()
    return {
        "robots": robots,
        "minutes": minutes,
        "answers": len(crowd.taken),
        "rude_visits": crowd.rude,
        "failures": crowd.failures[:10],
        "failed": len(crowd.failures),
        "milliseconds": {q: round(float(np.quantile(crowd.taken, q / 100)) * 1000, 1) for q in (50, 95, 100)},
        "memory_mib": memory,
    }


def main() -> None:
    """Serve a run in a process of its own, and send the crowd."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--robots", type=int, default=100)
    parser.add_argument("--out", type=Path, help="write the results there as JSON")
    asked = parser.parse_args()
    command = [
        sys.executable,
        "-m",
        "foreact",
        "serve",
        str(asked.run),
        "--port",
        "0",
        "--robots",
        str(2 * asked.robots),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as server:
        assert server.stdout is not None
        (url,) = re.findall(r"ws://[\d.:]+", server.stdout.readline())
        found = soak(url, psutil.Process(server.pid), asked.minutes, asked.robots)
        server.terminate()
    results = {"benchmark": "serving soak", **record.about(torch.device("cpu"), "websockets", "msgpack"), **found}
    print(found)
    record.write(results, asked.out)


if __name__ == "__main__":
    main()
