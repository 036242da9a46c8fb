"""A model of pixels among models of features: trained and evaluated through the command line, judged by the common encoder."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from evaluation_fakes import SIZE, SPEC, FakeWorldModel, PatchDecoder, PatchEncoder

from foreact import load
from foreact.cli import main
from foreact.core.pretrained import load_model
from foreact.core.progress import progress_bar
from foreact.data.lerobot import LeRobotDataset
from foreact.encoders.pixels import PixelEncoder
from foreact.evaluation.rollout_scorer import EvaluationConfig, RolloutScorer
from foreact.evaluation.rollouts import Protocol, Window
from foreact.evaluation.session import common_tokens
from foreact.recordings.token_cache import TokenCache
from foreact.training.run import TrainRequest, run_training
from foreact.world_models.video_diffusion import VideoTraining

PROTOCOL = Protocol(steps=14, chunk=7, samples=2)


class StillVideo(FakeWorldModel):
    """Imagines that the picture stays as it is."""

    def __init__(self, image_size):
        super().__init__(gain=0.0)
        self.config.tokens = PixelEncoder(image_size).spec


@pytest.fixture(scope="module")
def scorer(make_dataset, tmp_path_factory):
    dataset = LeRobotDataset(make_dataset(lengths=(19, 23), height=SIZE, width=SIZE))
    cache = TokenCache.open(dataset, PatchEncoder(), tmp_path_factory.mktemp("cache"))
    return RolloutScorer(
        cache=cache, config=EvaluationConfig(protocol=PROTOCOL), device=torch.device("cpu"), decoder=PatchDecoder()
    )


@pytest.mark.parametrize("image_size", [SIZE, 2 * SIZE])
def test_its_pictures_are_seen_by_the_common_encoder_and_are_its_own(scorer, image_size):
    window = Window(episode=1, start=3)
    tokens, pictures = scorer.future(StillVideo(image_size), window)
    assert tokens.shape == (1, 2, SPEC.count, SPEC.channels)
    filmed = scorer.cache.dataset.frames(1, start=3, count=1)[0]
    truth = torch.from_numpy(scorer.cache.tokens(1)[3].astype(np.float32))
    torch.testing.assert_close(tokens[0, 1], truth, atol=0.02 if image_size == SIZE else 0.1, rtol=0)
    assert pictures.shape == (1, 2, SIZE, SIZE, 3)
    assert (pictures[0, 1] - torch.from_numpy(filmed) / 255).abs().mean() < 0.02
    features = dataclasses.replace(scorer, decoder=None).future(FakeWorldModel(gain=0.0), window)
    torch.testing.assert_close(features[0][0, 0], truth)
    assert features[1] is None


@pytest.fixture(scope="module")
def video_run(trained, in_small, tiny_dataset):
    root, _ = trained
    run = root / "video/video-diffusion"
    request = TrainRequest(
        kind="video_diffusion",
        data=tiny_dataset,
        out=run,
        cache=root / "cache",
        options=VideoTraining(image_size=32),
        overrides={"steps": 2, "batch_size": 2, "precision": "no"},
    )
    with in_small():
        run_training(request, progress_bar)
    return run


@pytest.mark.slow
def test_it_is_trained_and_evaluated_beside_a_model_of_features(place, tiny_dataset, video_run, tmp_path):
    root, _ = place
    where = ["--data", str(tiny_dataset), "--cache", str(root / "cache"), "--out", str(tmp_path / "r.json")]
    where += ["--image-decoder", str(root / "runs/image-decoder"), "--starts", "1", "--samples", "2"]
    main(["evaluate", str(video_run), str(root / "runs/dino-wm"), *where])
    results = json.loads((tmp_path / "r.json").read_text())
    rows = {(r["model"], r["metric"]) for r in results["rows"]}
    for model in ("video_diffusion", "dino_wm", "persistence"):
        assert {(model, "token_l1"), (model, "ssim")} <= rows
    assert ("video_diffusion", "token_l1_best_of_k") in rows
    assert (
        results["encoder"]
        == json.loads((root / "runs/dino-wm/config.json").read_text())["config"]["tokens"]["fingerprint"]
    )
    flow = results["cost"]["video_diffusion"]["flow"]
    assert flow["calls"] == 3 * (2 * 8 + 1)
    assert {"flow_step", "flow"} == results["cost"]["video_diffusion"].keys()
    assert "video_diffusion" in {t["model"] for t in results["timings"]}


def test_features_are_common_before_pixels_are(place, video_run):
    video, features = load_model(video_run), load_model(place[0] / "runs/dino-wm")
    decoder = load_model(place[0] / "runs/image-decoder")
    assert common_tokens({"video": video, "dino_wm": features}, None) == features.config.tokens
    assert common_tokens({"video": video}, decoder) == decoder.config.tokens
    assert common_tokens({"video": video}, None).fingerprint == "pixels/16/32"


def test_it_draws_what_it_imagines_without_an_image_decoder(video_run):
    model = load(video_run)
    frame = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    future = model.imagine(frame, np.zeros((7, 2), dtype=np.float32), chunk=5)
    assert future.frames.shape == (2, 32, 32, 3)
    assert future.frames.std() > 0


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("video-diffusion", ["--encoder", "tiny", "--image-size", "32"], "sees pixels"),
        ("dino-wm", ["--pretrained", "folder"], "--pretrained is not an option of dino-wm"),
    ],
)
def test_bad_requests_end_with_one_line(place, tiny_dataset, tmp_path, capsys, model, options, message):
    where = ["--data", str(tiny_dataset), "--cache", str(place[0] / "cache"), "--out", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as ended:
        main(["train", model, *where, *options])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
