"""LaWAM: what sees what, where gradients stop, which actions count, and arrays and words in, arrays out."""

from __future__ import annotations

import functools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from lively import lively

from foreact.core.cards import DataSpec, RobotSpec
from foreact.core.errors import ForeactError
from foreact.core.presets import preset
from foreact.core.pretrained import meta_build
from foreact.core.token_spec import TokenSpec
from foreact.data.lerobot import ACTION
from foreact.encoders.tiny import TinyEncoderConfig
from foreact.latent_actions.lawm import LaWMConfig
from foreact.policies import qwen
from foreact.policies.bc import Camera
from foreact.policies.lawam_acting import LaWAMPolicy
from foreact.policies.lawam_backbone import BackboneConfig
from foreact.policies.lawam_config import Body, LaWAMConfig, LaWAMExtras
from foreact.policies.lawam_expert import ExpertConfig
from foreact.policies.lawam_training import LaWAMTraining
from foreact.recordings.demonstrations import LATENT
from foreact.recordings.recording import IMAGES, TOKENS
from foreact.recordings.windows import WindowBatch

TOP, WRIST = "observation.images.top", "observation.images.wrist"
WORDS = ("go to the ring", "reach the ring", "go", "push the block to the left")
SIDE, N, C, Z, B, H = 32, 4, 24, 8, 4, 12
SPEC = TokenSpec(grid=(2, 2), channels=C, fingerprint="test", encoder="tiny", image_size=SIDE)
CAMERAS = (Camera(name=TOP, height=SIDE, width=SIDE), Camera(name=WRIST, height=SIDE, width=SIDE))
FAST = Body(robot="dot", embodiment=1, fps=10.0, action=("a", "b"), cameras=CAMERAS)
SLOW = Body(robot="arm", embodiment=2, fps=5.0, action=("a", "b", "c"), cameras=CAMERAS)
CONFIG = LaWAMConfig(
    lawm=LaWMConfig(tokens=SPEC, dim=24, encoder_depth=1, decoder_depth=1, heads=2, latent_channels=Z),
    backbone=BackboneConfig(
        qwen=qwen.sizes(hidden=32, layers=2, heads=2, vision_depth=1, patch=8, image_size=SIDE),
        latent_queries=3,
        action_queries=2,
        longest=12,
    ),
    expert=ExpertConfig(dim=16, depth=4, heads=2, language_dim=16, action_dim=3, embodiments=3, dropout=0.0),
    bodies=(FAST, SLOW),
    seconds=1.2,
    steps=3,
)


@functools.cache
def words() -> str:
    return qwen.make_tokenizer(WORDS)


def build(config=CONFIG):
    model = lively(config)
    model.backbone.set_words(words())
    return model


def a_batch(seed=0) -> WindowBatch:
    """Two rows of the fast robot and two of the slow one; the last is silent, the one before ends early."""
    rng = torch.Generator().manual_seed(seed)
    columns = {
        name: torch.randint(256, (B, 1, SIDE, SIDE, 3), generator=rng, dtype=torch.uint8) for name in (IMAGES, WRIST)
    }
    columns[IMAGES + TOKENS] = torch.randn(B, 2, N, C, generator=rng)
    columns[ACTION] = torch.randn(B, H, 3, generator=rng)
    columns[LATENT] = torch.randn(B, 1, 1, Z, generator=rng)
    inside = {name: torch.ones(column.shape[:2], dtype=torch.bool) for name, column in columns.items()}
    inside[ACTION][2, 3:] = False
    inside[ACTION][3] = False
    inside[IMAGES + TOKENS][2, 1] = inside[LATENT][2, 0] = False
    return WindowBatch(
        columns=columns,
        inside=inside,
        task=WORDS,
        embodiment=torch.tensor([1, 1, 2, 2]),
        fps=torch.tensor([10.0, 10.0, 5.0, 5.0]),
    )


