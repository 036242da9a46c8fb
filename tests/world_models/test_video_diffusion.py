"""Video diffusion: no look ahead, own noise levels, guidance, frames kept in mind, bad input; and that it learns to follow actions."""

import dataclasses
import sys

import pytest
import torch
from lively import lively
from small_models import predict, seeded

from foreact.core.batch import Batch
from foreact.core.cards import DataSpec
from foreact.core.errors import ForeactError
from foreact.core.presets import preset
from foreact.core.pretrained import load_model, meta_build
from foreact.core.token_spec import TokenSpec
from foreact.encoders.pixels import PixelEncoder
from foreact.nn.past import Past
from foreact.world_models.pretrained_video import PretrainedVideo
from foreact.world_models.video_diffusion import CARD, VideoDiffusionConfig

A, H = 3, 7
PIXELS = PixelEncoder(32).spec
CONFIG = VideoDiffusionConfig(
    tokens=PIXELS, action_dim=A, horizon=H, stride=2, patch=4, widths=(16, 24), stages=1, steps=3
)
B, T, D = 2, 5, 4 * CONFIG.widths[0]


def clip():
    g = seeded(1)
    return {
        "x_BTchw": torch.randn(B, T, 48, 8, 8, generator=g),
        "level_BT": torch.randint(1000, (B, T), generator=g),
        "action_BTD": torch.randn(B, T, D, generator=g),
        "first_Bchw": torch.randn(B, 48, 8, 8, generator=g),
    }


def chunk(batch=B):
    g = seeded(2)
    tokens = torch.rand(batch, PIXELS.count, PIXELS.channels, generator=g)
    return tokens, torch.randn(batch, H, A, generator=g), torch.arange(batch) % H + 1


@pytest.mark.parametrize("changed", ["x_BTchw", "level_BT", "action_BTD"])
def test_what_comes_later_changes_nothing_before_it(changed):
    model, given = lively(CONFIG).train(), clip()  # as in training
    before = model.velocity(**given)
    later = given[changed].clone()
    later[:, 3] = (later[:, 3] + 500) % 1000 if changed == "level_BT" else later[:, 3] + 1
    after = model.velocity(**{**given, changed: later})
    assert torch.equal(after[:, :3], before[:, :3])
    for frame in (3, 4):
        assert not torch.allclose(after[:, frame], before[:, frame], atol=1e-4)


def test_frames_kept_in_mind_give_what_the_whole_clip_gives():
    model, given = lively(CONFIG), clip()
    past, first = Past(), given.pop("first_Bchw")
    one_by_one = [
        model.velocity(**{k: v[:, t : t + 1] for k, v in given.items()}, first_Bchw=first, past=past) for t in range(T)
    ]
    torch.testing.assert_close(
        torch.cat(one_by_one, dim=1), model.velocity(**given, first_Bchw=first), atol=1e-4, rtol=1e-4
    )
    past.keeps = False
    newest = {k: v[:, -1:] for k, v in given.items()}
    again = [model.velocity(**newest, first_Bchw=first, past=past) for _ in range(2)]
    assert torch.equal(*again)


def test_frames_of_a_clip_get_levels_of_their_own_and_only_real_ones_count():
    model = lively(CONFIG)
    tokens, actions, _ = chunk(64)
    lengths = torch.full((64,), 3)  # two generated frames of four
    frames = tokens[:, None].repeat(1, CONFIG.frames, 1, 1)
    seen = []
    plain = model.velocity
    model.velocity = lambda x, level, *rest: seen.append(level) or plain(x, level, *rest)
    batch = Batch(tokens_t=tokens, tokens_th=tokens, lengths=lengths, actions=actions, clip=frames)
    loss = model.loss(batch, seeded())["loss"]
    assert seen[0].shape == (64, 1 + CONFIG.frames)
    assert torch.corrcoef(seen[0].float().T).fill_diagonal_(0).abs().max() < 0.5
    assert seen[0].min() < 50
    assert seen[0].max() > 950
    other = frames.clone()
    other[:, 2:] = torch.rand(other[:, 2:].shape)
    torch.testing.assert_close(model.loss(dataclasses.replace(batch, clip=other), seeded())["loss"], loss)
    other[:, 1] = torch.rand(other[:, 1].shape)
    assert not torch.allclose(model.loss(dataclasses.replace(batch, clip=other), seeded())["loss"], loss)


