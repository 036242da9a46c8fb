"""A toy task for the training loop, run as a script so that tests can kill it and start several processes of it.

python toy.py RUN        trains in RUN
python toy.py            has everything imported, and trains in each folder that it reads, "RUN <tab> how many processes", in
                         processes of their own (a fork takes milliseconds, an import seconds); says `pid N` where it is
                         one, each step, and `ended N` with the exit status
"""

import os
import signal
import socket
import sys
from pathlib import Path

import safetensors.torch
import torch
from accelerate import PartialState
from torch import nn

from foreact.core.machine import matmul_rate
from foreact.core.recipe import TrainConfig
from foreact.training.loop import Task, train


class Toy(nn.Module):
    """Regression of a random linear map, with noise from the generator."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def loss(self, batch, generator):
        x, y, first, whole = batch
        noise = torch.randn(int(whole), 3, generator=generator)[int(first) : int(first) + len(x)].to(x.device)
        return {"loss": (self.layer(x) - y + 0.1 * noise).pow(2).mean()}


def batches(step, rank, processes, size=8):
    g = torch.Generator().manual_seed(step)
    x = torch.randn(size, 5, generator=g)
    own = size // processes
    part = slice(rank * own, (rank + 1) * own)
    return x[part], x[part].roll(1, 1)[:, :3], torch.tensor(rank * own), torch.tensor(size)


def toy_task(run):
    torch.manual_seed(0)
    model = Toy()
    export = lambda folder: safetensors.torch.save_file(model.state_dict(), folder / "model.safetensors")  # noqa: E731
    return Task(model=model, loss=lambda m, b, g: m.loss(b, g), batches=batches, export=export, about={"toy": 1})


CONFIG = TrainConfig(steps=60, batch_size=8, learning_rate=1e-2, warmup=5, save_every=7, log_every=1, precision="no")


def say(step, steps, values):
    tell(step)


def tell(*words):
    """A line in one piece, so that those of two processes do not mix."""
    os.write(sys.stdout.fileno(), (" ".join(map(str, words)) + "\n").encode())


def run(folder):
    folder.mkdir(parents=True, exist_ok=True)
    train(toy_task(folder), CONFIG, folder, on_step=say)


def serve():
    for line in sys.stdin:
        folder, _, processes = line.strip().partition("\t")
        children = [start(Path(folder), rank, int(processes)) for rank in range(int(processes))]
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        tell("ended", next((code for code in codes if code), 0))


def start(folder, rank, processes):
    """A process that trains; several of them find each other as torchrun's do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1] if rank == 0 else int(os.environ["MASTER_PORT"])
    os.environ["MASTER_PORT"] = str(port)
    child = os.fork()
    if child:
        return child
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if processes > 1:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
        os.environ |= {"LOCAL_WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "ACCELERATE_USE_CPU": "true"}
    code = 1
    try:
        if processes == 1:
            tell("pid", os.getpid())
        run(folder)
        code = 0 if PartialState().num_processes == processes else 3
    finally:
        os._exit(code)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run(Path(sys.argv[1]))
    else:
        torch.optim.AdamW([nn.Parameter(torch.zeros(1))])  # imports the compiler, whether or not anything is compiled
        matmul_rate(torch.device("cpu"))  # measured once in a process, and so in all
        serve()
