"""A toy task for the training loop, run as a script so that tests can kill it and start several processes of it."""

import sys
from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from foreact.core.recipe import TrainConfig
from foreact.training.loop import Task, train


class Toy(nn.Module):
    """Regression of a random linear map, with noise from the generator."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def loss(self, batch, generator):
        x, y, first, whole = batch
        noise = torch.randn(int(whole), 3, generator=generator)[int(first) : int(first) + len(x)]
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
    export = lambda: safetensors.torch.save_file(model.state_dict(), run / "model.safetensors")  # noqa: E731
    return Task(model=model, loss=lambda m, b, g: m.loss(b, g), batches=batches, export=export, about={"toy": 1})


CONFIG = TrainConfig(steps=60, batch_size=8, learning_rate=1e-2, warmup=5, save_every=7, log_every=1, precision="no")


def say(step, steps, values):
    print(step, flush=True)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    train(toy_task(folder), CONFIG, folder, on_step=say)
