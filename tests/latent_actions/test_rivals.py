"""UniVLA, AdaWorld, DINO-CLS: what z may hold, what the decoder sees, code use and restarts, pixels, that z carries a change."""

import dataclasses

import pytest
import torch
from fake_data import FakeTrainingData
from lively import lively

from foreact.core.batch import Batch
from foreact.core.pretrained import load_model
from foreact.core.token_spec import TokenSpec
from foreact.encoders.loading import load_encoder
from foreact.encoders.pixels import PixelEncoder, draw_pixels
from foreact.latent_actions.adaworld import AdaWorldConfig
from foreact.latent_actions.dino_cls import DinoCLSConfig
from foreact.latent_actions.univla import Codebook, UniVLAConfig
from foreact.nn.space_time import ActionTokenEncoder

TOKENS = TokenSpec(grid=(3, 5), channels=7, fingerprint="test@0", encoder="tiny", image_size=48)
UNIVLA = UniVLAConfig(tokens=TOKENS, dim=44, depth=2, heads=11, latent_tokens=3, latent_channels=13, codes=5)
ADAWORLD = AdaWorldConfig(tokens=TOKENS, dim=44, depth=2, heads=11, latent_channels=13)
BOTH = pytest.mark.parametrize(
    ("config", "shape"), [(UNIVLA, (3, 13)), (ADAWORLD, (1, 13))], ids=["univla", "adaworld"]
)


def tokens(seed, batch=2):
    return torch.rand(batch, 15, 7, generator=torch.Generator().manual_seed(seed))


@BOTH
def test_shapes_and_round_trip(config, shape, tmp_path):
    model = lively(config)
    z = model.infer(tokens(0), tokens(1))
    assert z.shape == (2, *shape)
    out = model.decode(tokens(0), z)
    assert out.shape == (2, 15, 7)
    assert not torch.allclose(model.decode(tokens(0), z + 1), out, atol=1e-3)
    model.save_pretrained(tmp_path)
    torch.testing.assert_close(load_model(tmp_path).infer(tokens(0), tokens(1)), z)


@BOTH
def test_loss_trains_everything(config, shape):
    model = lively(config).train()
    batch = Batch(tokens_t=tokens(0), tokens_th=tokens(1), lengths=torch.ones(2).long())
    model.loss(batch, torch.Generator())["loss"].backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]


@BOTH
def test_it_learns_to_carry_a_change_through_z(config, shape):
    torch.manual_seed(0)
    config = dataclasses.replace(config, restart_every=10) if config is UNIVLA else config
    model = dataclasses.replace(config, depth=1, heads=4).build()
    base, other = tokens(0, 1).expand(32, -1, -1), tokens(1, 1)
    which = torch.arange(32)[:, None, None] % 2
    batch = Batch(tokens_t=base, tokens_th=torch.where(which == 0, base, other), lengths=torch.ones(32).long())
    if (
        config.kind == "univla"
    ):  # its codes settle before small changes are worth learning, unless they are put in units
        model.scale.fit(batch.tokens_t, batch.tokens_th)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(80):
        optimizer.zero_grad()
        scalars = model.loss(batch, torch.Generator().manual_seed(step))
        scalars["loss"].backward()
        optimizer.step()
        if config.kind == "univla":
            model.after_step(step + 1, 80)
    model.eval()
    z = model.infer(batch.tokens_t, batch.tokens_th)
    with torch.no_grad():
        right = (model.decode(batch.tokens_t, z) - batch.tokens_th).square().mean()
        wrong = (model.decode(batch.tokens_t, z.roll(1, 0)) - batch.tokens_th).square().mean()
    assert right < 0.2 * wrong
    assert scalars["skill"] > 0.5


def test_univlas_z_is_made_of_codes_and_gradients_pass_through():
    model = lively(UNIVLA)
    z = model.infer(tokens(0, 9), tokens(1, 9))
    assert torch.cdist(z.flatten(0, 1), model.codebook.vectors).min(dim=1).values.max() < 1e-3
    model.train()
    batch = Batch(tokens_t=tokens(0), tokens_th=tokens(1), lengths=torch.ones(2).long())
    scalars = model.loss(batch, torch.Generator())
    assert 1 <= scalars["perplexity"] <= 5
    assert scalars["codes_used"] >= scalars["perplexity"] - 1e-4
    scalars["loss"].backward()
    assert model.encoder.project[1].weight.grad.abs().sum() > 0


def test_unused_codes_are_restarted_next_to_used_ones_and_used_ones_stay():
    book = Codebook(5, 13)
    with torch.no_grad():
        book.vectors.copy_(torch.arange(5.0)[:, None].expand(5, 13) * 10)
    before = book.vectors.detach().clone()
    for _ in range(2):  # what this step counted is settled with the next
        book.count(torch.tensor([[1, 3, 3]]), torch.zeros(1, 3, 13))
    book.restart(torch.Generator().manual_seed(0))
    assert torch.equal(book.vectors[[1, 3]], before[[1, 3]])
    for moved in book.vectors[[0, 2, 4]]:
        assert torch.cdist(moved[None], before[[1, 3]]).min() < 10
    assert book.used.sum() == 0
    untouched = book.vectors.detach().clone()
    book.restart(torch.Generator().manual_seed(0))  # nothing counted since
    assert torch.equal(book.vectors, untouched)


