"""What `foreact fit` was asked for, and what follows from it and the data: models, encodings, the evaluation's protocol."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foreact.core.cards import ModelTraining
from foreact.core.errors import ForeactError
from foreact.core.files import read_json
from foreact.core.presets import preset
from foreact.core.pretrained import GENERIC, SHIPPED, SYSTEM_FILE
from foreact.core.progress import ProgressFactory
from foreact.core.registry import card
from foreact.data.lerobot import LeRobotDataset
from foreact.evaluation.rollouts import Protocol
from foreact.recordings.choosing import choose_episodes
from foreact.recordings.sources import EpisodeChoice, as_sources
from foreact.recordings.splits import Split, Splits, split_episodes
from foreact.training.run import TrainRequest

WORLD_MODEL = "rla_wm"
ADAPTED = ("rla", "image_decoder")
"""What ships, trained on many scenes (`systems/generic`), and adapts to the recordings."""
_STEPS, _RATE = 0.25, 0.3
"""Of the preset's steps and learning rate, what adapting takes."""
_STARTS = 3


@dataclass(frozen=True, kw_only=True)
class FitRequest:
    """What was asked for.

    Attributes:
        recordings: fields of `TrainRequest` that say what is learnt from.
        out: folder of runs, results and report.
        preset: name of the sizes.
        encoder: of the tokens; the preset's if None.
        image_size: side of the frames that it sees, in pixels; the preset's if None.
        compare: kinds of world models that are trained and evaluated beside RLA-WM.
        steps: of every training; the preset's if None.
        minutes: for everything; steps are chosen by measured rates so that it takes no longer.
        seed: of the trainings; the preset's if None.
        from_scratch: begin with fresh weights also where trained ones ship.
        name: what the dataset is called in the report; its folder's name if None.
    """

    recordings: Mapping[str, Any]
    out: Path
    preset: str = "tiny"
    encoder: str | None = None
    image_size: int | None = None
    compare: tuple[str, ...] = ()
    steps: int | None = None
    minutes: float | None = None
    seed: int | None = None
    from_scratch: bool = False
    name: str | None = None

    def settings(self) -> dict[str, Any]:
        """What must be unchanged when a fit goes on, as JSON data; caches may move."""
        asked = {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)
            if f.name not in ("recordings", "out", "name", "from_scratch")
        }
        learnt = {name: _plain(value) for name, value in self.recordings.items() if name != "cache"}
        starts = {kind: name for kind in ADAPTED if (name := self.start(kind))}
        return {**learnt, **asked, "compare": list(self.compare)} | ({"start": starts} if starts else {})

    def start(self, kind: str) -> str | None:
        """The shipped model that the training of a kind begins with; None where there is none of this preset and encoder."""
        if self.from_scratch or kind not in ADAPTED or not (SHIPPED / GENERIC).is_dir():
            return None
        made = read_json(SHIPPED / GENERIC / SYSTEM_FILE)
        seen = (self.preset, self.encoder or preset(self.preset).encoder)
        return f"{GENERIC}/{card(kind).name}" if seen == (made["preset"], made["encoder"]) else None

    def options(self, kind: str) -> ModelTraining:
        """How a kind of model is trained: with what was asked for, as far as it sees tokens."""
        training = card(kind).training
        assert training is not None
        sees_pixels = training().frames(preset(self.preset))[0] == "pixels"
        return training(encoder=None if sees_pixels else self.encoder, image_size=self.image_size)

    def encodings(self, kinds: tuple[str, ...]) -> dict[tuple[str, int], bool]:
        """What the models see, (encoder, image size), and whether they read resized frames beside tokens."""
        found: dict[tuple[str, int], bool] = {}
        for kind in kinds:
            options = self.options(kind)
            seen = options.frames(preset(self.preset))
            found[seen] = found.get(seen, False) or options.reads_frames()
        return found


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What follows from request and data.

    Attributes:
        request: what was asked for.
        datasets: what is learnt from; the first is what the evaluation is made on.
        splits: their episodes for training and for the evaluation.
        kinds: models in the order in which they are trained.
        protocol: of the evaluation; None without a world model.
        why_no_world_model: in words; empty where there is one.
    """

    request: FitRequest
    datasets: tuple[LeRobotDataset, ...]
    splits: tuple[Split, ...]
    kinds: tuple[str, ...]
    protocol: Protocol | None
    why_no_world_model: str = ""
    encodings: dict[tuple[str, int], bool] = field(default_factory=dict)

    @property
    def recordings(self) -> dict[str, Any]:
        """Fields of a `TrainRequest`; of one dataset with the episodes that were found good, so that nobody looks again."""
        asked = dict(self.request.recordings)
        if len(self.splits) == 1 and (asked["skip_defective"] or asked["skip_missing"]):
            kept = sorted((*self.splits[0].train, *self.splits[0].validation))
            asked |= {"episodes": ",".join(map(str, kept)), "skip_defective": False, "skip_missing": True}
        return asked

    def training(self, kind: str, folder: Path, steps: int | None) -> TrainRequest:
        """The request for a training in a folder, its run named as on the command line."""
        asked: dict[str, Any] = {"steps": steps, "seed": self.request.seed}
        options, start = self.request.options(kind), self.request.start(kind)
        if start is not None:
            recipe = options.recipe(preset(self.request.preset))
            adapting = {"steps": round(recipe.steps * _STEPS), "learning_rate": recipe.learning_rate * _RATE}
            asked = adapting | {name: value for name, value in asked.items() if value is not None}
        parts: dict[str, Any] = {name: run_folder(folder, part.kind) for name, part in options.parts().items()}
        return TrainRequest(
            kind=kind,
            options=dataclasses.replace(options, **parts),
            out=run_folder(folder, kind),
            preset=self.request.preset,
            start=start,
            overrides={name: value for name, value in asked.items() if value is not None},
            **self.recordings,
        )

    @property
    def world_models(self) -> tuple[str, ...]:
        """Kinds of world models that are trained."""
        return tuple(kind for kind in self.kinds if card(kind).role == "world_model")

    @property
    def name(self) -> str:
        """What the dataset is called: by its folder, or the one around it where that is just called data."""
        folder = self.datasets[0].root.resolve()
        return self.request.name or (folder.parent.name if folder.name in ("data", "dataset") else folder.name)

    @property
    def settings(self) -> dict[str, Any]:
        """What must be unchanged when a fit goes on."""
        return {**self.request.settings(), "split": Splits(parts=self.splits).hash}


def prepare(request: FitRequest, progress: ProgressFactory) -> Setup:
    """Open the data and see what can be trained on them.

    Args:
        request: what was asked for.
        progress: shows the search for defects, where these are to be left out.

    Raises:
        ForeactError: unreadable data, senseless numbers, an unknown model to compare with.
    """
    if (request.steps is not None and request.steps < 1) or (request.minutes is not None and not request.minutes > 0):
        raise ForeactError("--steps must be at least 1, and --minutes more than 0")
    if request.steps is not None and request.minutes is not None:
        raise ForeactError("--minutes chooses the steps: leave out --steps, or --minutes")
    compared = tuple(dict.fromkeys(card(name).kind for name in request.compare))
    for kind in compared:
        if card(kind).role != "world_model" or card(kind).training is None or kind == WORLD_MODEL:
            raise ForeactError(f"--compare takes world models that can be trained beside rla-wm, not {card(kind).name}")
    datasets, splits = _open(request, progress)
    first, held_out = datasets[0], splits[0].validation
    longest = max((first.episode(e).length for e in held_out if first.has_actions(e)), default=0)
    why = ""
    for dataset, split in zip(datasets, splits, strict=True):
        if not any(dataset.has_actions(e) for e in split.train):
            why = f"{dataset.root} has no episode with actions"
    if not why and longest < 3:
        why = f"none of the {len(held_out)} held-out episodes of {first.root} has actions to imagine"
    kinds = ("rla", "image_decoder") if why else ("rla", WORLD_MODEL, "image_decoder", *compared)
    steps = min(Protocol().steps, max(longest, 2) - 1)
    return Setup(
        request=request,
        datasets=datasets,
        splits=splits,
        kinds=kinds,
        protocol=None if why else Protocol(steps=steps, chunk=min(Protocol().chunk, steps), starts_per_episode=_STARTS),
        why_no_world_model=why,
        encodings=request.encodings(kinds),
    )


def _open(request: FitRequest, progress: ProgressFactory) -> tuple[tuple[LeRobotDataset, ...], tuple[Split, ...]]:
    asked = request.recordings
    sources = as_sources(asked["data"], camera=asked["camera"])
    datasets = tuple(LeRobotDataset(source.path, camera=source.camera) for source in sources)
    chosen = choose_episodes(
        datasets,
        choice=None if asked["episodes"] is None else EpisodeChoice.parse(asked["episodes"]),
        skip_defective=asked["skip_defective"],
        skip_missing=asked["skip_missing"],
        progress=progress,
    )
    return datasets, tuple(split_episodes(d, episodes=some) for d, some in zip(datasets, chosen, strict=True))


def run_folder(folder: Path, kind: str) -> Path:
    """Where the run of a kind of model lies."""
    return folder / kind.replace("_", "-")


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, Path) else value
