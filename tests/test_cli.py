"""The verbs after training, on small runs: evaluate, claims, report; what scripts rely on, and one-line errors."""

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from foreact.cli import main
from foreact.commands.parsing import parse


@pytest.fixture(scope="module")
def results(trained, in_small, tiny_dataset, tmp_path_factory):
    root, _ = trained
    path = tmp_path_factory.mktemp("results") / "results.json"
    runs = [str(root / "runs" / name) for name in ("rla-wm", "dino-wm", "fm-wm")]
    where = ["--data", str(tiny_dataset), "--cache", str(root / "cache")]
    with in_small():
        main(["evaluate", *runs, *where, "--out", str(path), "--starts", "2", "--samples", "2"])
    return path


def error_of(capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_results_have_what_scripts_rely_on(results, place):
    data = json.loads(results.read_text())
    assert data["schema"] == 2
    assert data["split_hash"] == json.loads((place[0] / "runs/rla-wm/run.json").read_text())["split_hash"]
    rows = {(r["model"], r["metric"], r["chunk"]) for r in data["rows"] if r["subset"] == "all"}
    for model in ("rla_wm", "dino_wm", "fm_wm", "persistence", "oracle"):
        for metric in ("token_l1", "token_l1_skill", "token_cosine", "psnr", "ssim"):
            assert (model, metric, 3) in rows, (model, metric)
    # an untrained encoder may be unreadable; then the reason stands where the column would
    assert ("rla_wm", "block_error_px", 3) in rows or "block_error_px" in " ".join(data["notes"])
    assert {"condition", "flow_step", "flow", "decode", "draw", "encode"} == data["cost"]["rla_wm"].keys()
    still = [r["mean"] for r in data["rows"] if r["model"] == "persistence" and r["metric"] == "token_l1_skill"]
    assert still
    assert all(abs(value) < 1e-9 for value in still)


def test_claims_join_the_results_and_the_report_shows_everything(
    results, place, tiny_dataset, two_camera_dataset, tmp_path
):
    root, _ = place
    mine = tmp_path / "results.json"
    shutil.copy(results, mine)
    where = ["--data", str(tiny_dataset), "--cache", str(root / "cache"), "--unseen", str(two_camera_dataset)]
    main(["claims", str(root / "runs/rla"), *where, "--results", str(mine), "--pairs", "40"])
    figures = json.loads(mine.read_text())["claims"]["figures"]
    assert [f["title"].split(":")[0] for f in figures] == [
        "Reconstruction against |z|",
        "Temporal topology",
        "Reconstruction in an unseen scene",
    ]
    assert all(f["png"] for f in figures)
    main(["report", str(mine), "--out", str(tmp_path / "report.html"), "--picture", str(tmp_path / "strips.png")])
    page = (tmp_path / "report.html").read_text()
    assert "Temporal topology" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert (tmp_path / "strips.png").read_bytes().startswith(b"\x89PNG")


def test_a_split_that_leaked_is_refused(place, tiny_dataset, tmp_path, capsys):
    root, _ = place
    run = tmp_path / "rla-wm"
    shutil.copytree(root / "runs/rla-wm", run)
    split = json.loads((run / "split.json").read_text())
    split["train"], split["validation"] = split["train"][1:] + split["validation"], split["train"][:1]
    (run / "split.json").write_text(json.dumps(split))
    where = ["--data", str(tiny_dataset), "--cache", str(root / "cache"), "--out", str(tmp_path / "r.json")]
    assert "may have been trained on" in error_of(capsys, ["evaluate", str(root / "runs/dino-wm"), str(run), *where])


def test_bad_runs_and_results(place, tiny_dataset, results, tmp_path, capsys):
    root, _ = place
    where = ["--data", str(tiny_dataset), "--out", str(tmp_path / "r.json")]
    assert "at least one world model" in error_of(capsys, ["evaluate", str(root / "runs/rla"), *where])
    assert "no such folder" in error_of(capsys, ["evaluate", str(tmp_path / "none"), *where])
    assert "at least 1" in error_of(capsys, ["evaluate", str(root / "runs/rla-wm"), *where, "--chunk", "0"])
    other = tmp_path / "other.json"
    other.write_text(results.read_text().replace('"schema": 2', '"schema": 7'))
    assert "another schema" in error_of(capsys, ["report", str(other)])
    misspelt = error_of(capsys, ["benchmark", "coin-world", "--sedes", "3"])
    assert misspelt.endswith("(see foreact benchmark coin-world --help)")


def test_ctrl_c_in_a_stage_is_one_line_and_leaves_earlier_results_whole(
    results, place, tiny_dataset, tmp_path, capsys, monkeypatch
):
    """Recording, import, token cache and training have tests of their own, where what was done is gone on with."""
    root, _ = place
    mine, sheet = tmp_path / "results.json", tmp_path / "sheet.png"
    shutil.copy(results, mine)
    sheet.write_bytes(b"an earlier sheet")

    @contextlib.contextmanager
    def interrupted(title, unit):
        def on_progress(done, total, values=None):
            raise KeyboardInterrupt

        yield on_progress

    for verb in ("evaluate", "claims", "inspect", "benchmark"):
        monkeypatch.setattr(f"foreact.commands.{verb}.progress_bar", interrupted)
    where = ["--data", str(tiny_dataset), "--cache", str(root / "cache")]
    study = tmp_path / "study"
    for arguments in (
        ["evaluate", str(root / "runs/rla-wm"), *where, "--out", str(mine)],
        ["claims", str(root / "runs/rla"), *where, "--results", str(mine)],
        ["inspect", str(tiny_dataset), "--contact-sheet", str(sheet)],
        ["benchmark", "samplers", "--runs", str(root / "runs/rla-wm"), *where, "--out", str(study)],
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 130, arguments
        said = capsys.readouterr().err.strip().splitlines()
        assert said[-1] == "foreact: interrupted; run the same command again to go on"
        assert "Traceback" not in " ".join(said)
    assert mine.read_bytes() == results.read_bytes()
    assert sheet.read_bytes() == b"an earlier sheet"
    assert not (study / "results.json").exists()


def test_cost_as_json(capsys):
    main(["cost", "--preset", "tiny", "--json"])
    costs = json.loads(capsys.readouterr().out)
    assert costs["rla_wm"]["flow"]["flops"] == 2 * costs["rla_wm"]["flow_step"]["flops"]
    assert costs["dino_wm"]["decode"]["params"] > 0


def test_debug_shows_the_traceback(tmp_path):
    from foreact.core.errors import ForeactError

    with pytest.raises(ForeactError):
        main(["inspect", str(tmp_path / "none"), "--debug"])


def test_every_command_of_the_makefile_is_understood():
    makefile = (Path(__file__).parents[1] / "Makefile").read_text()
    makefile = makefile.replace("$(DEMO_LENGTH)", "--minutes 9").replace("$(FOREACT)", "foreact").replace("\\\n", "")
    makefile = re.sub(r"\tsteps=.*?; do\s+|\|\| exit.*", "\n", makefile)
    commands = [line.strip() for line in makefile.splitlines() if line.strip().startswith("foreact ")]
    assert len(commands) == 6
    for command in commands:
        words = re.sub(r"\$\(DEMO_EPISODES\)|\$\$steps", "9", command.split("#")[0])
        assert callable(parse(shlex.split(words)[1:])), command


def test_the_python_of_the_readme_runs(place, tiny_dataset, tmp_path, monkeypatch):
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    code = re.search(r"```python\n(.*?)```", readme, re.DOTALL).group(1)
    code = code.replace("runs/demo/data", str(tiny_dataset)).replace("runs/demo/rla-wm", str(place[0] / "runs/rla-wm"))
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "future.png").exists()


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["inspect", "nowhere"]])
@pytest.mark.parametrize("streams", [["stdout"], ["stdout", "stderr"]])
def test_a_reader_that_left_is_no_error(arguments, streams, tmp_path):
    """As in `foreact train --help | head -1`, but with nobody there from the start."""
    read, write = os.pipe()
    os.close(read)
    with open(tmp_path / "stderr", "w+") as errors:
        ended = subprocess.run(
            [sys.executable, "-m", "foreact", *arguments],
            stdout=write,
            stderr=write if "stderr" in streams else errors,
            check=False,
        )
        os.close(write)
        errors.seek(0)
        said = errors.read()
    if arguments[0] == "inspect" and streams == ["stdout"]:  # it has nothing to say on standard output
        assert ended.returncode == 2
        assert said.startswith("foreact: ")
    else:
        assert ended.returncode == 141
        assert said == ""


