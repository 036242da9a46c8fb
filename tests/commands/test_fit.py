"""`foreact fit`: the whole way on small recordings, stopped and gone on with, and what it refuses."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from foreact.cli import main
from foreact.core import progress
from foreact.core.pretrained import load_model
from foreact.encoders.tiny import TinyEncoderConfig
from foreact.fitting import run as fit_run
from foreact.fitting.overall import Overall
from foreact.fitting.planning import Left, table, within
from foreact.fitting.stages import Piece, Stage, total_disk

MODELS = ("rla", "rla-wm", "image-decoder", "dino-wm")
NEWS = ["What is to be done", "encode:", "rla:", "rla-wm:", "image-decoder:", "dino-wm:", "evaluate:", "Next: "]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder") / "small"
    TinyEncoderConfig(stem=(8, 8, 8), dim=24, depth=1, heads=3).build().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def fit(
    tiny_dataset: Path, encoder: Path, tmp_path_factory: pytest.TempPathFactory, in_small: Callable[[], Any]
) -> Callable[..., str]:
    """`fit(out, *more) -> what it said`: both streams together, a line for every piece of news."""
    cache = tmp_path_factory.mktemp("cache")

    def run(out: Path, *more: str, data: Path = tiny_dataset, cached: Path = cache, model: str = "dino-wm") -> str:
        words = ["fit", str(data), "--out", str(out), "--encoder", str(encoder), "--image-size", "64"]
        compared = ["--compare", model] if model else []
        said = io.StringIO()
        with contextlib.ExitStack() as stack:
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            for context in (in_small(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said)):
                stack.enter_context(context)
            patch.setattr(progress, "_SOONEST", 0.0)
            patch.setattr(progress, "_SHARE", 0.0)
            try:
                main([*words, *compared, "--cache", str(cached), *(more or ("--steps", "6"))])
            except SystemExit as ended:
                print(f"ended with {ended.code}", file=said)
        return said.getvalue()

    return run


@pytest.fixture(scope="module")
def fitted(fit: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished fit and what it said."""
    out = tmp_path_factory.mktemp("fit") / "moving-squares"
    return out, fit(out, "--steps", "6", "--name", "Moving squares")


def test_the_whole_way(fitted: tuple[Path, str]) -> None:
    """Of README's command, `foreact fit data/mine --out runs/mine --compare dino-wm`."""
    out, said = fitted
    places = [said.index(news) for news in NEWS]
    assert places == sorted(places), said
    assert "6 steps" in said[said.index("What is to be done") : said.index("encode:")]
    for model in MODELS:
        assert {"config.json", "model.safetensors", "log.jsonl"} <= {p.name for p in (out / model).iterdir()}
        assert json.loads((out / model / "log.jsonl").read_text().splitlines()[-1])["step"] == 6
    results = json.loads((out / "results.json").read_text())
    assert {"rla_wm", "dino_wm", "persistence", "oracle"} <= {row["model"] for row in results["rows"]}
    assert "Imagined futures: Moving squares" in (out / "report.html").read_text()
    assert "persistence" in said[said.index("evaluate:") :]
    assert f"report: {out / 'report.html'}" in said.splitlines()


def test_measuring_leaves_no_trace(fitted: tuple[Path, str]) -> None:
    out, _ = fitted
    files = {"fit.json", "inspection.json", "contact_sheet.png", "results.json", "report.html"}
    assert {p.name for p in out.iterdir()} == {*files, *MODELS}


def test_progress_is_told_in_lines_where_there_is_no_terminal(fitted: tuple[Path, str]) -> None:
    _, said = fitted
    lines = [line for line in said.splitlines() if line[:4].strip().endswith("%")]
    shares = [int(line[:3]) for line in lines]
    assert shares == sorted(shares)
    assert shares[-1] == 100
    assert any("encode: " in line and "frames/" in line and " left" in line for line in lines)
    assert any("rla-wm: " in line and "steps/" in line and "loss" in line for line in lines)
    assert "\x1b[" not in said
    assert "\r" not in said


def test_a_finished_fit_is_not_done_again(fitted: tuple[Path, str], fit: Callable[..., str]) -> None:
    out, said = fitted
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    again = fit(out)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    assert "measure" not in again
    assert again == said[said.index(again[:40]) :]


