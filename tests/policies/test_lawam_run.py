"""LaWAM from recordings with words to a policy that acts: the real path, in small."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from foreact import load
from foreact.cli import main
from foreact.core.errors import ForeactError
from foreact.core.progress import progress_bar
from foreact.encoders.tiny import TinyEncoderConfig
from foreact.evaluation.acting.act import ActRequest, act
from foreact.policies import qwen
from tests.ring_world import SIDE, demonstrate

pytestmark = pytest.mark.usefixtures("ring", "small_scale")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("words")
    TinyEncoderConfig(stem=(8, 8, 8), dim=24, depth=1, heads=3).build().save_pretrained(root / "encoder")
    demonstrate(root / "dot", 8)
    demonstrate(root / "slow", 6, fps=5, seed=2000, words="reach the ring")
    demonstrate(root / "silent", 6, words="")
    return root


def train(folder, kind, *data, out, **options):
    asked = {"steps": 2, "batch-size": 4, "precision": "no", "cache": folder / "cache"} | options
    words = [part for name, value in asked.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    main(["train", kind, "--data", *(str(folder / name) for name in data), "--out", str(out), *words])
    return out


@pytest.fixture(scope="module")
def runs(folder, in_small):
    with in_small():
        seen = {"encoder": folder / "encoder", "image_size": SIDE, "seconds": 0.8}
        train(folder, "lawm", "dot", "silent", out=folder / "lawm", **seen)
        train(folder, "lawam", "dot", "slow", out=folder / "lawam")
    return folder


def config_of(run):
    return json.loads((run / "config.json").read_text())["config"]


def test_both_stages_look_equally_far_ahead_and_rates_share_batches(runs):
    assert config_of(runs / "lawm")["seconds"] == 0.8
    told = config_of(runs / "lawam")
    assert told["seconds"] == 0.8
    assert [(body["robot"], body["fps"]) for body in told["bodies"]] == [("dot", 10.0), ("dot", 5.0)]


@pytest.mark.parametrize(("fps", "actions"), [(10.0, 8), (5.0, 4)])
def test_the_policy_acts_at_the_rate_of_its_environment(runs, fps, actions):
    asked = ActRequest(policy=str(runs / "lawam"), env="ring", episodes=2, max_steps=9, options={"fps": fps})
    results = act(asked, None, progress_bar)
    assert results.seeds == (0, 1)
    policy = load(runs / "lawam")
    policy.act_as("dot", fps)
    chunk = policy.act({"observation.images.top": np.zeros((SIDE, SIDE, 3), np.uint8), "task": "go to the ring"})
    assert chunk.shape == (actions, 2)


def test_a_training_begins_with_another_ones_weights(runs, tmp_path):
    """Post-training on one rate alone: the robot's limits stay those it had."""
    again = train(
        runs,
        "lawam",
        "slow",
        out=tmp_path / "post",
        **{"from": runs / "lawam", "lawm": runs / "lawm", "learning-rate": 1e-9},
    )
    before, after = load(runs / "lawam").model, load(again).model
    assert torch.equal(before.low, after.low)
    assert torch.equal(before.backbone.tokenizer, after.backbone.tokenizer)
    torch.testing.assert_close(before.expert.encode.weight, after.expert.encode.weight, atol=1e-5, rtol=0)


def test_a_folder_of_qwens_own_classes_is_a_backbone(runs, tmp_path):
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    model = qwen.make_model(qwen.sizes(hidden=32, layers=3, heads=2, vision_depth=1, patch=8, image_size=SIDE))
    model.save_pretrained(tmp_path / "qwen")
    tokenizer = Tokenizer.from_str(qwen.make_tokenizer(["go to the ring"]))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(tmp_path / "qwen")
    options = {"lawm": runs / "lawm", "backbone": tmp_path / "qwen", "learning-rate": 1e-9}
    run = train(runs, "lawam", "dot", out=tmp_path / "run", layers=2, **options)
    backbone = load(run).model.backbone
    assert len(backbone.qwen.language_model.layers) == 2
    name = "language_model.layers.1.mlp.up_proj.weight"
    torch.testing.assert_close(backbone.qwen.state_dict()[name], model.state_dict()[name], atol=1e-5, rtol=0)
    with pytest.raises(ForeactError, match="has 3 language layers, the backbone takes the first 4"):
        qwen.load(str(tmp_path / "qwen"), 4)
    (tmp_path / "qwen" / "tokenizer.json").write_text("{}")
    with pytest.raises(ForeactError, match=r"qwen: cannot be loaded as a Qwen3-VL with its tokenizer"):
        qwen.load(str(tmp_path / "qwen"), 2)


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (["dot", "silent"], {}, "training episodes have no instruction"),
        (["dot"], {"seconds": 1.0}, "looks 0.8 s ahead, and so must the policy: leave out --seconds"),
        (["dot"], {"execute": 9}, "a chunk of 0.8 s has 8 actions"),
        (["dot"], {"views": "wrist"}, "no camera observation.images.wrist: the recordings have observation.images.top"),
        (["dot"], {"encoder": "pixels"}, "sees what its LaWM was trained on"),
    ],
    ids=["words", "horizon", "execute", "camera", "encoder"],
)
def test_what_does_not_fit_is_named(runs, tmp_path, capsys, data, options, message):
    with pytest.raises(SystemExit):
        train(runs, "lawam", *data, out=tmp_path / "run", lawm=runs / "lawm", **options)
    assert message in capsys.readouterr().err.replace("\n", " ")