def every_help():
    """Words that ask for help, of every verb, model and study."""
    from foreact.commands import VERBS
    from foreact.core.registry import trainable
    from foreact.studies.settings import Study

    yield ["--help"]
    yield from ([verb, "--help"] for verb in VERBS)
    yield from (["train", kind.replace("_", "-"), "--help"] for kind in trainable())
    yield from (["benchmark", study.name, "--help"] for study in get_args(Study))


@pytest.mark.parametrize("words", every_help(), ids=" ".join)
def test_help_says_no_more_than_it_must(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert shown.count("\n") > 5
    for noise in ("None", "--no-no-", "--no-skip", "(default: False)", "(default: )"):
        assert noise not in shown, noise


def test_a_model_shows_its_own_options_and_those_of_all(capsys):
    def options(words):
        with pytest.raises(SystemExit):
            main(["train", *words, "--help"])
        return set(re.findall(r"^(?:│| ) (--[a-z-]+)", capsys.readouterr().out, re.MULTILINE))

    shared = options([])
    assert {"--data", "--out", "--steps", "--episodes", "--skip-defective", "--skip-missing"} <= shared
    tokens = {"--encoder", "--image-size"}
    assert options(["dino-wm"]) == shared | tokens
    assert options(["rla"]) == shared | tokens | {"--latent", "--variant", "--merge"}
    assert "--teacher" in options(["rla-wm"])


def test_help_of_a_training_names_every_model_and_imports_none():
    check = (
        "import sys, foreact.cli\n"
        "try:\n    foreact.cli.main(['train', '--help'])\n"
        "except SystemExit:\n    sys.exit('torch' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout
    from foreact.core.registry import trainable

    assert set(re.findall(r"[a-z-]+", shown)) >= {kind.replace("_", "-") for kind in trainable()}


def test_a_broken_package_of_models_is_named_and_the_others_stay(capsys, monkeypatch):
    from importlib.metadata import EntryPoint

    from foreact.core import registry

    point = EntryPoint(name="dream-wm", value="no_such_package:CARD", group=registry.GROUP)
    monkeypatch.setattr(registry, "_foreign", lambda: {"dream_wm": point})
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "broken: dream-wm" in shown
    assert "No module named 'no_such_package'" in shown
    assert "world models: rla-wm, dino-wm" in shown
    assert "cannot be imported" in error_of(capsys, ["train", "dream-wm", "--data", "x", "--out", "y"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no verb: choose one of fit, collect"),
        (["trane"], "unknown verb 'trane': choose one of fit, collect"),
        (["train"], "name the model first"),
        (["train", "--data", "x", "rla"], "name the model first"),
        (["train", "tiny-encoder"], "no model 'tiny-encoder' to train: choose one of encoder, rla"),
        (["train", "rla", "--out", "x"], "foreact train rla needs --data (see foreact train rla --help)"),
        (["train", "rla", "--rla", "x"], "--rla is not an option of rla (see foreact train rla --help)"),
        (["train", "rla", "--data", "x", "--out", "y", "--steps", "None"], "Error parsing --steps"),
        (["collect", "--out", "x"], "foreact collect needs ENV"),
        (["inspect"], "foreact inspect needs DATASET"),
    ],
)
def test_wrong_usage_is_one_line(words, said, capsys):
    assert f"foreact: {said}" in error_of(capsys, words)
