"""BC and WAM: what is padded or silent reaches no loss and no gradient; shapes; arrays in, arrays out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from foreact.core.errors import ForeactError
from foreact.core.token_spec import TokenSpec
from foreact.data.lerobot import ACTION, STATE
from foreact.decoders.unet import ImageDecoderConfig
from foreact.encoders.tiny import TinyEncoderConfig
from foreact.policies.acting import NetworkPolicy
from foreact.policies.bc import BCConfig, Camera
from foreact.policies.sight import Extras
from foreact.policies.wam import WAMConfig
from foreact.recordings.demonstrations import LATENT
from foreact.recordings.recording import TOKENS
from foreact.recordings.windows import WindowBatch

TOP, WRIST = "observation.images.top", "observation.images.wrist"
B, H, A, P, Q, Z = 6, 5, 3, 4, 2, 7
SIZES = {"channels": 4, "dim": 16, "depth": 1, "heads": 2, "queries": 3, "hidden": (24,), "dropout": 0.0, "chunk": H}
SPEC = TokenSpec(grid=(2, 2), channels=24, fingerprint="test", encoder="tiny", image_size=32)
BASE = BCConfig(
    cameras=(Camera(name=TOP, height=40, width=48),),
    image_size=32,
    action=("a", "b", "c"),
    state=("p", "q", "r", "s"),
    fps=10.0,
    execute=2,
    **SIZES,
)
WAM = WAMConfig(**vars(BASE), latent=(Q, Z), learner="rla")
VARIANTS = {
    "bc": BASE,
    "pooled": replace(BASE, head="pooled"),
    "pooled without state": replace(BASE, head="pooled", state=()),
    "without state": replace(BASE, state=()),
    "two cameras": replace(BASE, cameras=(*BASE.cameras, Camera(name=WRIST, height=24, width=24))),
    "positions": replace(BASE, extras=Extras(position_scale=1.0)),
    "tokens": replace(BASE, extras=Extras(tokens=SPEC)),
    "through a decoder": replace(
        BASE, extras=Extras(tokens=SPEC, decoder=ImageDecoderConfig(tokens=SPEC, channels=(8, 8, 8, 8), blocks=1))
    ),
    "wam": WAM,
}


def build(config):
    torch.manual_seed(1)
    return config.build().eval()


def a_batch(config, seed: int = 0) -> WindowBatch:
    rng = torch.Generator().manual_seed(seed)
    columns = {
        ACTION: torch.randn(B, H, A, generator=rng),
        STATE: torch.randn(B, 1, P, generator=rng),
        LATENT: torch.randn(B, 1, Q, Z, generator=rng),
    }
    for camera in config.cameras:
        if config.extras.tokens:
            columns[camera.name + TOKENS] = torch.randn(B, 1, 4, 24, generator=rng)
        else:
            columns[camera.name] = torch.randint(256, (B, 1, 32, 32, 3), generator=rng, dtype=torch.uint8)
    inside = {ACTION: torch.ones(B, H, dtype=torch.bool), LATENT: torch.ones(B, 1, dtype=torch.bool)}
    inside[ACTION][1, 3:] = False
    inside[ACTION][3:] = False
    inside[LATENT][[1, 4]] = False
    labelled = torch.arange(B) < 3
    return WindowBatch(columns=columns, inside=inside, task=(), embodiment=torch.ones(B), labelled=labelled)


def gradients(model, batch):
    model.zero_grad()
    loss = model.loss(batch, torch.Generator())["loss"]
    loss.backward()
    return loss, {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_learns_saves_and_acts(name, tmp_path):
    config = VARIANTS[name]
    model = build(config)
    loss, found = gradients(model, a_batch(config))
    assert loss.isfinite()
    still = {n for n, p in model.named_parameters() if p.requires_grad} - found.keys()
    assert not still, f"no gradient reaches {sorted(still)}"
    assert not any("sight.decoder" in n for n in found)
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path)
    batch = a_batch(config)
    with torch.no_grad():
        assert torch.equal(model.batch_features(batch), again.batch_features(batch))
    assert again.config == config


@pytest.mark.parametrize("config", [BASE, WAM], ids=["bc", "wam"])
def test_what_lies_beyond_the_end_reaches_no_loss_and_no_gradient(config):
    model, batch = build(config), a_batch(config)
    loss, found = gradients(model, batch)
    for absurd in (1e6, float("nan"), float("inf")):
        columns = dict(batch.columns)
        columns[ACTION] = torch.where(batch.inside[ACTION][..., None], columns[ACTION], absurd)
        columns[LATENT] = torch.where(batch.inside[LATENT][..., None, None], columns[LATENT], absurd)
        columns[STATE] = torch.where(batch.labelled[:, None, None], columns[STATE], 1e6)
        other, theirs = gradients(model, replace(batch, columns=columns))
        assert torch.equal(loss, other)
        assert all(torch.equal(found[n], theirs[n]) for n in found)


def test_a_rows_loss_does_not_depend_on_the_padding_of_its_neighbours():
    """The mean over labelled rows of each row's own mean: by hand."""
    model, batch = build(BASE), a_batch(BASE)
    with torch.no_grad():
        predicted = model.read_actions(model.batch_features(batch))
        target = model.action_limits.normalise(batch.columns[ACTION])
        squares = (predicted - target).square().mean(dim=2)
        wanted = torch.stack([squares[0].mean(), squares[1, :3].mean(), squares[2].mean()]).mean()
        torch.testing.assert_close(model.action_error(batch, model.batch_features(batch)), wanted)