def test_a_causal_encoder_keeps_the_first_frame_from_the_second():
    seen = {}
    for causal in (True, False):
        torch.manual_seed(0)
        encoder = ActionTokenEncoder((3, 5), 7, actions=3, dim=44, heads=11, depth=2, causal=causal)
        streams = []
        encoder.blocks[-1].register_forward_hook(lambda _, __, out, kept=streams: kept.append(out[:, 0]))
        encoder(tokens(0), tokens(1))
        encoder(tokens(0), tokens(2))
        seen[causal] = torch.allclose(*streams, atol=1e-6)
    assert seen == {True: True, False: False}


def test_adaworlds_noise_is_in_training_alone_and_pixels_stay_in_range():
    model = lively(dataclasses.replace(ADAWORLD, kl_weight=1.0))
    batch = Batch(tokens_t=tokens(0), tokens_th=tokens(1), lengths=torch.ones(2).long())
    one, again, other = (model.loss(batch, torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert one["loss"] == again["loss"] != other["loss"]
    torch.testing.assert_close(one["loss"], one["mse"] + one["kl"])
    out = model.decode(tokens(0), torch.randn(2, 1, 13) * 100)
    assert 0 <= out.min() <= out.max() <= 1


def test_pixel_tokens_come_back_as_the_picture():
    frames = torch.randint(0, 256, (3, 48, 48, 3), dtype=torch.uint8)
    encoder = PixelEncoder(48)
    patches = encoder.encode(frames)
    assert patches.shape == (3, encoder.spec.count, encoder.spec.channels)
    torch.testing.assert_close(draw_pixels(patches, encoder.spec.grid), frames / 255)
    assert (patches[:, 1] - frames[:, :16, 16:32].reshape(3, -1) / 255).abs().max() < 1e-6  # row by row


SUMMARISED = TokenSpec(grid=(1, 10), channels=7, fingerprint="cls/test@0", encoder="cls:tiny", image_size=48)
DINO_CLS = DinoCLSConfig(tokens=SUMMARISED, dim=44, depth=2, heads=11)


@pytest.mark.parametrize("difference", [False, True])
def test_dino_cls_is_the_standardised_class_token_and_reads_nothing_else(difference, tmp_path):
    model = lively(dataclasses.replace(DINO_CLS, difference=difference))
    s_t, s_th = (torch.rand(200, 10, 7, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    model.fit(FakeTrainingData(s_t, s_th))
    z = model.infer(s_t, s_th)
    assert z.shape == (200, 1, 7)
    torch.testing.assert_close(z.mean(dim=0), torch.zeros(1, 7), atol=1e-5, rtol=0)
    torch.testing.assert_close(z.std(dim=0), torch.ones(1, 7), atol=1e-4, rtol=0)
    other = s_th.clone()
    other[:, 1:] += 1
    torch.testing.assert_close(model.infer(s_t, other), z)
    assert torch.equal(model.infer(s_t + 1, s_th), z) is not difference
    out = model.decode(s_t, z)
    torch.testing.assert_close(out[:, 0], s_th[:, 0])
    assert not torch.allclose(model.decode(s_t, z + 1)[:, 1:], out[:, 1:], atol=1e-3)
    model.save_pretrained(tmp_path)
    torch.testing.assert_close(load_model(tmp_path).infer(s_t, s_th), z)


def test_dino_cls_trains_its_decoder_alone():
    model = lively(DINO_CLS)
    batch = Batch(tokens_t=torch.rand(2, 10, 7), tokens_th=torch.rand(2, 10, 7), lengths=torch.ones(2).long())
    model.loss(batch, torch.Generator())["loss"].backward()
    assert all(p.grad is not None for p in model.parameters())
    assert {name.split(".")[0] for name, _ in model.named_parameters()} == {"decoder"}
    with pytest.raises(ValueError, match="no class token and square grid"):
        dataclasses.replace(DINO_CLS, tokens=dataclasses.replace(SUMMARISED, grid=(1, 9))).build()


def test_an_encoder_is_given_its_class_token_or_the_mean_of_its_patches():
    frames = torch.randint(0, 256, (3, 48, 48, 3), dtype=torch.uint8)
    encoder = load_encoder("cls:tiny", image_size=48)
    assert encoder.spec.grid == (1, 10)
    assert encoder.spec.encoder == "cls:tiny"
    tokens, patches = encoder.encode(frames), load_encoder("tiny", image_size=48).encode(frames)
    torch.testing.assert_close(tokens[:, 1:], patches)
    torch.testing.assert_close(tokens[:, 0], patches.mean(dim=1))
    assert load_encoder("cls:pixels", image_size=48).encode(frames).shape == (3, 10, 768)