def gradients(model, batch):
    model.zero_grad()
    loss = model.loss(batch, torch.Generator().manual_seed(0))["loss"]
    loss.backward()
    return loss.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def see(rows=None, seed=0):
    rng = np.random.default_rng(seed)
    shape = () if rows is None else (rows,)
    seen = {name: rng.integers(256, size=(*shape, SIDE, SIDE, 3), dtype=np.uint8) for name in (TOP, WRIST)}
    return seen | {"task": "go" if rows is None else list(WORDS[:rows])}


def test_the_papers_sizes():
    """LeRobot's and the authors' numbers; the expert without the embedding of a dropped future, with codes of now and then."""
    tokens = TokenSpec(grid=(16, 16), channels=768, fingerprint="", encoder="", image_size=256)
    robot = RobotSpec(camera=TOP, cameras={TOP: (256, 256)}, action=("a",) * 7, state=(), fps=20.0)
    config = LaWAMTraining().configure(preset("paper"), DataSpec(tokens=tokens, action_dim=7, robots=(robot,)))
    model = meta_build(config)
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    queries, released_norm = 2 * 8 * 2048, 2 * 32
    assert count["expert"] == 306_405_632 - 256 * 768 + 2 * 768
    assert count["lawm"] == 228_286_720
    assert count["aggregate"] == 145_920 - released_norm + 32 * 33
    assert (count["backbone"] - queries) / 1e6 == pytest.approx(1523.5, abs=0.1)
    assert (model.num_parameters() + 85_660_416) / 1e9 == pytest.approx(2.144, abs=0.001)
    assert config.chunk == 24


def test_the_tiny_preset_is_small():
    tokens = TokenSpec(grid=(8, 8), channels=192, fingerprint="", encoder="", image_size=128)
    robot = RobotSpec(camera=TOP, cameras={TOP: (128, 128)}, action=("a",) * 4, state=(), fps=20.0)
    model = meta_build(
        LaWAMTraining().configure(preset("tiny"), DataSpec(tokens=tokens, action_dim=4, robots=(robot,)))
    )
    assert model.num_parameters(trainable_only=True) <= 5_000_000
    assert model.backbone.rows**2 <= 100, "tokens of a picture"


def test_latent_queries_see_the_primary_view_and_the_words_alone():
    model, batch = build(), a_batch()
    views = [batch.columns[name][:, 0] for name in (IMAGES, WRIST)]
    with torch.no_grad():
        seen = model.backbone(views, WORDS)
        other_wrist = model.backbone([views[0], 255 - views[1]], WORDS)
        other_view = model.backbone([255 - views[0], views[1]], WORDS)
        other_words = model.backbone(views, WORDS[1:] + WORDS[:1])
    torch.testing.assert_close(seen.latents, other_wrist.latents)
    assert not torch.allclose(seen.states[:, -1], other_wrist.states[:, -1], atol=1e-4), "action queries see everything"
    for changed in (other_view, other_words):
        assert not torch.allclose(seen.latents, changed.latents, atol=1e-4)