def test_other_settings_are_refused(fitted: tuple[Path, str], fit: Callable[..., str]) -> None:
    out, _ = fitted
    assert f"foreact: {out} was begun with other settings (steps: 6 -> 7)" in fit(out, "--steps", "7")
    assert "(compare: ['dino-wm'] -> ['fm-wm'])" in fit(out, model="fm-wm")


def test_models_that_ship_are_begun_with(
    fitted: tuple[Path, str], fit: Callable[..., str], encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systems, out = tmp_path / "systems", tmp_path / "moving-squares"
    for model in ("rla", "image-decoder"):
        trained = load_model(fitted[0] / model)
        trained.load_state_dict({name: 1.5 * tensor for name, tensor in trained.state_dict().items()})
        trained.save_pretrained(systems / "generic" / model)
    (systems / "generic" / "system.json").write_text(json.dumps({"preset": "tiny", "encoder": str(encoder)}))
    for module in ("core.pretrained", "fitting.request"):
        monkeypatch.setattr(f"foreact.{module}.SHIPPED", systems)
    fit(out, "--steps", "1")
    for model in ("rla", "image-decoder"):
        assert 0 < _apart(load_model(out / model), load_model(systems / "generic" / model)) < 0.02
    assert "foreact: " + str(out) + " was begun with other settings (start: " in fit(
        out, "--steps", "1", "--from-scratch"
    )


def _apart(one: Any, other: Any) -> float:
    """Mean difference of weights in units of their size."""
    pairs = [(a.float(), other.state_dict()[name].float()) for name, a in one.state_dict().items()]
    return float(sum((a - b).abs().sum() for a, b in pairs) / sum(b.abs().sum() for _, b in pairs))


class _Killed(BaseException):
    pass


def _at(patch: pytest.MonkeyPatch, wanted: str, act: Callable[[], Any]) -> None:
    """Do `act` when the progress says `wanted`."""

    @contextlib.contextmanager
    def overall_bar() -> Iterator[Callable[[float, float, str], None]]:
        def report(done: float, total: float, doing: str) -> None:
            if doing.startswith(wanted):
                act()

        yield report

    patch.setattr(fit_run, "overall_bar", overall_bar)


def test_what_was_stopped_goes_on_to_the_same_end(
    fitted: tuple[Path, str], fit: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while it encodes, and interrupted in the middle of a training."""
    whole, out, cache = fitted[0], tmp_path / "moving-squares", tmp_path / "cache"

    def kill() -> None:
        raise _Killed

    with monkeypatch.context() as patch:
        _at(patch, "encode: 121/258", kill)
        with pytest.raises(_Killed):
            fit(out, cached=cache)
    assert not (out / "rla").exists()
    with monkeypatch.context() as patch:
        _at(patch, "rla-wm: 3/6", lambda: os.kill(os.getpid(), signal.SIGINT))
        said = fit(out, cached=cache)
    assert said.splitlines()[-2:] == [
        "foreact: interrupted; run the same command again to go on",
        "ended with 130",
    ]
    rows = {line.split("│")[1].strip(): line.split("│")[2].strip() for line in said.splitlines() if line.count("│") > 2}
    assert rows["inspect"] == "done"
    assert rows["encode"] == "137 frames"
    assert (out / "rla-wm" / "checkpoints" / "step-00000003").is_dir()
    said = fit(out, cached=cache)
    assert "What is left" in said
    rows = {line.split("│")[1].strip(): line.split("│")[2].strip() for line in said.splitlines() if line.count("│") > 2}
    assert (rows["encode"], rows["rla"], rows["rla-wm"], rows["dino-wm"]) == ("done", "done", "3 steps", "6 steps")
    for model in MODELS:
        assert (out / model / "model.safetensors").read_bytes() == (whole / model / "model.safetensors").read_bytes()
    assert rows_of(out) == rows_of(whole)


def rows_of(out: Path) -> Any:
    return json.loads((out / "results.json").read_text())["rows"]


def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(
    fitted: tuple[Path, str], fit: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    shutil.copy(fitted[0] / "fit.json", out)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
    said = fit(out, cached=tmp_path / "cache")
    assert "which has 1.0 MB free: make room, or choose another --out or --cache" in said
    assert said.endswith("ended with 2\n")
    assert [p.name for p in out.iterdir()] == ["fit.json"]


def test_videos_without_actions_make_no_world_model(
    actionless_dataset: Path, fit: Callable[..., str], tmp_path: Path
) -> None:
    said = fit(tmp_path / "run", "--steps", "3", data=actionless_dataset, model="")
    assert "has no episode with actions: RLA and the image decoder are trained, and no world model" in said
    assert {p.name for p in (tmp_path / "run").iterdir() if p.is_dir()} == {"rla", "image-decoder"}
    assert "RLA: loss on held-out data" in said


@pytest.mark.parametrize(
    ("more", "error"),
    [
        (("--steps", "6", "--minutes", "3"), "--minutes chooses the steps"),
        (("--steps", "0"), "--steps must be at least 1"),
        (("--minutes", "nan"), "--minutes more than 0"),
        (("--latent", "3x4"), "--latent is not an option of fit"),
    ],
)
def test_senseless_options_are_refused(
    fit: Callable[..., str], tmp_path: Path, more: tuple[str, ...], error: str
) -> None:
    assert error in fit(tmp_path / "run", *more)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("model", "error"), [("rla", "not rla"), ("rla-wm", "not rla-wm"), ("nope", "unknown kind")])
def test_only_world_models_are_compared(fit: Callable[..., str], tmp_path: Path, model: str, error: str) -> None:
    assert error in fit(tmp_path / "run", model=model)


def stage(name: str, unit: str, count: int, seconds: float, **more: Any) -> Stage:
    return Stage(name=name, pieces=(Piece(unit=unit, count=count, seconds=seconds),), **more)


def test_steps_follow_the_minutes() -> None:
    stages = (stage("encode", "frames", 600, 0.1), stage("rla", "steps", 800, 0.3, kind="rla", fixed=10.0))
    assert within(stages, 60).stages == stages
    (_, shorter) = within(stages, (60 + 10 + 120) / 60).stages
    assert shorter.steps == 400
    tight = within(stages, 1)
    assert tight.stages[1].steps == 200
    assert "too short" in tight.note


def test_what_is_written_in_passing_counts_once() -> None:
    stages = [stage(name, "steps", 1, 1.0, disk=10, passing=passing) for name, passing in (("a", 7), ("b", 3))]
    assert total_disk(stages) == 23


def test_the_work_of_several_datasets_is_told_as_one_sum() -> None:
    resized = Piece(unit="frames", count=30, seconds=0.1, told=False)
    pieces = (
        Piece(unit="frames", count=10, seconds=0.1),
        resized,
        Piece(unit="frames", count=1500, seconds=0.1),
        resized,
    )
    left = [Left.all_of(Stage(name="encode", pieces=pieces)), Left.all_of(stage("rla", "steps", 5, 0.1), 0.0)]
    assert [*table(left).columns[1].cells][:2] == ["1,510 frames", "done"]


def test_the_overall_progress_weighs_stages_by_their_seconds() -> None:
    told: list[tuple[float, str]] = []
    encode = Stage(
        name="encode",
        pieces=(Piece(unit="frames", count=10, seconds=2.0), Piece(unit="frames", count=10, seconds=1.0)),
    )
    left = [Left.all_of(encode), Left.all_of(stage("rla", "steps", 100, 0.1, fixed=10.0), 0.5)]
    overall = Overall(left, lambda done, total, doing: told.append((done / total, doing)))
    with overall.stage(left[0]) as progress, progress("encode frames", "frames") as on_progress:
        for _ in range(2):
            for done in (0, 5, 10):
                on_progress(done, 10)
    shares = [share for share, doing in told if doing.startswith("encode: 5/10")]
    assert shares == pytest.approx([10 / 45, 25 / 45])
    with overall.stage(left[1]) as progress:
        with progress("load", "files") as on_progress:  # does not count
            on_progress(1, 2)
        with progress("train rla", "steps") as on_progress:
            on_progress(50, 100, {"loss": 0.5})
            on_progress(75, 100, {"loss": 0.25})
    assert next(share for share, doing in told if doing.startswith("rla: 75/100")) == pytest.approx(32.5 / 45)
    assert told[-1] == (1.0, "rla done")
