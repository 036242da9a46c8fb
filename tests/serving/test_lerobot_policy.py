"""The plug-in in a real LeRobot, where one is installed: found by its name, and the run's own actions behind its processors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from foreact import load
from foreact.cli import main
from tests.serving.served import CONFIG, STATE, network, observe

pytest.importorskip("lerobot_policy_foreact")


@pytest.fixture
def exported(tmp_path):
    policy = network()
    policy.model.action_limits.fit(torch.tensor([20.0, 30.0, -1.0]), torch.tensor([480.0, 500.0, 1.0]))
    policy.model.state_limits.fit(torch.tensor([-3.0, 5.0]), torch.tensor([3.0, 505.0]))
    policy.model.save_pretrained(tmp_path / "bc")
    main(["export", str(tmp_path / "bc"), "--to", "lerobot", "--out", str(tmp_path / "exported")])
    return tmp_path / "bc", tmp_path / "exported"


def test_lerobot_runs_the_policy(exported):
    from lerobot.configs.policies import PreTrainedConfig
    from lerobot.policies.factory import get_policy_class, make_pre_post_processors
    from lerobot.utils.import_utils import register_third_party_plugins

    run, folder = exported
    register_third_party_plugins()
    config = PreTrainedConfig.from_pretrained(folder)
    policy = get_policy_class(config.type).from_pretrained(folder, config=config)
    before, behind = make_pre_post_processors(config, pretrained_path=str(folder))
    rows = [observe(seed) for seed in range(3)]
    seen = {name: np.stack([row[name] for row in rows]) for name in rows[0] if name != "task"}
    wanted = load(run).act(seen)
    batch = {
        name: torch.from_numpy(value) if name == STATE else torch.from_numpy(value).permute(0, 3, 1, 2) / 255
        for name, value in seen.items()
    }
    policy.reset()
    for k in (*range(CONFIG.execute), 0):
        done = behind(policy.select_action(before({**batch, "task": ["push"] * 3})))
        np.testing.assert_allclose(done.numpy(), wanted[:, k], rtol=1e-5, atol=1e-4)
    with pytest.raises(NotImplementedError, match="trained by foreact train"):
        policy.forward(batch)