def test_a_row_does_not_depend_on_the_words_beside_it():
    model, batch = build(), a_batch()
    views = [batch.columns[name][:, 0] for name in (IMAGES, WRIST)]
    with torch.no_grad():
        together, alone = model.backbone(views, WORDS), model.backbone([v[2:3] for v in views], WORDS[2:3])
    torch.testing.assert_close(together.latents[2:3], alone.latents, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(together.states[2][together.known[2]], alone.states[0], atol=1e-5, rtol=1e-4)


def test_patches_are_those_of_qwens_own_processor():
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    frames = a_batch().columns[IMAGES][:, 0]
    processor = Qwen2VLImageProcessorPil(
        patch_size=8, merge_size=2, temporal_patch_size=2, image_mean=[0.5] * 3, image_std=[0.5] * 3, do_resize=False
    )
    found = processor(images=list(frames.numpy()), return_tensors="pt")
    assert found["image_grid_thw"].tolist() == [[1, 4, 4]] * B
    torch.testing.assert_close(build().backbone.patches(frames).flatten(0, 1), found["pixel_values"], atol=1e-5, rtol=0)


def act(model, **changes):
    batch = a_batch()
    views = [batch.columns[name][:, 0] for name in (IMAGES, WRIST)]
    noise = torch.randn(B, H, 3, generator=torch.Generator().manual_seed(5))
    chunk = model.chunk(batch.fps, batch.embodiment, H)
    given = {
        "pictures": views,
        "words": WORDS,
        "tokens": batch.columns[IMAGES + TOKENS][:, 0],
        "noise": noise,
        "chunk": chunk,
    }
    with torch.no_grad():
        return model(**given | changes)


def test_the_subgoal_and_its_places_change_the_actions():
    model = build()
    u_T = torch.randn(B, N, C, generator=torch.Generator().manual_seed(2))
    actions = act(model, subgoal=u_T)
    assert not torch.allclose(actions, act(model, subgoal=u_T.flip(1)), atol=1e-4), "where a token stands"
    assert not torch.allclose(actions, act(model), atol=1e-4)
    swapped = act(model, tokens=u_T, subgoal=a_batch().columns[IMAGES + TOKENS][:, 0])
    assert not torch.allclose(actions, swapped, atol=1e-4), "now and then"


@pytest.mark.parametrize("subgoal", ["present", "none"])
def test_without_a_subgoal_a_given_one_alone_or_none_is_looked_at(subgoal):
    model = build(replace(CONFIG, subgoal=subgoal, expert=replace(CONFIG.expert, dynamics=subgoal != "none")))
    loss, found = gradients(model, a_batch())
    assert loss.isfinite()
    assert not any(name.startswith("lawm.") for name in found), "nothing teaches what is not used"
    changed = not torch.allclose(act(model), act(model, subgoal=torch.ones(B, N, C)), atol=1e-4)
    assert changed == (subgoal == "present")


def test_a_regressed_subgoal_is_taught_by_the_future_alone():
    model = build(replace(CONFIG, subgoal="regressed"))
    told = model.loss(a_batch(), torch.Generator().manual_seed(0))
    torch.testing.assert_close(told["loss"], told["flow"] + 0.1 * told["subgoal"])
    assert "distill" not in told


def test_cached_keys_give_what_the_plain_path_gives():
    """Keys and values computed once against ones computed anew at every Euler step."""
    model, batch = build(), a_batch()
    views = [batch.columns[name][:, 0] for name in (IMAGES, WRIST)]
    chunk = model.chunk(batch.fps, batch.embodiment, H)
    x = torch.randn(B, H, 3, generator=torch.Generator().manual_seed(5))
    known = model._known(chunk)
    with torch.no_grad():
        seen, u_t = (
            model.backbone(views, WORDS),
            torch.nn.functional.layer_norm(batch.columns[IMAGES + TOKENS][:, 0], (C,)),
        )
        subgoal = model.imagine(seen, u_t)
        fast = model.denoise(x, chunk, model.condition(seen, u_t, subgoal))
        x = torch.where(known, x, 0.0)
        for step in range(CONFIG.steps):
            context = model.condition(seen, u_t, subgoal)
            slope = model.expert(x, torch.full((B,), step / CONFIG.steps), chunk, context)
            x = x + torch.where(known, slope, 0.0) / CONFIG.steps
    torch.testing.assert_close(fast, x, atol=1e-5, rtol=1e-4)


def parts_of(found, weights=("backbone.", "aggregate.", "lawm.", "expert.")):
    return {part for part in weights if any(n.startswith(part) and g.abs().max() > 0 for n, g in found.items())}


@pytest.mark.parametrize(
    ("insulation", "reached"),
    [
        ("none", {"backbone.", "aggregate.", "lawm.", "expert."}),
        ("subgoal", {"backbone.", "expert."}),
        ("backbone", {"expert."}),
    ],
)
def test_where_the_gradient_of_actions_stops(insulation, reached):
    model = build(replace(CONFIG, insulation=insulation, distill_weight=0.0, subgoal_weight=0.0))
    assert parts_of(gradients(model, a_batch())[1]) == reached


def test_the_other_losses_reach_what_they_teach():
    whole = build()
    loss, found = gradients(whole, a_batch())
    assert parts_of(found) == {"backbone.", "aggregate.", "lawm.", "expert."}
    still = {n for n, p in whole.named_parameters() if p.requires_grad} - found.keys()
    assert not still, f"no gradient reaches {sorted(still)}"
    frozen = build(replace(CONFIG, lawm_learns=False))
    assert parts_of(gradients(frozen, a_batch())[1]) == {"backbone.", "aggregate.", "expert."}
    told = whole.loss(a_batch(), torch.Generator().manual_seed(0))
    torch.testing.assert_close(loss, told["flow"] + 0.1 * told["distill"] + 0.1 * told["subgoal"])


def test_what_is_padded_reaches_no_loss_and_no_gradient():
    """Beyond the end, beyond T at a lower rate, numbers that a robot lacks, and futures that are not there."""
    model, batch = build(), a_batch()
    loss, found = gradients(model, batch)
    for absurd in (1e6, float("nan")):
        columns = {k: v.clone() for k, v in batch.columns.items()}
        columns[ACTION][~batch.inside[ACTION]] = absurd
        columns[ACTION][2:, 6:] = absurd
        columns[ACTION][:2, :, 2] = absurd
        columns[LATENT][2] = 1e6
        columns[IMAGES + TOKENS][2, 1] = torch.randn(N, C) * 1e6
        other, theirs = gradients(model, replace(batch, columns=columns))
        assert torch.equal(loss, other)
        assert all(torch.equal(found[n], theirs[n]) for n in found)
    inside = batch.inside | {ACTION: batch.inside[ACTION] | (torch.arange(H) >= 6) & (batch.fps < 10)[:, None]}
    assert torch.equal(loss, gradients(model, replace(batch, inside=inside))[0])


def test_actions_of_a_row_do_not_depend_on_longer_chunks_beside_it():
    model, batch = build(), a_batch()
    views = [batch.columns[name][2:, 0] for name in (IMAGES, WRIST)]
    together, noise = act(model), torch.randn(B, H, 3, generator=torch.Generator().manual_seed(5))
    chunk = model.chunk(batch.fps[2:], batch.embodiment[2:], 6)
    alone = act(
        model,
        pictures=views,
        words=WORDS[2:],
        tokens=batch.columns[IMAGES + TOKENS][2:, 0],
        noise=noise[2:, :6],
        chunk=chunk,
    )
    torch.testing.assert_close(together[2:, :6], alone, atol=1e-4, rtol=1e-3)


def test_true_subgoals_are_shown_where_there_are_any():
    model = build(replace(CONFIG, extras=LaWAMExtras(true_subgoals=1.0)))
    batch = a_batch()
    there = batch.inside[IMAGES + TOKENS][:, 1]
    false, true = torch.zeros(B, N, C), torch.ones(B, N, C)
    shown = model._taught(batch, false, true, there, torch.Generator())
    assert shown.flatten(1).any(dim=1).tolist() == there.tolist()


def test_normalisation_is_each_robots_own():
    class Data:
        def limits(self, name, embodiment=None):
            return {
                1: (torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 0.0])),
                2: (torch.full((3,), -5.0), torch.full((3,), 15.0)),
            }[embodiment]

        def latent_statistics(self):
            return torch.full((1, Z), 2.0), torch.zeros(1, Z)

    model = build()
    model.fit(Data())
    assert model.low[1].tolist() == [-1, -1, -1]
    assert model.high[2].tolist() == [15, 15, 15]
    assert model.aggregate.std.eq(1).all()
    assert model.aggregate.mean.eq(2).all()


