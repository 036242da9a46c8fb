"""A video model with random weights on disk, as diffusers writes it: loaded whole, made causal, trained, saved; or refused."""

import dataclasses
import json

import pytest
import torch
from small_models import predict, seeded

from foreact.core.batch import Batch
from foreact.core.cards import DataSpec
from foreact.core.errors import ForeactError
from foreact.core.presets import preset
from foreact.core.pretrained import load_model
from foreact.encoders.pixels import PixelEncoder
from foreact.nn.past import Past
from foreact.world_models.video_diffusion import VideoDiffusionConfig, VideoTraining

diffusers = pytest.importorskip("diffusers")  # the extra [video]

from foreact.world_models.pretrained_video import PretrainedVideo  # noqa: E402
from foreact.world_models.svd_unet import BackwardConvolution  # noqa: E402

A, H, B, T, D = 3, 5, 2, 4, 128
CONFIG = VideoDiffusionConfig(tokens=PixelEncoder(32).spec, action_dim=A, horizon=H, stride=2, steps=2)


def video_model():
    torch.manual_seed(0)
    return diffusers.UNetSpatioTemporalConditionModel(
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        layers_per_block=1,
        num_attention_heads=(2, 4),
        cross_attention_dim=16,
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=24,
    ).eval()


def save(unet, root):
    unet.save_pretrained(root / "unet")
    blocks = {"block_out_channels": (32, 32), "down_block_types": ("DownEncoderBlock2D",) * 2, "layers_per_block": 1}
    diffusers.AutoencoderKLTemporalDecoder(**blocks).save_pretrained(root / "vae")
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save(video_model(), tmp_path_factory.mktemp("video"))


@pytest.fixture
def model(folder):
    return PretrainedVideo.start_from(str(folder), CONFIG).eval()


def clip(model):
    g = seeded(1)
    shape = model.to_latents(torch.zeros(1, 3, 32, 32)).shape[1:]
    return {
        "x_BTchw": torch.randn(B, T, *shape, generator=g),
        "level_BT": torch.randint(1000, (B, T), generator=g),
        "action_BTD": torch.randn(B, T, D, generator=g),
        "first_Bchw": torch.randn(B, *shape, generator=g),
    }


def chunk():
    g = seeded(2)
    tokens = torch.rand(B, CONFIG.tokens.count, CONFIG.tokens.channels, generator=g)
    return tokens, torch.randn(B, H, A, generator=g), torch.tensor([1, H])


