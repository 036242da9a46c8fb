"""`foreact evaluate` and `foreact claims`: from run folders to models, tokens and a results file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate import PartialState

from foreact.core.errors import ForeactError
from foreact.core.pretrained import find_beside, load_model, read_config
from foreact.core.progress import ProgressFactory
from foreact.core.registry import card, kinds
from foreact.core.token_spec import TokenSpec
from foreact.data.lerobot import LeRobotDataset
from foreact.encoders.pixels import are_pixels
from foreact.evaluation.claims import sufficiency, topology
from foreact.evaluation.cost import system_cost
from foreact.evaluation.evaluate import evaluate
from foreact.evaluation.latent_pairs import Learner, PairTokens, fitted_latents
from foreact.evaluation.results import Results
from foreact.evaluation.rollout_scorer import EvaluationConfig
from foreact.evaluation.rollouts import Protocol
from foreact.recordings.opening import open_recordings
from foreact.recordings.recordings import Recordings
from foreact.recordings.splits import Split, Splits, split_of_run

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
    progress: ProgressFactory,
) -> Results:
    """Load the runs and evaluate them; see `foreact evaluate --help` for the arguments.

    Raises:
        ForeactError: no world model among the runs, parts that do not fit together, or a split that leaked.
    """
    loaded = _load(runs)
    models = {name: m for name, m in loaded.items() if _role(m) == "world_model"}
    if not models:
        raise ForeactError("evaluation needs at least one world model: name a run of rla-wm, dino-wm or another")
    decoder = _choose(loaded, "image_decoder", image_decoder, runs)
    tokens = common_tokens(models, decoder)
    inside = next((z for m in models.values() if (z := getattr(m, "latent_action", None)) is not None), None)
    oracle = _choose(loaded, "latent_action", rla, runs, inside=inside, tokens=tokens)
    recordings = _open(data, runs[0], tokens, camera, cache, progress)
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
        progress=progress,
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
    progress: ProgressFactory,
) -> None:
    """Measure the claims about RLA and add them to `results`; see `foreact claims --help` for the arguments.

    Raises:
        ForeactError: no rla among the runs, or parts that do not fit together.
    """
    earlier = Results.load(results)
    loaded = _load(runs)
    models = {name: m for name, m in loaded.items() if _role(m) == "latent_action"}
    if not models:
        raise ForeactError("the claims are about rla: name at least one of its runs")
    decoder = _choose(loaded, "image_decoder", image_decoder, runs)
    tokens = next(iter(models.values())).config.tokens

    def read(folder: Path) -> Recordings:
        return _open(folder, runs[0], tokens, camera, cache, progress)

    recordings = read(data)
    _refuse_leaks(runs, recordings.split)
    for name, model in models.items():
        model.config.tokens.require(recordings.cache.spec, model=name, source=str(data))
    encoder = recordings.cache.encoder
    learners = {n: Learner(model=m, own=encoder, base=encoder, as_cached=True) for n, m in models.items()}

    def draw(source: Recordings, episodes: tuple[int, ...], horizon: int | None = None) -> PairTokens:
        return PairTokens.draw(source.cache, episodes, count=pairs, horizon=horizon, seed=seed, as_cached=True)

    split = recordings.split
    training, held_out = (draw(recordings, episodes) for episodes in (split.train, split.validation))
    far = [draw(recordings, episodes, _TOPOLOGY_HORIZON) for episodes in (split.train, split.validation)]
    largest = max(learners.values(), key=lambda learner: fitted_latents(learner, held_out)[0].numel())
    parts = [
        lambda: sufficiency(learners, training, held_out, decoder),
        lambda: topology(largest, far[0], far[1], decoder, seed=seed),
    ]
    if unseen is not None:
        other = read(unseen)
        elsewhere = draw(other, (*other.split.train, *other.split.validation))
        title = f"Reconstruction in an unseen scene: {unseen.resolve().name}"
        parts.append(lambda: sufficiency(learners, training, elsewhere, decoder, title=title))
    figures = []
    with progress("measure claims", "figures") as on_progress:
        for part in parts:
            figures.append(part())
            on_progress(len(figures), len(parts))
    replace(earlier, claims={"figures": figures}).save(results)


def common_tokens(models: Mapping[str, Any], decoder: Any) -> TokenSpec:
    """The tokens in which all are judged: those of the first model of features, else the image decoder's, else pixels."""
    found = [m.config.tokens for m in models.values()]
    found = [t for t in found if not are_pixels(t)] + ([decoder.config.tokens] if decoder else []) + found
    return found[0]


def _open(
    data: Path, run: Path, tokens: TokenSpec, camera: str | None, cache: Path | None, progress: ProgressFactory
) -> Recordings:
    """A dataset, split as it was for the training of a run; as ever where that was trained on others."""
    split = split_of_run(run, LeRobotDataset(data, camera=camera))
    return open_recordings(
        data,
        camera=camera,
        encoder=tokens.encoder,
        image_size=tokens.image_size,
        cache=cache,
        skip_missing=split is not None,
        splits=[split],
        progress=progress,
    )


def _load(runs: Sequence[Path]) -> dict[str, Any]:
    """Models by kind, or by folder where a kind occurs more than once."""
    models = [(run, load_model(run)) for run in runs]
    kinds = [m.config.kind for _, m in models]
    named = {m.config.kind if kinds.count(m.config.kind) == 1 else run.name: m for run, m in models}
    if len(named) < len(models):
        raise ForeactError("two of the runs have the same kind of model and the same folder name; rename one")
    return named


def _role(model: Any) -> str:
    return card(model.config.kind).role


def _choose(
    loaded: Mapping[str, Any],
    role: str,
    named: Path | None,
    runs: Sequence[Path],
    *,
    inside: Any = None,
    tokens: TokenSpec | None = None,
) -> Any:
    """The model of a role: named, among the runs, inside one of them, or the only one of its kind and tokens beside them."""
    if named is not None:
        model = load_model(named)
        if _role(model) != role:
            raise ForeactError(f"{named} holds a {model.config.kind}, not a model for the role {role}")
        return model
    among = [m for m in loaded.values() if _role(m) == role]
    if len(among) == 1 or inside is not None:
        return among[0] if len(among) == 1 else inside
    for kind in kinds(role):
        beside = find_beside(runs[0], kind)
        if len(beside) == 1 and (tokens is None or read_config(beside[0]).tokens == tokens):  # type: ignore[attr-defined]
            return load_model(beside[0])
    return None


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
