"""`foreact train MODEL`: what all trainings can be asked for, joined with the options of the model's card."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from foreact.commands.options import RecordingOptions
from foreact.core import registry
from foreact.core.arguments import OutFolder, Seed
from foreact.core.errors import ForeactError
from foreact.core.progress import progress_bar
from foreact.studies.settings import PresetName

if TYPE_CHECKING:
    from foreact.core.cards import ModelTraining

_ROLES = {
    "latent_action": "latent actions",
    "world_model": "world models",
    "image_decoder": "image decoder",
    "encoder": "encoder",
    "policy": "policies",
}
APART = {"ppo": "foreact.commands.train_ppo:TrainPPO"}
"""Trainings that learn from no batches, and have options of their own: name -> command."""
_RECIPE = (
    "steps",
    "batch_size",
    "learning_rate",
    "optimizer",
    "seed",
    "precision",
    "compile",
    "checkpoint_activations",
)
"""Options that are fields of `TrainConfig`."""


@dataclass(frozen=True, kw_only=True)
class Train(RecordingOptions):
    """Train a model on recordings; run again with the same --out to go on where it stopped.

    Attributes:
        data: LeRobot datasets; of several, PATH:WEIGHT says how often each is drawn from, PATH@CAMERA which camera is seen.
        out: folder of the run: model, log.jsonl, TensorBoard files, checkpoints.
        start: a trained model of the same kind and sizes to begin with, in the place of fresh weights: a run, or one that ships,
            such as generic/rla.
        preset: sizes and training recipe.
        seconds: from the first frame to the second of every pair; by default 1.2 for lawm and the preset's law for the others.
        steps: optimiser steps; the preset's by default.
        batch_size: samples per step; the preset's by default.
        learning_rate: the preset's by default.
        optimizer: adamw, or muon for transformer blocks; the preset's by default.
        seed: of initial weights, batches and noise; the preset's by default.
        precision: bf16 by autocast, none, or auto: bf16 where this machine multiplies it faster than float32; the preset's by default.
        compile: use torch.compile.
        checkpoint_activations: less memory for a third more compute.
        no_cache: encode frames while training instead of once beforehand.
    """

    data: Annotated[tuple[str, ...], arg(metavar="DATA [DATA ...]")]
    out: OutFolder
    start: Annotated[str | None, arg(name="from")] = None
    preset: PresetName = "tiny"
    seconds: float | None = None
    steps: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    optimizer: Literal["adamw", "muon"] | None = None
    seed: Seed | None = None
    precision: Literal["auto", "bf16", "no"] | None = None
    compile: bool = False
    checkpoint_activations: bool = False
    no_cache: bool = False

    @classmethod
    def chosen(cls, arguments: Sequence[str]) -> tuple[list[str], type]:
        """The words that name the command, and the command with the options of the model that is asked for.

        Raises:
            ForeactError: no model, or none that can be trained.
        """
        if not arguments or arguments[0].startswith("-"):
            if {"-h", "--help"} & set(arguments):
                return [], _overview(cls)
            raise ForeactError(
                "name the model first: foreact train MODEL --data DATA --out RUN (see foreact train --help)"
            )
        name, known = arguments[0], registry.trainable()
        if name in APART:
            module, command = APART[name].split(":")
            return [name], getattr(importlib.import_module(module), command)
        if name.replace("-", "_") not in {*known, *registry.foreign_cards()}:
            names = ", ".join([*(kind.replace("_", "-") for kind in known), *APART])
            raise ForeactError(f"no model {name!r} to train: choose one of {names} (see foreact train --help)")
        card = registry.card(name)
        if card.training is None:
            raise ForeactError(f"{name} is not trained, only loaded (see foreact train --help)")
        joined = [("model", Annotated[card.training, arg(name="")])]
        made = dataclasses.make_dataclass("Train", joined, bases=(cls,), frozen=True, kw_only=True)
        made.kind, made.__doc__ = card.kind, cls.__doc__  # type: ignore[attr-defined]
        return [name], made

    def run(self) -> None:
        """Train."""
        from foreact.training.run import TrainRequest, run_training

        this: Any = self  # with the two fields that `chosen` adds
        asked = {name: getattr(self, name) for name in _RECIPE}
        options: ModelTraining = this.model
        run_training(
            TrainRequest(
                kind=this.kind,
                options=options,
                out=self.out,
                preset=self.preset,
                overrides={name: value for name, value in asked.items() if value is not None and value is not False},
                seconds=self.seconds,
                start=self.start,
                no_cache=self.no_cache,
                **self.recordings(self.data),
            ),
            progress_bar,
        )
        print(f"{self.out}: {this.kind.replace('_', '-')} trained")


def _overview(command: type[Train]) -> type:
    """The command without a model, for its help: which models there are, and the options that all have."""
    foreign = registry.foreign_cards()
    broken = {kind: found for kind, found in foreign.items() if isinstance(found, ForeactError)}
    lines = ["Models:"]
    for role, words in _ROLES.items():
        known = [kind.replace("_", "-") for kind in registry.trainable(role)]
        lines.append(f"  {words}: {', '.join(known)}")
    lines.append(f"  policies, by acting in a world model: {', '.join(APART)}")
    lines += [f"  broken: {kind.replace('_', '-')} ({error})" for kind, error in broken.items()]
    lines.append("\nforeact train rla --help also shows what only rla has; so for each of them.")
    model = ("model", Annotated[Positional[str], arg(metavar="MODEL", help="what to train")])
    made = dataclasses.make_dataclass("Train", [model], bases=(command,), frozen=True, kw_only=True)
    made.__doc__ = f"{(command.__doc__ or '').partition('Attributes:')[0]}{chr(10).join(lines)}"
    return made
