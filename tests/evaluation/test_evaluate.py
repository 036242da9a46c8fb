from __future__ import annotations

import base64
import dataclasses

import numpy as np
import pytest
import torch
from evaluation_fakes import SPEC, FakeWorldModel, PatchDecoder, PatchEncoder, PerfectRLA

from foreact.core.errors import ForeactError
from foreact.data.lerobot import LeRobotDataset
from foreact.evaluation.evaluate import evaluate
from foreact.evaluation.figures import picture
from foreact.evaluation.film import _frames as frames_of
from foreact.evaluation.film import write_film
from foreact.evaluation.intervals import Bootstrap
from foreact.evaluation.results import Results
from foreact.evaluation.rollout_scorer import EvaluationConfig, choose_strips
from foreact.evaluation.rollouts import Protocol, Window
from foreact.evaluation.state_probe import ProbeConfig
from foreact.recordings.splits import Split
from foreact.recordings.token_cache import TokenCache

PROTOCOL = Protocol(steps=17, chunk=7, starts_per_episode=3, samples=3)
CONFIG = EvaluationConfig(
    protocol=PROTOCOL,
    probe=ProbeConfig(steps=150, width=32, batch_size=64),
    bootstrap=Bootstrap(resamples=300),
    strips=2,
    strip_samples=2,
    timing_batch=2,
)
CHUNKS = 3


