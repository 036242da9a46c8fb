"""Do a policy, a world model and demonstrations belong together? Said before anything long begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from foreact.core.errors import ForeactError
from foreact.core.files import read_json
from foreact.data.lerobot import ACTION
from foreact.dreams.dream import Dream
from foreact.dreams.imagination import load
from foreact.policies.bc import BCConfig
from foreact.recordings.recordings import Recordings


def load_start(run: Path, *, device: str) -> Any:
    """The cloned policy of a run, whose network `policies.residual.on_top_of` takes.

    Raises:
        ForeactError: no policy there, or another kind.
    """
    found: Any = load(run, device=device)
    network = getattr(found, "model", None)
    if not isinstance(getattr(network, "config", None), BCConfig):
        raise ForeactError(f"{run} holds no policy of foreact train bc or wam, which PPO begins with")
    return found


def load_dream(run: Path, *, image_decoder: Path | None, device: str) -> Dream:
    """The world model of a run, as a dream.

    Raises:
        ForeactError: no world model there.
    """
    found: Any = load(run, image_decoder=image_decoder, device=device)
    if not isinstance(found, Dream):
        raise ForeactError(f"{run} holds a {found.config.kind}, not a world model")
    return found


def require_fit(policy: BCConfig, dream: Dream, recordings: Recordings, world_run: Path) -> None:
    """Refuse what cannot be learnt together.

    Args:
        policy: config of the cloned policy.
        dream: the world model.
        recordings: the demonstrations.
        world_run: folder of the world model, whose `run.json` tells camera and rate.

    Raises:
        ForeactError: a policy that needs a state or several cameras, or another camera, rate, encoder or action space; says which.
    """
    data, source = ", ".join(recordings.names), recordings.sources[0]
    if policy.state:
        raise ForeactError("this policy looks at the robot's state, and a dream has none: train it with --no-state")
    cameras = tuple(camera.name for camera in policy.cameras)
    shown = {"recordings": source.dataset.camera} | _of_run(world_run, "camera")
    for whose, camera in shown.items():
        if cameras != (camera,):
            raise ForeactError(
                f"this policy looks at {', '.join(cameras)}, the {whose} show {camera} alone: train the policy, or the world model, "
                "with that camera"
            )
    for whose, fps in ({"recordings": source.fps} | _of_run(world_run, "fps")).items():
        if fps != policy.fps:
            raise ForeactError(
                f"this policy acts at {policy.fps:g} actions per second, the {whose} are at {fps:g}: all must have one rate"
            )
    recordings.require_actions()
    if policy.action != source.dataset.names_of(ACTION):
        raise ForeactError(
            f"this policy has the actions ({', '.join(policy.action)}), {data} ({', '.join(source.dataset.names_of(ACTION))})"
        )
    seen: Any = dream.world_model.config
    if policy.extras.tokens is not None:
        policy.extras.tokens.require(seen.tokens, model="this policy", source="the world model")


def _of_run(run: Path, name: str) -> dict[str, Any]:
    """What the first recordings of a run have, where the run tells; exported folders tell nothing."""
    try:
        return {"world model's recordings": read_json(run / "run.json")["sources"][0][name]}
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return {}
