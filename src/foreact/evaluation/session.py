"""`foreact evaluate` and `foreact claims`: from run folders to models, tokens and a results file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate import PartialState

from foreact.core.errors import ForeactError
from foreact.core.pretrained import find_beside, load_model
from foreact.core.progress import Bar
from foreact.core.token_spec import TokenSpec
from foreact.decoders.unet import UNetDecoder
from foreact.encoders.pixels import are_pixels
from foreact.evaluation.claims import HeldOut, sufficiency, topology
from foreact.evaluation.cost import system_cost
from foreact.evaluation.evaluate import evaluate
from foreact.evaluation.results import Results
from foreact.evaluation.rollouts import Protocol
from foreact.evaluation.stage import EvaluationConfig
from foreact.latent_actions.rla import RLA
from foreact.recordings.opening import open_recordings
from foreact.recordings.recordings import Recordings
from foreact.recordings.splits import Split, Splits
from foreact.world_models.base import PretrainedWorldModel

_TOPOLOGY_HORIZON = 12


def evaluate_runs(
    runs: Sequence[Path],
    data: Path,
    *,
    protocol: Protocol,
    rla: Path | None,
    image_decoder: Path | None,
    camera: str | None,
    cache: Path | None,
    keep_episodes: bool = False,
    bar: Bar,
) -> Results:
    """Load the runs and evaluate them; see `foreact evaluate --help` for the arguments.

    Raises:
        ForeactError: no world model among the runs, parts that do not fit together, or a split that leaked.
    """
    loaded = _load(runs)
    models = {name: m for name, m in loaded.items() if isinstance(m, PretrainedWorldModel)}
    if not models:
        raise ForeactError("evaluation needs at least one world model: name a run of rla-wm, dino-wm or another")
    oracle = _choose(loaded, RLA, rla, runs, "rla")
    decoder = _choose(loaded, UNetDecoder, image_decoder, runs, "image_decoder")
    tokens = common_tokens(models, decoder)
    recordings = open_recordings(
        data, camera=camera, encoder=tokens.encoder, image_size=tokens.image_size, cache=cache, bar=bar
    )
    _refuse_leaks(runs, recordings.split)
    for model in (*models.values(), oracle, decoder):
        if model is not None:
            model.to(PartialState().device)
    cost = system_cost(tokens, {n: m.config for n, m in models.items()}, decoder.config if decoder else None)
    return evaluate(
        models,
        recordings.cache,
        recordings.split,
        rla=oracle,
        decoder=decoder,
        config=EvaluationConfig(protocol=protocol, keep_episodes=keep_episodes),
        cost=cost,
        bar=bar,
    )


def study_claims(
    runs: Sequence[Path],
    data: Path,
    results: Path,
    *,
    unseen: Path | None,
    image_decoder: Path | None,
    camera: str | None,
    cache: Path | None,
    pairs: int,
    seed: int,
    bar: Bar,
) -> None:
    """Measure the claims about RLA and add them to `results`; see `foreact claims --help` for the arguments.

    Raises:
        ForeactError: no rla among the runs, or parts that do not fit together.
    """
    earlier = Results.load(results)
    loaded = _load(runs)
    models = {name: m for name, m in loaded.items() if isinstance(m, RLA)}
    if not models:
        raise ForeactError("the claims are about rla: name at least one of its runs")
    decoder = _choose(loaded, UNetDecoder, image_decoder, runs, "image_decoder")
    tokens = next(iter(models.values())).config.tokens

    def read(folder: Path) -> Recordings:
        return open_recordings(
            folder, camera=camera, encoder=tokens.encoder, image_size=tokens.image_size, cache=cache, bar=bar
        )

    recordings = read(data)
    _refuse_leaks(runs, recordings.split)
    for name, model in models.items():
        model.config.tokens.require(recordings.cache.spec, model=name, source=str(data))
    held_out = HeldOut.draw(recordings.cache, recordings.split.validation, count=pairs, horizon=None, seed=seed)
    draw = {"count": pairs, "horizon": _TOPOLOGY_HORIZON, "seed": seed}
    training = HeldOut.draw(recordings.cache, recordings.split.train, **draw)
    apart = HeldOut.draw(recordings.cache, recordings.split.validation, **draw)
    largest = max(models.values(), key=lambda m: m.config.latent_tokens * m.config.latent_channels)
    parts = [
        lambda: sufficiency(models, held_out, decoder),
        lambda: topology(largest, training, apart, decoder, seed=seed),
    ]
    if unseen is not None:
        other = read(unseen)
        scene = HeldOut.draw(
            other.cache, (*other.split.train, *other.split.validation), count=pairs, horizon=None, seed=seed
        )
        title = f"Reconstruction in an unseen scene: {unseen.name}"
        parts.append(lambda: sufficiency(models, scene, decoder, title=title))
    figures = []
    with bar("measure claims", "figures") as on_progress:
        for part in parts:
            figures.append(part())
            on_progress(len(figures), len(parts))
    earlier.with_claims({"figures": figures}).save(results)


def common_tokens(models: Mapping[str, PretrainedWorldModel], decoder: UNetDecoder | None) -> TokenSpec:
    """The tokens in which all are judged: those of the first model of features, else the image decoder's, else pixels."""
    found = [m.config.tokens for m in models.values()]
    found = [t for t in found if not are_pixels(t)] + ([decoder.config.tokens] if decoder else []) + found
    return found[0]


def _load(runs: Sequence[Path]) -> dict[str, Any]:
    """Models by kind, or by folder where a kind occurs more than once."""
    models = [(run, load_model(run)) for run in runs]
    kinds = [m.config.kind for _, m in models]
    named = {m.config.kind if kinds.count(m.config.kind) == 1 else run.name: m for run, m in models}
    if len(named) < len(models):
        raise ForeactError("two of the runs have the same kind of model and the same folder name; rename one")
    return named


def _choose(loaded: dict[str, Any], kind: type, named: Path | None, runs: Sequence[Path], what: str) -> Any:
    """The model of a kind: named, among the runs, or the only one beside them; else None."""
    if named is not None:
        model = load_model(named)
        if not isinstance(model, kind):
            raise ForeactError(f"{named} holds a {model.config.kind}, not a {what}")
        return model
    among = [m for m in loaded.values() if isinstance(m, kind)]
    if len(among) == 1:
        return among[0]
    beside = find_beside(runs[0], what)
    return load_model(beside[0]) if len(beside) == 1 else None


def _refuse_leaks(runs: Sequence[Path], split: Split) -> None:
    """A run on the same dataset must have held out the same episodes."""
    for run in runs:
        path = run / "split.json"
        if not path.exists():
            continue
        for trained in Splits.load(path).parts:
            if trained.dataset == split.dataset and trained.hash != split.hash:
                raise ForeactError(
                    f"{run} was trained with split {trained.hash} of this dataset, not {split.hash}: "
                    "held-out episodes may have been trained on"
                )