@pytest.fixture(scope="module")
def cache(make_dataset, tmp_path_factory) -> TokenCache:
    dataset = LeRobotDataset(make_dataset(lengths=(29, 31, 37, *[23] * 17), height=64))
    return TokenCache.open(dataset, PatchEncoder(), tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def split(cache) -> Split:
    return Split(dataset=cache.dataset.fingerprint(), train=tuple(range(3, 20)), validation=(0, 1, 2))


@pytest.fixture(scope="module")
def models() -> dict[str, FakeWorldModel]:
    return {"rla_wm": FakeWorldModel(stochastic=True), "dino_wm": FakeWorldModel()}


@pytest.fixture(scope="module")
def results(cache, split, models) -> Results:
    return evaluate(models, cache, split, rla=PerfectRLA(), decoder=PatchDecoder(), config=CONFIG)


def test_every_promised_row_is_there(results):
    wanted = {"token_l1", "token_l1_skill", "token_cosine", "psnr", "ssim", "block_error_px", "token_energy_score"}
    for model in ("rla_wm", "dino_wm", "persistence", "oracle"):
        for metric in wanted:
            for chunk in range(1, CHUNKS + 1):
                for subset in ("all", "moving"):
                    assert results.row(model, metric, chunk, subset) is not None, (model, metric, chunk, subset)
    assert results.last_chunk == CHUNKS
    assert results.row("rla_wm", "token_l1_best_of_k", 1) is not None
    assert results.row("dino_wm", "token_l1_best_of_k", 1) is None
    assert results.row("rla_wm", "token_l1", 1).n == 3


def test_reference_rows_say_what_they_must(results):
    for chunk in range(1, CHUNKS + 1):
        assert results.row("oracle", "token_l1", chunk).mean == pytest.approx(0, abs=1e-6)
        assert results.row("oracle", "token_l1_skill", chunk).mean == pytest.approx(1, abs=1e-4)
        assert results.row("persistence", "token_l1_skill", chunk).mean == 0
        assert results.row("persistence", "sharpness", chunk).mean == 0
        assert results.row("oracle", "sharpness_moving", chunk).mean == pytest.approx(1, abs=1e-4)
        floor = results.row("true_tokens", "block_error_px", chunk).mean
        assert results.row("oracle", "block_error_px", chunk).mean == pytest.approx(floor, rel=1e-3)
        assert results.row("true_tokens", "psnr", chunk).mean > results.row("persistence", "psnr", chunk).mean
    assert results.row("true_tokens", "token_l1", 1) is None


def test_numbers_agree_with_a_plain_loop(results, cache, models):
    errors = []
    for episode in (0, 1, 2):
        tokens = torch.from_numpy(cache.tokens(episode).astype(np.float32))
        actions = cache.dataset.actions(episode)
        own = []
        for start in np.unique(np.linspace(0, len(tokens) - 18, 3).round().astype(int)):
            imagined = tokens[start].clone()
            for first, last in ((0, 7), (7, 14), (14, 17)):
                imagined = imagined + 1e-4 * float(actions[start + first : start + last].sum()) / (last - first)
            own.append((imagined - tokens[start + 17]).abs().mean())
        errors.append(np.mean(own))
    assert results.row("dino_wm", "token_l1", 3).mean == pytest.approx(np.mean(errors), rel=1e-4)


def test_differences_name_both_models(results):
    pair = results.difference("rla_wm", "dino_wm", "token_l1", CHUNKS)
    rows = [results.row(model, "token_l1", CHUNKS).mean for model in ("rla_wm", "dino_wm")]
    assert pair.mean == pytest.approx(rows[0] - rows[1])
    assert results.difference("dino_wm", "persistence", "ssim", 1, "moving") is not None


def test_regression_is_dressed_in_its_own_errors(cache, split, models):
    wide = dataclasses.replace(split, train=tuple(range(8, 20)), validation=tuple(range(8)))
    results = evaluate(models, cache, wide, config=CONFIG)
    assert results.row("dino_wm_dressed", "token_energy_score", CHUNKS).n == 8
    assert results.row("dino_wm_dressed", "token_l1", CHUNKS) is None
    assert results.row("rla_wm_dressed", "token_energy_score", CHUNKS) is None
    assert results.difference("rla_wm", "dino_wm_dressed", "token_energy_score", CHUNKS) is not None


def test_results_carry_what_a_reader_needs(results, split):
    assert results.split_hash == split.hash
    assert results.seeds == (0,)
    assert results.encoder == SPEC.fingerprint
    assert results.protocol["windows"] == 9
    assert results.protocol["boundaries"] == [7, 14, 17]
    assert results.dataset["held_out_episodes"] == 3
    assert results.models["rla_wm"]["stochastic"] is True
    assert {(t.model, t.batch) for t in results.timings} == {
        (m, b) for m in ("rla_wm", "dino_wm", "image_decoder") for b in (1, 2)
    }
    assert all(0 < t.low <= t.median <= t.high for t in results.timings)
    assert "lpips" in results.notes or results.row("rla_wm", "lpips", 1)


def test_strips_show_truth_and_every_model(results, cache):
    assert len(results.strips) == 2
    strip = results.strips[0]
    assert strip.frames == tuple(strip.start + step for step in (0, 7, 14, 17))
    labels = [row.label for row in strip.rows]
    assert labels == ["real", "rla_wm #1", "rla_wm #2", "dino_wm", "persistence", "oracle", "true_tokens"]
    real = picture(strip.rows[0].images[1]).astype(float)
    filmed = cache.dataset.frames(strip.episode, start=strip.frames[1], count=1, size=32)[0]
    assert np.abs(real - filmed).mean() < 6  # WebP keeps the colours
    assert [len(row.images) for row in strip.rows] == [4, 3, 3, 3, 3, 3, 3]


def test_results_survive_the_file(results, tmp_path):
    results.save(tmp_path / "results.json")
    assert Results.load(tmp_path / "results.json") == results


def test_everything_but_timings_is_reproducible(results, cache, split, models):
    again = evaluate(models, cache, split, rla=PerfectRLA(), decoder=PatchDecoder(), config=CONFIG)
    assert dataclasses.replace(again, timings=()) == dataclasses.replace(results, timings=())


def test_without_decoder_poses_and_rla(cache, split, models, monkeypatch):
    monkeypatch.setattr("foreact.evaluation.evaluate.find_poses", lambda dataset, columns: ())
    results = evaluate({"dino_wm": models["dino_wm"]}, cache, split, config=CONFIG)
    assert set(results.names()) == {"dino_wm", "persistence"}
    assert not {"psnr", "block_error_px"} & set(results.metrics())
    assert results.strips == ()
    assert "no state probe" in results.notes["probe"]
    assert "median" in results.protocol["moving_rule"]


def test_poses_that_the_probe_cannot_read_are_left_out_with_the_reason(cache, split, models):
    config = dataclasses.replace(CONFIG, probe=ProbeConfig(steps=1, learning_rate=1e-9))
    results = evaluate({"dino_wm": models["dino_wm"]}, cache, split, config=config)
    assert results.row("dino_wm", "block_error_deg", 1) is None
    assert "blind guess" in results.notes["block_error_deg"]


def test_progress_goes_to_the_end(cache, split, models):
    seen: dict[str, list[tuple[int, int]]] = {}

    class Recorder:
        def __init__(self, title: str, unit: str):
            self.calls = seen.setdefault(title, [])

        def __enter__(self):
            return lambda done, total, values=None: self.calls.append((done, total))

        def __exit__(self, *error):
            return None

    config = dataclasses.replace(CONFIG, probe=ProbeConfig(steps=2))
    evaluate({"dino_wm": models["dino_wm"]}, cache, split, config=config, progress=Recorder)
    assert seen["fit state probe"][-1] == (2, 2)
    assert seen["roll out"] == [(i, 9) for i in range(1, 10)]


def test_wrong_parts_are_refused(cache, split, models):
    other = dataclasses.replace(split, dataset="another")
    with pytest.raises(ForeactError, match="belongs to another dataset"):
        evaluate(models, cache, other, config=CONFIG)
    with pytest.raises(ForeactError, match="cannot be called oracle"):
        evaluate({"oracle": models["dino_wm"]}, cache, split, config=CONFIG)
    stranger = FakeWorldModel()
    stranger.config.tokens = dataclasses.replace(SPEC, fingerprint="other pixels")
    with pytest.raises(ForeactError, match=r"mine was trained on tokens of encoder other pixels"):
        evaluate({"mine": stranger}, cache, split, config=CONFIG)


def test_a_model_that_diverged_and_poses_that_are_missing_are_named(cache, split, models, monkeypatch):
    with pytest.raises(ForeactError, match=r"mine imagines values that are not finite \(episode 0, frame 0\)"):
        evaluate({"mine": FakeWorldModel(gain=float("nan"))}, cache, split, config=CONFIG)
    column = cache.dataset.column

    def damaged(key: str, episode: int) -> np.ndarray:
        rows = column(key, episode).copy()
        if key == "observation.environment_state" and episode == 5:
            rows[3, 1] = np.nan
        return rows

    monkeypatch.setattr(cache.dataset, "column", damaged)
    with pytest.raises(ForeactError, match="episode 5, frame 3: the pose of the block is NaN"):
        evaluate(models, cache, split, config=CONFIG)


def test_strips_are_chosen_without_looking_at_predictions():
    windows = tuple(Window(episode=e, start=s) for e in range(5) for s in (0, 9))
    moving = np.array([0, 0, 0, 1, 1, 1, 0, 0, 0, 1], dtype=bool)
    chosen = choose_strips(windows, moving, 4)
    assert [(w.episode, w.start) for w in chosen] == [(1, 9), (2, 0), (4, 9), (0, 0)]
    assert list(chosen.values()) == [bool(moving[windows.index(w)]) for w in chosen]
    assert choose_strips(windows, moving, 0) == {}
    assert [(w.episode, w.start) for w in choose_strips(windows, moving, 2)] == [(1, 9), (4, 9)]
    assert len(choose_strips(windows, np.zeros(10, dtype=bool), 9)) == 5


def test_films_show_every_frame_of_the_same_futures(results, tmp_path):
    assert [film.episode for film in results.films] == [strip.episode for strip in results.strips]
    film, strip = results.films[0], results.strips[0]
    assert film.panels == ("real", "rla_wm #1", "rla_wm #2", "difference", "dino_wm")
    frames, _ = frames_of(film.moving)
    assert len(frames) == PROTOCOL.steps + 9  # the last one rests
    side = frames[0].shape[0]

    def panel(name, time):
        left = film.panels.index(name) * (side + 2)
        return frames[time][:, left : left + side].astype(float)

    for row in strip.rows:
        times = (0, *PROTOCOL.boundaries)[-len(row.images) :]
        for time, image in zip(times, row.images if row.label in film.panels else ()):
            assert np.abs(panel(row.label, time) - picture(image)).mean() < 6, (row.label, time)  # both are compressed
    assert np.abs(panel("real", 0) - panel("dino_wm", 0)).mean() < 3
    assert panel("difference", 0).min() > 200
    write_film(results, tmp_path / "film.webp")
    written, _ = frames_of("," + base64.b64encode((tmp_path / "film.webp").read_bytes()).decode())
    assert [frame.shape for frame in written] == [(14 + 2 * side, *frames[0].shape[1:])] * len(frames)
    with pytest.raises(ForeactError, match="hold no films"):
        write_film(dataclasses.replace(results, films=()), tmp_path / "none.webp")