def test_guidance_pushes_the_newest_action():
    model, (tokens, actions, _) = lively(CONFIG), chunk()
    lengths = torch.full((B,), 2)
    futures = {}
    for strength in (0.0, 1.0, 3.0):
        model.config = dataclasses.replace(CONFIG, guidance=strength)
        futures[strength] = predict(model, tokens, actions, lengths)
    for one, other in ((0.0, 1.0), (1.0, 3.0), (0.0, 3.0)):
        assert not torch.allclose(futures[one], futures[other], atol=1e-3)
    model.config = dataclasses.replace(CONFIG, guidance=0.0, guidance_rescale=0.0)
    without = [predict(model, tokens, actions + k, lengths) for k in range(2)]
    assert torch.equal(*without)  # the chunk's only generated frame, and its actions are ignored


def test_calls_of_a_chunk_are_two_per_step_and_frame_and_one_to_remember():
    model, (tokens, actions, _) = lively(CONFIG), chunk()
    calls = []
    model.network.register_forward_hook(lambda *_: calls.append(1))
    predict(model, tokens, actions, torch.tensor([1, H]))
    assert len(calls) == CONFIG.frames * (2 * CONFIG.steps + 1)


def test_a_short_chunk_in_a_batch_is_what_it_is_alone():
    model, (tokens, actions, _) = lively(CONFIG), chunk()
    both = predict(model, tokens, actions, torch.tensor([2, H]))
    alone = predict(model, tokens, actions, torch.tensor([2, 2]))
    torch.testing.assert_close(both[0], alone[0])
    assert not torch.allclose(both[1], alone[1], atol=1e-3)
    assert 0 <= both.min() <= both.max() <= 1


def test_a_folder_gives_the_same_futures(tmp_path):
    model = lively(CONFIG)
    model.save_pretrained(tmp_path)
    torch.testing.assert_close(predict(load_model(tmp_path), *chunk()), predict(model, *chunk()))


def test_features_sizes_that_do_not_divide_and_pairs_without_clips_are_refused():
    features = TokenSpec(grid=(3, 5), channels=7, fingerprint="tiny@0", encoder="tiny", image_size=48)
    with pytest.raises(ForeactError, match="sees pixels, not tokens of tiny: use --encoder pixels"):
        dataclasses.replace(CONFIG, tokens=features).build()
    with pytest.raises(ForeactError, match="48 px do not divide into squares of 32"):
        dataclasses.replace(CONFIG, tokens=PixelEncoder(48).spec, patch=16).build()
    tokens, actions, lengths = chunk()
    with pytest.raises(ValueError, match="learns from clips"):
        CONFIG.build().loss(Batch(tokens_t=tokens, tokens_th=tokens, lengths=lengths, actions=actions), seeded())


def test_pretrained_weights_without_diffusers_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ForeactError, match=r"pip install 'foreact\[video\]'"):
        PretrainedVideo.start_from("somewhere", CONFIG)


@pytest.mark.slow
def test_it_learns_to_follow_actions():
    """The picture gets brighter or darker as the action says."""
    torch.manual_seed(0)
    config = dataclasses.replace(CONFIG, action_dim=1, horizon=1, stride=1, patch=8, widths=(32, 48), steps=4)
    model = config.build()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)

    def pairs(seed, rows=32):
        g = seeded(seed)
        light, action = 0.4 + 0.2 * torch.rand(rows, 1, 1, generator=g), torch.rand(rows, 1, 1, generator=g) * 2 - 1
        s_t = light.expand(rows, PIXELS.count, PIXELS.channels)
        s_th = s_t + 0.3 * action
        return Batch(tokens_t=s_t, tokens_th=s_th, lengths=torch.ones(rows).long(), actions=action, clip=s_th[:, None])

    for step in range(150):
        optimizer.zero_grad()
        model.loss(pairs(step), seeded(step))["loss"].backward()
        optimizer.step()
    model.eval()
    held_out = pairs(10**6)
    future = predict(model, held_out.tokens_t, held_out.actions, held_out.lengths)
    error = (future - held_out.tokens_th).abs().mean()
    assert error < 0.4 * (held_out.tokens_t - held_out.tokens_th).abs().mean()


def test_papers_size():
    """About DynamiCrafter's U-Net without its attention to text and pictures (1.1 B parameters with them)."""
    data = DataSpec(tokens=PixelEncoder(512).spec, action_dim=8)
    model = meta_build(CARD.training().configure(preset("paper"), data))
    assert model.num_parameters() == pytest.approx(717e6, rel=0.02)
    assert model.config.frames == 15