@torch.no_grad()
def test_one_frame_is_to_it_what_it_is_to_the_original(tmp_path):
    original = video_model()
    for layer in (m for m in original.modules() if isinstance(m, torch.nn.Conv3d) and m.kernel_size[0] == 3):
        layer.weight[:, :, ::2] = 0  # neighbours that are not there are zeros to one, extrapolated by the other
    model = PretrainedVideo.start_from(str(save(original, tmp_path)), CONFIG).eval()
    given = {name: value[:, :1] for name, value in clip(model).items() if name != "first_Bchw"}
    first = clip(model)["first_Bchw"]
    given["action_BTD"] = torch.zeros(B, 1, D)
    for level in (0, 500, 990):  # the last ones are noisier than it ever saw, and told as its noisiest
        given["level_BT"] = torch.full((B, 1), level)
        sigma = ((1 - model.powers[level]) / model.powers[level]).sqrt()
        beside = first[:, None] / model.vae.config.scaling_factor
        ids = torch.tensor([[6.0, 127.0, 0.0]]).expand(B, -1)
        context = torch.zeros(B, 1, 16)
        truth = original(torch.cat([given["x_BTchw"], beside], dim=2), sigma.log() / 4, context, ids).sample
        torch.testing.assert_close(model.velocity(**given, first_Bchw=first), truth, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("changed", ["x_BTchw", "level_BT", "action_BTD"])
@torch.no_grad()
def test_what_comes_later_changes_nothing_before_it(model, changed):
    given = clip(model)
    before = model.velocity(**given)
    later = given[changed].clone()
    later[:, 2] = (later[:, 2] + 500) % 1000 if changed == "level_BT" else later[:, 2] + 1
    after = model.velocity(**{**given, changed: later})
    torch.testing.assert_close(after[:, :2], before[:, :2], atol=1e-5, rtol=0)
    for frame in (2, 3):
        assert (after[:, frame] - before[:, frame]).abs().max() > 1e-3


@torch.no_grad()
def test_frames_kept_in_mind_give_what_the_whole_clip_gives(model):
    given, past = clip(model), Past()
    first = given.pop("first_Bchw")
    singly = [{k: v[:, t : t + 1] for k, v in given.items()} for t in range(T)]
    one_by_one = torch.cat([model.velocity(**one, first_Bchw=first, past=past) for one in singly], dim=1)
    torch.testing.assert_close(one_by_one, model.velocity(**given, first_Bchw=first), atol=1e-4, rtol=1e-4)


def test_the_next_frame_is_extrapolated():
    layer = torch.nn.Conv3d(5, 7, (3, 1, 1), padding=(1, 0, 0))
    start, step = torch.randn(2, 5, 1, 3, 3), torch.randn(2, 5, 1, 3, 3)
    even = start + step * torch.arange(6.0)[:, None, None]
    causal = BackwardConvolution.of(layer)(even)
    torch.testing.assert_close(causal[:, :, 1:-1], layer(even)[:, :, 1:-1])  # at the ends both see zeros


def test_it_learns_actions_is_saved_and_predicts(model, tmp_path):
    tokens, actions, lengths = chunk()
    frames = tokens[:, None].expand(-1, CONFIG.frames, -1, -1)
    batch = Batch(tokens_t=tokens, tokens_th=tokens, lengths=lengths, actions=actions, clip=frames)
    model.train().loss(batch, seeded())["loss"].backward()
    assert all(
        (p.grad is None) == name.startswith("vae.") for name, p in model.named_parameters() if "attn2" not in name
    )
    assert model.embed_actions.mlp[-1].weight.grad.abs().max() > 0
    model.eval().save_pretrained(tmp_path)
    future = predict(model, tokens, actions, lengths)
    assert future.shape == tokens.shape
    torch.testing.assert_close(predict(load_model(tmp_path), tokens, actions, lengths), future)


def test_gradients_reach_the_actions_of_an_earlier_chunk_through_the_autoencoder(model):
    torch.nn.init.normal_(model.embed_actions.mlp[-1].weight, std=0.2)
    tokens, actions, _ = chunk()
    lengths, noise = torch.ones(B).long(), model.draw_noise(B, seeded())
    actions.requires_grad_()
    first = model.predict(tokens, actions, lengths, noise)
    model.predict(first, actions.detach(), lengths, noise).square().mean().backward()
    assert actions.grad.abs().max() > 0
    assert all(p.grad is None for p in model.vae.parameters())


def test_its_autoencoder_is_frozen_and_not_kept_in_checkpoints(folder):
    plan = VideoTraining(pretrained=str(folder), image_size=32).plan(preset("tiny"), {})
    assert set(plan.frozen) == {"vae"}
    made = plan.build(DataSpec(tokens=CONFIG.tokens, action_dim=A))
    assert {n.split(".")[0] for n, p in made.named_parameters() if not p.requires_grad} == {"vae"}


def test_other_models_gaps_and_empty_folders_are_refused(folder, tmp_path):
    import shutil

    with pytest.raises(ForeactError, match="no video model of diffusers' kind"):
        PretrainedVideo.start_from(str(tmp_path), CONFIG)
    for name in ("other", "gap", "none"):
        shutil.copytree(folder, tmp_path / name)
    config = json.loads((folder / "unet/config.json").read_text())
    (tmp_path / "other/unet/config.json").write_text(json.dumps({**config, "_class_name": "UNet2DConditionModel"}))
    with pytest.raises(ForeactError, match="its unet is a UNet2DConditionModel"):
        PretrainedVideo.start_from(str(tmp_path / "other"), CONFIG)
    from safetensors.torch import load_file, save_file

    weights = tmp_path / "gap/unet/diffusion_pytorch_model.safetensors"
    state = load_file(weights)
    state.pop("conv_out.bias")
    save_file(state, weights, metadata={"format": "pt"})
    with pytest.raises(ForeactError, match=r"do not fit its config: 1 tensors, \['conv_out.bias'\]"):
        PretrainedVideo.start_from(str(tmp_path / "gap"), CONFIG)
    (tmp_path / "none/vae/diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(ForeactError, match="the weights of its vae cannot be loaded"):
        PretrainedVideo.start_from(str(tmp_path / "none"), dataclasses.replace(CONFIG, stride=1))