def make_policy(tmp_path, config=CONFIG):
    TinyEncoderConfig(stem=(8, 8, 8), dim=24, depth=1, heads=3).build().save_pretrained(tmp_path / "encoder")
    from foreact.encoders.loading import load_encoder

    spec = load_encoder(str(tmp_path / "encoder"), image_size=SIDE).spec
    model = build(replace(config, lawm=replace(config.lawm, tokens=spec)))
    model.save_pretrained(tmp_path / "run")
    return LaWAMPolicy(type(model).from_pretrained(tmp_path / "run"))


def test_a_saved_policy_acts_alone_and_in_a_batch_as_its_seeds_say(tmp_path):
    policy = make_policy(tmp_path)
    policy.reset([3, 4, 5])
    several = see(3)
    chunk = policy.act(several)
    assert chunk.shape == (3, 12, 2)
    assert not np.allclose(policy.act(several), chunk), "the next chunk has noise of its own"
    for row, seed in enumerate((3, 4, 5)):
        policy.reset([seed])
        alone = policy.act({k: v[row] for k, v in several.items()})
        np.testing.assert_allclose(alone, chunk[row], atol=1e-4)
    policy.act_as("arm", 5.0)
    assert policy.execute == 6
    assert policy.act(see()).shape == (6, 3)
    policy.reset([3])
    own = policy.act(several)
    policy.reset([3])
    given = policy.act(several, subgoal=policy.imagine(several)[1].numpy())
    np.testing.assert_allclose(own, given, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda o: o.pop("task"), "lacks task"),
        (lambda o: o.update(task="  "), "instruction is empty"),
        (lambda o: o.update(task="very " * 40), "tokens, this policy reads up to 12"),
        (lambda o: o.update(task=["go", "stay"]), "2 instructions for 1 observations"),
        (lambda o: o.pop(WRIST), "lacks observation.images.wrist"),
        (lambda o: o.update({TOP: o[TOP][::2]}), r"uint8 \(16, 32, 3\)"),
    ],
    ids=["no words", "empty", "long", "many", "no wrist", "size"],
)
def test_a_wrong_observation_is_named(change, message, monkeypatch):
    monkeypatch.setattr("foreact.policies.acting.load_encoder", lambda *_, **__: Unseeing())
    observation = see()
    change(observation)
    with pytest.raises(ForeactError, match=message):
        LaWAMPolicy(build()).act(observation)


