from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from foreact.encoders.tiny import TinyEncoderConfig
from tools.tiny_encoder.probes import (
    LOCAL,
    LOOK,
    ProbeSet,
    encode_all,
    probe_encoder,
    probe_pixels,
    probe_table,
    ridge,
    write_results,
)


def test_ridge_finds_a_linear_law_and_keeps_groups_together():
    rng = np.random.default_rng(0)
    features, law = rng.normal(size=(120, 7)), rng.normal(size=(7, 2))
    groups = np.repeat(np.arange(24), 5)
    predicted, test = ridge(features, {"law": features @ law + 3, "one": groups[:, None]}, groups, seed=0)
    np.testing.assert_allclose(predicted["law"], features[test] @ law + 3, atol=0.05)
    assert len(test) == 30
    assert all(np.isin(np.flatnonzero(groups == g), test).all() for g in np.unique(groups[test]))


def test_ridge_learns_nothing_from_noise():
    rng = np.random.default_rng(0)
    targets = rng.normal(size=(400, 1))
    predicted, test = ridge(rng.normal(size=(400, 50)), {"noise": targets}, np.arange(400), seed=0)
    assert np.abs(predicted["noise"] - targets[test]).mean() > 0.6


def _dots(count: int, size: int = 32) -> ProbeSet:
    """Bright dots on a slope of brightness: their places and its direction are the labels."""
    rng = np.random.default_rng(1)
    places, angles = rng.uniform(6, size - 6, (count, 2)), rng.uniform(-np.pi, np.pi, (count, 1))
    y, x = np.mgrid[:size, :size]
    distance = np.hypot(x - places[:, :1, None], y - places[:, 1:, None])
    slope = (x - size / 2) * np.cos(angles[..., None]) + (y - size / 2) * np.sin(angles[..., None])
    value = 60 + 2 * slope + 150 * np.exp(-((distance / 4) ** 2))
    frames = np.repeat(np.clip(value, 0, 255).astype(np.uint8)[..., None], 3, axis=3)
    labels = {"agent_xy": places, "object_angle": angles}
    return ProbeSet(name="dots", frames=frames, labels=labels, groups=np.arange(count) // 2)


def test_probes_read_what_pixels_show():
    rows = {row.target: row for row in probe_pixels(_dots(800))}
    assert set(rows) == {"agent_xy", LOCAL, LOOK, "object_angle"}
    assert rows["agent_xy"].unit == "px"
    assert rows["object_angle"].unit == "deg"
    assert rows["agent_xy"].median < 2
    assert rows["object_angle"].median < 20  # 90 degrees is chance
    assert rows[LOOK].median < 3
    for row in rows.values():
        assert row.mean_interval[0] < row.mean < row.mean_interval[1]
        assert row.median_interval[0] <= row.median <= row.median_interval[1]
        assert row.train + row.test == 800


def test_frames_whose_agent_is_out_of_sight_do_not_count_in_the_local_probe():
    dots = _dots(100)
    dots.labels["agent_xy"][:10] = -5
    counts = {row.target: row.train + row.test for row in probe_pixels(dots)}
    assert counts == {"agent_xy": 100, LOCAL: 90, LOOK: 90, "object_angle": 100}


def test_an_encoder_is_probed_at_its_own_size():
    torch.manual_seed(0)
    encoder = TinyEncoderConfig(stem=(4, 6, 8), dim=12, depth=1, heads=3, image_size=48).build()
    dots = _dots(120)
    tokens = encode_all(encoder, dots.frames, batch_size=50)
    assert tokens.shape == (120, 9, 12)
    np.testing.assert_allclose(tokens[70], encoder.encode(torch.from_numpy(dots.frames[70:71]))[0], atol=1e-5)
    rows = probe_encoder(encoder, dots, name="small")
    assert {row.features for row in rows} == {"small"}
    assert all(np.isfinite(row.mean) for row in rows)


def test_results_and_table(tmp_path):
    rows = probe_pixels(_dots(60))
    write_results(tmp_path / "probes.json", rows, {"seed": 1})
    content = json.loads((tmp_path / "probes.json").read_text())
    assert content["schema"] == 1
    assert content["rows"][0]["median"] == pytest.approx(rows[0].median)
    lines = probe_table(rows).splitlines()
    assert lines[0] == "| frames | target | raw patches |"
    assert len(lines) == 2 + 4
    assert f"{rows[0].median:.2f} px" in lines[2]