def test_wam_adds_a_twentieth_of_both_errors_of_the_standardised_z():
    model, batch = build(WAM), a_batch(WAM)
    model.latent_mean.fill_(0.5)
    model.latent_std.fill_(2.0)
    with torch.no_grad():
        features = model.batch_features(batch)
        z = (batch.columns[LATENT][:, 0] - 0.5) / 2
        error = (model.latent_head(features).view(B, Q, Z) - z)[[0, 2, 3, 5]]
        latent = 0.05 * (error.abs().sum() + error.square().sum()) / (B * Q * Z)
        torch.testing.assert_close(
            model.loss(batch, torch.Generator())["loss"], model.action_error(batch, features) + latent
        )


def test_the_state_of_silent_rows_is_a_learned_token():
    model, batch = build(BASE), a_batch(BASE)
    with torch.no_grad():
        before = model.batch_features(batch)
        model.unknown_state += torch.linspace(-1, 1, 16)
        after = model.batch_features(batch)
    same = (before == after).all(dim=1)
    assert same.tolist() == batch.labelled.tolist()


def test_limits_are_the_unit_interval_and_come_back():
    model = build(BASE)
    low, high = torch.tensor([-3.0, 2.0, 5.0]), torch.tensor([1.0, 4.0, 5.0])
    model.action_limits.fit(low, high)
    values = torch.stack([low, high])
    normal = model.action_limits.normalise(values)
    assert normal[:, :2].tolist() == [[-1, -1], [1, 1]]
    assert normal[:, 2].tolist() == [0, 0], "a number that never changes is no division by zero"
    torch.testing.assert_close(model.action_limits.restore(normal), values)


def see(config, rows=None, seed=0):
    rng = np.random.default_rng(seed)
    shape = () if rows is None else (rows,)
    seen = {c.name: rng.integers(256, size=(*shape, c.height, c.width, 3), dtype=np.uint8) for c in config.cameras}
    return {**seen, STATE: rng.normal(size=(*shape, P)), "task": "go"}


@pytest.mark.parametrize("name", ["bc", "two cameras", "without state", "wam"])
def test_a_policy_acts_on_one_observation_and_on_several_alike(name):
    policy = NetworkPolicy(build(VARIANTS[name]))
    policy.reset()
    several = see(VARIANTS[name], 3)
    chunk = policy.act(several)
    assert chunk.shape == (3, H, A)
    assert chunk.dtype == np.float32
    for row in range(3):
        alone = policy.act({k: v if k == "task" else v[row] for k, v in several.items()})
        assert alone.shape == (H, A)
        np.testing.assert_allclose(alone, chunk[row], atol=1e-5)


def test_actions_come_in_the_recordings_units():
    model = build(BASE)
    one = NetworkPolicy(model).act(see(BASE))
    model.action_limits.fit(torch.full((A,), 10.0), torch.full((A,), 30.0))
    np.testing.assert_allclose(NetworkPolicy(model).act(see(BASE)), 20 + 10 * one, rtol=1e-4)


@pytest.mark.parametrize("name", ["tokens", "through a decoder"])
def test_tokens_are_of_the_encoder_that_the_policy_was_trained_with(name, tmp_path):
    encoder = TinyEncoderConfig(stem=(8, 8, 8), dim=24, depth=1, heads=3).build()
    encoder.save_pretrained(tmp_path)
    from foreact.encoders.loading import load_encoder

    spec = load_encoder(str(tmp_path), image_size=32).spec
    config = VARIANTS[name]
    decoder = config.extras.decoder and replace(config.extras.decoder, tokens=spec)
    config = replace(config, extras=replace(config.extras, tokens=spec, decoder=decoder))
    assert NetworkPolicy(build(config)).act(see(config, 2)).shape == (2, H, A)
    strange = replace(spec, fingerprint="other")
    with pytest.raises(ForeactError, match="other"):
        NetworkPolicy(build(replace(config, extras=replace(config.extras, tokens=strange))))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda o: o.pop(TOP), "lacks observation.images.top"),
        (lambda o: o.update({WRIST: o.pop(TOP)}), "lacks observation.images.top.*the observation has"),
        (
            lambda o: o.update({TOP: o[TOP][::2]}),
            r"uint8 \(20, 48, 3\), this policy was trained on uint8 \(40, 48, 3\)",
        ),
        (lambda o: o.update({TOP: o[TOP] / 255}), "float64"),
        (lambda o: o.update({STATE: o[STATE][:3]}), r"shape \(3,\), this policy takes 4 numbers: p, q, r, s"),
        (lambda o: o.pop(STATE), "lacks observation.state"),
    ],
    ids=["missing", "renamed", "size", "type", "state", "no state"],
)
def test_a_wrong_observation_is_named(change, message):
    observation = see(BASE)
    change(observation)
    with pytest.raises(ForeactError, match=message):
        NetworkPolicy(build(BASE)).act(observation)
