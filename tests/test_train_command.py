"""`foreact train` on small recordings: every model, resumes, and bad input with one clear line."""

import json
import shutil

import numpy as np
import pytest
import torch

from foreact import load
from foreact.cli import main
from foreact.core.pretrained import load_model
from foreact.core.registry import trainable
from foreact.encoders.loading import load_encoder
from foreact.encoders.tiny import TinyEncoderConfig
from foreact.training.journal import read_log


def error_of(capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()
    return said[-1]


def test_runs_leave_a_model_a_log_and_the_split(place):
    root, _ = place
    hashes = set()
    for model in ("rla", "rla-wm", "dino-wm", "fm-wm", "rae", "image-decoder"):
        run = root / "runs" / model
        assert {"config.json", "model.safetensors", "README.md", "split.json", "run.json", "log.jsonl"} <= {
            p.name for p in run.iterdir()
        }
        hashes.add(json.loads((run / "run.json").read_text())["split_hash"])
        last = read_log(run)[-1]
        assert last["step"] == 3
        assert np.isfinite(last["held_out_loss"])
        assert last["held_out_loss"] != last["loss"]
    assert len(hashes) == 1


def test_a_loaded_world_model_brings_its_encoder_and_image_decoder_and_imagines(place, tiny_dataset):
    from foreact.data.lerobot import LeRobotDataset

    root, _ = place
    dataset = LeRobotDataset(tiny_dataset)
    frame, actions = dataset.frames(0, count=1)[0], dataset.actions(0)[:23]
    for model in ("rla-wm", "dino-wm", "fm-wm", "rae"):
        world = load(root / "runs" / model)
        future = world.imagine(frame, actions, seed=3, chunk=10)
        assert future.tokens.shape == (3, 64, 24)
        assert future.frames.shape == (3, 128, 128, 3)
        assert future.frames.dtype == np.uint8
        assert future.steps.tolist() == [10, 20, 23]
        np.testing.assert_array_equal(world.imagine(frame, actions, seed=3).tokens, future.tokens)


def test_the_world_model_holds_the_trained_autoencoder_unchanged(place):
    root, _ = place
    rla, world = load(root / "runs" / "rla"), load(root / "runs" / "rla-wm").world_model
    for name, tensor in rla.state_dict().items():
        assert torch.equal(world.rla.state_dict()[name], tensor)
    assert not torch.equal(world.latent_std, torch.ones_like(world.latent_std))
    assert not torch.equal(world.normalise.mean, torch.zeros(2))


def test_bad_frames_and_actions_are_refused(place):
    from foreact import ForeactError

    world = load(place[0] / "runs" / "rla-wm")
    frame, actions = np.zeros((48, 64, 3), np.uint8), np.zeros((5, 2))
    with pytest.raises(ForeactError, match=r"must be \(steps, 2\)"):
        world.imagine(frame, np.zeros((5, 3)))
    with pytest.raises(ForeactError, match="NaN or infinite"):
        world.imagine(frame, actions * np.nan)
    with pytest.raises(ForeactError, match="1 to 15 actions, not 16"):
        world.imagine(frame, actions, chunk=16)
    with pytest.raises(ForeactError, match="frames are uint8"):
        world.imagine(frame.astype(np.float32), actions)


def test_encoding_on_the_fly_trains_the_same_model(place):
    root, common = place
    main(["train", "rla", "--out", str(root / "live" / "rla"), "--steps", "3", "--no-cache", *common])
    cached, live = load(root / "runs" / "rla").state_dict(), load(root / "live" / "rla").state_dict()
    for name in cached:
        torch.testing.assert_close(cached[name], live[name], atol=1e-4, rtol=1e-3)


def test_an_encoder_trained_on_recordings_resumes_and_encodes(tiny_dataset, tmp_path):
    run = tmp_path / "encoder"
    arguments = [
        "train",
        "encoder",
        "--data",
        str(tiny_dataset),
        "--out",
        str(run),
        "--steps",
        "2",
        "--batch-size",
        "2",
    ]
    main(arguments)
    weights = (run / "model.safetensors").read_bytes()
    main(arguments)
    assert (run / "model.safetensors").read_bytes() == weights
    assert [row["step"] for row in read_log(run)][-1] == 2
    encoder = load_encoder(str(run), image_size=64)
    tokens = encoder.encode(torch.zeros(1, 48, 48, 3, dtype=torch.uint8))
    assert tokens.shape == (1, 16, encoder.spec.channels)
    assert encoder.spec.fingerprint != load_encoder("tiny", image_size=64).spec.fingerprint
    assert tokens.isfinite().all()


@pytest.mark.parametrize(("latent", "said"), [("8", "8x16"), ("0x4", "8x16"), ("axb", "8x16")])
def test_a_latent_of_another_form_is_refused(place, tmp_path, capsys, latent, said):
    arguments = place[1]
    assert said in error_of(capsys, ["train", "rla", *arguments, "--out", str(tmp_path / "rla"), "--latent", latent])


def test_the_latent_can_be_chosen_for_rla_alone(place, tmp_path, capsys):
    arguments = place[1]
    main(["train", "rla", *arguments, "--out", str(tmp_path / "rla"), "--latent", "3x5", "--steps", "1"])
    config = load(tmp_path / "rla").config
    assert (config.latent_tokens, config.latent_channels) == (3, 5)
    refused = error_of(capsys, ["train", "dino-wm", *arguments, "--out", str(tmp_path / "wm"), "--latent", "3x5"])
    assert refused == "foreact: --latent is not an option of dino-wm (see foreact train dino-wm --help)"


def test_running_again_is_a_resume_and_other_settings_are_refused(place, capsys):
    root, common = place
    main(["train", "rla", "--out", str(root / "runs" / "rla"), "--steps", "3", *common])
    message = error_of(
        capsys, ["train", "rla", "--out", str(root / "runs" / "rla"), "--steps", "3", "--seed", "9", *common]
    )
    assert "begun with other settings" in message


@pytest.mark.parametrize(
    "model", [k.replace("_", "-") for k in (*trainable("world_model"), *trainable("latent_action"))]
)
def test_in_bf16_every_model_goes_the_way_it_goes_in_float32(place, tmp_path, model):
    """After three steps. Rounding to bf16 changes the losses by 1e-6 to 6e-3 of them, and it does change them."""
    root, common = place
    encoder = ["--encoder", "pixels", "--image-size", "32"] if model in ("video-diffusion", "adaworld") else common[4:6]
    if model == "rla-wm":
        encoder = [*encoder, "--rla", str(root / "runs/rla")]
    rows = {}
    for precision in ("bf16", "no"):
        run = tmp_path / precision
        options = ["--steps", "3", "--batch-size", "4", *common[:4], *encoder, "--precision", precision]
        main(["train", model, "--out", str(run), *options])
        rows[precision] = read_log(run)[-1]
    for value, tolerance in (("loss", 0.02), ("held_out_loss", 0.02), ("gradient_norm", 0.05)):
        assert rows["bf16"][value] == pytest.approx(rows["no"][value], rel=tolerance), value
    assert rows["bf16"]["loss"] != rows["no"]["loss"]


@pytest.mark.parametrize(
    "model", [k.replace("_", "-") for k in (*trainable("world_model"), *trainable("latent_action"))]
)
def test_every_model_of_the_tiny_preset_trains_as_wide_as_it_is(trained, tmp_path, model):
    common = trained[1]
    beside = ["--rla", str(tmp_path / "rla")] if model == "rla-wm" else []
    options = [*common[:4], "--steps", "2", "--batch-size", "4", "--image-size", "64"]
    if beside:
        main(["train", "rla", "--out", str(tmp_path / "rla"), *options])
    main(["train", model, "--out", str(tmp_path / "run"), *options, *beside])
    assert np.isfinite(read_log(tmp_path / "run")[-1]["held_out_loss"])
    assert load_model(tmp_path / "run").num_parameters() > 5e5


def test_a_run_of_an_earlier_version_goes_on(place, tmp_path):
    root, common = place
    run = tmp_path / "rla"
    shutil.copytree(root / "runs" / "rla", run)
    (state,) = run.glob("checkpoints/*/state.json")
    described = json.loads(state.read_text())
    assert described["about"]["model"].pop("decoder_merge") == 1  # a field that was added later
    state.write_text(json.dumps(described))
    main(["train", "rla", "--out", str(run), "--steps", "3", *common])


def test_rla_learns_from_actionless_videos_and_world_models_refuse_them(place, actionless_dataset, capsys):
    root, common = place
    data = ["--data", str(actionless_dataset), *common[2:]]
    main(["train", "rla", "--out", str(root / "actionless" / "rla"), "--steps", "2", *data])
    message = error_of(
        capsys, ["train", "dino-wm", "--out", str(root / "actionless" / "dino-wm"), "--steps", "2", *data]
    )
    assert "no episode with actions" in message


def test_only_labelled_episodes_reach_a_world_model(place, partly_actionless_dataset):
    root, common = place
    data = ["--data", str(partly_actionless_dataset), *common[2:]]
    main(["train", "dino-wm", "--out", str(root / "partly" / "dino-wm"), "--steps", "2", *data])
    assert torch.isfinite(load(root / "partly" / "dino-wm").world_model.normalise.mean).all()


def test_a_world_model_without_an_autoencoder_says_what_to_do(place, tmp_path, capsys):
    message = error_of(capsys, ["train", "rla-wm", "--out", str(tmp_path / "x" / "rla-wm"), *place[1]])
    assert "no trained rla beside" in message
    assert "--rla" in message


def test_tokens_of_another_encoder_are_refused(place, tmp_path, capsys):
    root, common = place
    torch.manual_seed(1)
    TinyEncoderConfig(stem=(8, 8, 8), dim=24, depth=1, heads=3).build().save_pretrained(tmp_path / "encoder")
    other = [a if a != str(root / "encoder") else str(tmp_path / "encoder") for a in common]
    message = error_of(capsys, ["train", "rla-wm", "--out", str(root / "runs" / "other"), "--steps", "2", *other])
    assert "was trained on tokens of encoder" in message


def test_nan_actions_are_named(place, tiny_dataset, tmp_path, capsys):
    import pyarrow as pa
    import pyarrow.parquet as pq

    _, common = place
    data = tmp_path / "data"
    shutil.copytree(tiny_dataset, data)
    path = sorted(data.glob("data/chunk-*/file-*.parquet"))[0]
    table = pq.read_table(path)
    actions = table["action"].to_pylist()
    actions[5] = [float("nan"), 1.0]
    column = pa.array(actions, type=table["action"].type)
    pq.write_table(table.set_column(table.column_names.index("action"), "action", column), path)
    message = error_of(
        capsys, ["train", "dino-wm", "--out", str(tmp_path / "run"), *["--data", str(data), *common[2:]]]
    )
    assert "episode 0, row 5: action target_x is nan" in message


@pytest.mark.parametrize("option", [["--steps", "0"], ["--batch-size", "0"], ["--learning-rate", "nan"]])
def test_senseless_numbers_are_refused(place, tmp_path, capsys, option):
    message = error_of(capsys, ["train", "rla", "--out", str(tmp_path), *place[1][:6], *option])
    assert "must be at least 1" in message


def test_missing_data_and_wrong_usage_end_with_one_line(tmp_path, capsys):
    out = ["--out", str(tmp_path / "run")]
    assert "no such dataset folder" in error_of(capsys, ["train", "rla", "--data", str(tmp_path / "none"), *out])
    assert "invalid choice 'huge'" in error_of(capsys, ["train", "rla", "--data", "x", *out, "--preset", "huge"])
    assert "--data" in error_of(capsys, ["train", "rla"])


@pytest.mark.parametrize("model", ["univla", "lawm", "adaworld", "dino-cls"])
def test_rivals_of_rla_train_on_actionless_videos_and_carry_their_tokens(place, actionless_dataset, model):
    root, common = place
    data = ["--data", str(actionless_dataset), *common[2:4], "--batch-size", "4", "--precision", "no"]
    encoder = [] if model == "adaworld" else ["--encoder", str(root / "encoder")]
    run = root / "actionless" / model
    main(["train", model, "--out", str(run), "--steps", "2", "--image-size", "32", *data, *encoder])
    trained = load_model(run)
    given = {"adaworld": "pixels", "dino-cls": f"cls:{root / 'encoder'}"}
    assert trained.config.tokens.encoder == given.get(model, str(root / "encoder"))
    patches = torch.rand(3, trained.config.tokens.count, trained.config.tokens.channels)
    assert trained.decode(patches, trained.infer(patches, patches)).shape == patches.shape
    assert read_log(run)[-1]["step"] == 2


def test_merged_patches_can_be_chosen_and_must_fit(place, tmp_path, capsys):
    root, arguments = place
    command = ["train", "rla-wm", *arguments, "--rla", str(root / "runs" / "rla"), "--out", str(tmp_path / "wm")]
    main([*command, "--merge", "2", "--steps", "1"])
    assert load_model(tmp_path / "wm").config.extras.condition_merge == 2
    other = [*command[:-1], str(tmp_path / "other"), "--merge", "3"]
    assert "--merge 3 does not fit 8 x 8 patches" in error_of(capsys, other)
    assert "--merge is a choice of the paper's variant" in error_of(capsys, [*other, "--variant", "released"])
    decoder = ["train", "rla", *arguments, "--steps", "1", "--out"]
    main([*decoder, str(tmp_path / "rla"), "--merge", "2"])
    assert load_model(tmp_path / "rla").config.decoder_merge == 2
    assert "--merge 3 does not fit" in error_of(capsys, [*decoder, str(tmp_path / "other"), "--merge", "3"])


def test_a_student_with_fewer_steps_is_made_of_a_trained_world_model(place, tmp_path, capsys):
    root, arguments = place
    teacher = root / "runs" / "rla-wm"
    command = ["train", "rla-wm", *arguments, "--teacher", str(teacher), "--flow-steps", "1", "--steps", "2"]
    main([*command, "--out", str(tmp_path / "student")])
    student, origin = load_model(tmp_path / "student"), load_model(teacher)
    assert student.config.steps == 1
    for name, tensor in origin.state_dict().items():
        assert torch.equal(student.state_dict()[name], tensor) != (name.startswith("flow.") and "code" not in name), (
            name
        )
    main([*command, "--out", str(tmp_path / "student")])  # finished: nothing left to do
    wrong = [*command[:1], "dino-wm", *command[2:], "--out", str(tmp_path / "other")]
    assert "--teacher is not an option of dino-wm (see foreact train dino-wm --help)" in error_of(capsys, wrong)
    deep = [*command, "--out", str(tmp_path / "other"), "--flow-depth"]
    assert "--flow-depth: a student's flow has 1 to" in error_of(capsys, [*deep, "99"])
    alone = ["train", "rla-wm", *arguments, "--out", str(tmp_path / "other"), "--flow-depth", "1"]
    assert "--flow-depth is a choice of an rla-wm with a --teacher" in error_of(capsys, alone)
    missing = [*command, "--out", str(tmp_path / "other"), "--teacher", str(root / "runs" / "dino-wm")]
    assert "not a rla_wm" in error_of(capsys, missing)


def test_lawm_trains_on_two_views_with_states_at_a_gap_in_seconds(place, tmp_path, capsys):
    common = [*place[1], "--image-size", "32"]
    whole = tmp_path / "whole"
    options = ["--seconds", "0.7", "--optimizer", "adamw"]
    main(["train", "lawm", "--out", str(whole), "--steps", "4", *options, *common])
    logged = read_log(whole)[-1]
    assert {"state", "kl", "skill"} <= logged.keys()
    trained = load_model(whole)
    assert trained.config.state_dim == 2
    assert trained.state_range[1].min() > 10  # agent positions in pixels
    assert (trained.state_range[0] == 1).all()
    about = json.loads(sorted(whole.glob("checkpoints/*/state.json"))[-1].read_text())["about"]
    assert about["sampling"]["seconds"] == 0.7
    assert about["views"]["area"] == [0.8, 1.0]
    plain = tmp_path / "plain"
    main(["train", "lawm", "--out", str(plain), "--steps", "4", "--no-augment", *options, *common])
    assert not torch.equal(load_model(plain).decoder.out.weight, trained.decoder.out.weight)
    other = error_of(capsys, ["train", "lawm", "--out", str(plain), "--steps", "4", *options, *common])
    assert "begun with other settings (model.two_views: False -> True" in other


def test_a_gap_in_seconds_that_no_episode_or_model_can_hold_is_refused(place, tmp_path, capsys):
    command = ["--out", str(tmp_path / "run"), "--steps", "2", *place[1], "--seconds"]
    assert "no episode is longer than 9 s (90 frames" in error_of(capsys, ["train", "rla", *command, "9"])
    assert "2 s are 20 actions" in error_of(capsys, ["train", "dino-wm", *command, "2"])