class Unseeing:
    """An encoder that nothing gets as far as."""

    spec = SPEC


def test_a_rate_that_leaves_no_action_is_refused():
    with pytest.raises(ForeactError, match=r"1\.2 s hold no action of a robot that takes 0\.5 a second"):
        CONFIG.actions_of(replace(FAST, fps=0.5))


def test_a_tokenizer_spells_words_that_it_has_not_seen():
    model = build()
    (seen,), (strange,) = model.backbone._tokens(["go to the ring"]), model.backbone._tokens(["ça"])
    assert len(seen.ids) == 4
    assert max(strange.ids) < json.loads(CONFIG.backbone.qwen)["text_config"]["vocab_size"]


@pytest.mark.slow
def test_it_learns_to_go_where_the_words_say():
    """One picture, two instructions, opposite actions: nothing but the words tells them apart."""
    torch.manual_seed(0)
    model = replace(CONFIG, bodies=(FAST,), insulation="none").build()
    model.backbone.set_words(words())
    batch, sign = a_batch(), torch.tensor([1.0, -1.0, 1.0, -1.0])
    columns = {name: column[:1].expand_as(column).clone() for name, column in batch.columns.items()}
    columns[ACTION] = 0.7 * sign[:, None, None].expand(B, H, 3).clone()
    inside = {name: torch.ones_like(mask) for name, mask in batch.inside.items()}
    told = tuple(WORDS[0] if s > 0 else WORDS[3] for s in sign)
    fast = {"embodiment": torch.ones(B, dtype=torch.long), "fps": torch.full((B,), 10.0)}
    batch = replace(batch, columns=columns, inside=inside, task=told, **fast)
    optimizer, noise = torch.optim.AdamW(model.parameters(), lr=3e-3), torch.Generator().manual_seed(0)
    for _ in range(250):
        optimizer.zero_grad()
        model.loss(batch, noise)["loss"].backward()
        optimizer.step()
    views = [columns[name][:, 0] for name in (IMAGES, WRIST)]
    chunk = model.eval().chunk(batch.fps, batch.embodiment, H)
    with torch.no_grad():
        actions = model(views, told, columns[IMAGES + TOKENS][:, 0], torch.randn(B, H, 3), chunk)[..., :2]
    assert (actions.mean(dim=(1, 2)) * sign).min() > 0.35, actions.mean(dim=(1, 2))
