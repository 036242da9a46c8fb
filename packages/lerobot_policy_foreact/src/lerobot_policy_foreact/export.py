"""From a run of foreact to a folder that LeRobot loads: LeRobot itself writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from foreact.core.pretrained import CONFIG_FILE, load_model
from foreact.policies.spec import PolicySpec
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.utils.constants import ACTION, OBS_STATE

from lerobot_policy_foreact.configuration_foreact import ForeactConfig
from lerobot_policy_foreact.modeling_foreact import ForeactPolicy
from lerobot_policy_foreact.processor_foreact import make_foreact_pre_post_processors


def export(run: Path, out: Path) -> None:
    """Write the policy of a run, its config and its two processors to `out`.

    The limits of actions and states leave the network for LeRobot's processors; what the network sees stays the same.

    Raises:
        ForeactError: no policy in the run.
    """
    model = load_model(run)
    spec = PolicySpec.of(model.config, str(run))
    inputs = {
        camera.name: PolicyFeature(type=FeatureType.VISUAL, shape=(3, camera.height, camera.width))
        for camera in spec.cameras
    }
    statistics = {ACTION: _take_out(model.action_limits)}
    if spec.state:
        inputs[OBS_STATE] = PolicyFeature(type=FeatureType.STATE, shape=(len(spec.state),))
        statistics[OBS_STATE] = _take_out(model.state_limits)
    config = ForeactConfig(
        input_features=inputs,
        output_features={ACTION: PolicyFeature(type=FeatureType.ACTION, shape=(len(spec.action),))},
        device="cpu",
        push_to_hub=False,
        model=json.loads((run / CONFIG_FILE).read_text()),
        chunk_size=spec.chunk,
        n_action_steps=spec.execute,
    )
    policy = ForeactPolicy(config)
    policy.model.load_state_dict(model.state_dict())
    policy.save_pretrained(out)
    for processor in make_foreact_pre_post_processors(config, statistics):
        processor.save_pretrained(out)


def _take_out(limits: Any) -> dict[str, torch.Tensor]:
    """The limits as LeRobot's statistics; in the network, [-1, 1] is mapped to itself from now on."""
    found = {"min": limits.low.clone(), "max": limits.high.clone()}
    limits.low.fill_(-1.0)
    limits.high.fill_(1.0)
    return found
