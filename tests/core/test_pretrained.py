"""Saved models: strict keys both ways, schemas, unreadable files, full disks; nothing is executed."""

import errno
import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from fake_data import FakeTrainingData

from foreact.core.errors import ForeactError
from foreact.core.files import write_atomically
from foreact.core.pretrained import load_model
from foreact.core.token_spec import TokenSpec
from foreact.latent_actions.rla import RLA, RLAConfig
from foreact.world_models.dino_wm import DinoWM, DinoWMConfig
from foreact.world_models.rla_wm import RLAWorldModelConfig
from foreact.world_models.rla_wm_extras import RLAWorldModelExtras

TOKENS = TokenSpec(grid=(3, 5), channels=7, fingerprint="test@0", encoder="tiny", image_size=48)
CONFIG = DinoWMConfig(tokens=TOKENS, action_dim=2, dim=20, heads=5, depth=1)


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    CONFIG.build().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def edit(path, change):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def test_round_trip_of_nested_configs(tmp_path):
    config = RLAWorldModelConfig(
        rla=RLAConfig(tokens=TOKENS, dim=44, heads=11, depth=1, latent_tokens=3, latent_channels=5),
        action_dim=2, dim=20, heads=5, condition_depth=1, flow_depth=1,
        extras=RLAWorldModelExtras(l1_weight=1.0),
    )  # fmt: skip
    model = config.build()
    s_t, s_th = torch.randn(2, 9, TOKENS.count, TOKENS.channels)
    model.fit(FakeTrainingData(s_t, s_th, torch.zeros(2), torch.ones(2)))
    model.save_pretrained(tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.config == config
    assert not loaded.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert (tmp_path / "README.md").read_text().startswith("---\nlibrary_name: foreact")


def test_another_kind_is_refused(saved):
    assert isinstance(DinoWM.from_pretrained(saved), DinoWM)
    with pytest.raises(ForeactError, match="holds a dino_wm, not a RLA"):
        RLA.from_pretrained(saved)


def test_what_older_checkpoints_lack_has_the_value_that_they_were_built_with(tmp_path):
    config = RLAConfig(tokens=TOKENS, dim=24, depth=1, heads=3, latent_tokens=2, latent_channels=3)
    config.build().save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    del written["config"]["decoder_merge"]
    (tmp_path / "config.json").write_text(json.dumps(written))
    assert RLA.from_pretrained(tmp_path).config == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(schema=2), "has schema 2"),
        (lambda d: d.update(kind="os.system"), "unknown kind of model 'os.system'"),
        (lambda d: d["config"].pop("depth"), r"missing keys \['depth'\]"),
        (lambda d: d["config"].update(dropout=0.1), r"unknown keys \['dropout'\]"),
        (lambda d: d["config"].update(depth="deep"), "depth must be int"),
        (lambda d: d["config"]["tokens"].update(grid=[3]), "grid must have 2 entries"),
        (lambda d: d.update(extra=1), "not a foreact model config"),
    ],
)
def test_configs_are_strict(saved, change, message):
    edit(saved / "config.json", change)
    with pytest.raises(ForeactError, match=message):
        load_model(saved)


def test_missing_and_extra_tensors_and_wrong_shapes_are_named(saved):
    path = saved / "model.safetensors"
    state = safetensors.torch.load_file(path)
    missing = {k: v for k, v in state.items() if k != "out.weight"}
    safetensors.torch.save_file(missing, path)
    with pytest.raises(ForeactError, match=r"1 missing tensors \['out.weight'\]"):
        load_model(saved)
    safetensors.torch.save_file({**state, "extra": torch.zeros(1)}, path)
    with pytest.raises(ForeactError, match=r"1 extra \['extra'\]"):
        load_model(saved)
    safetensors.torch.save_file({**state, "out.bias": torch.zeros(3)}, path)
    with pytest.raises(ForeactError, match=r"out.bias has shape \(3,\), the config says \(7,\)"):
        load_model(saved)


def test_unreadable_weights_and_missing_folders(saved, tmp_path):
    (saved / "model.safetensors").write_bytes(b"\x80\x04not safetensors")
    with pytest.raises(ForeactError, match="not a readable safetensors"):
        load_model(saved)
    with pytest.raises(ForeactError, match="no such folder"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(ForeactError, match=r"config\.json is missing"):
        load_model(tmp_path)


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("foreact.core.files.os.fsync", full)
    with pytest.raises(ForeactError, match="No space left on device"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in Path(tmp_path).iterdir()] == ["file"]


def test_tokens_of_another_encoder_are_refused():
    other = TokenSpec(grid=(3, 5), channels=7, fingerprint="test@1", encoder="tiny", image_size=48)
    TOKENS.require(
        TokenSpec(grid=(3, 5), channels=7, fingerprint="test@0", encoder="x", image_size=1), model="m", source="s"
    )
    with pytest.raises(ForeactError, match=r"encoder test@0 .* tokens of test@1"):
        TOKENS.require(other, model="this model", source="data")
