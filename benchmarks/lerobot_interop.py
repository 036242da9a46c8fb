"""Does LeRobot open what foreact writes, and foreact what LeRobot writes?

Run it in an environment that has both, apart from the one foreact is used in (LeRobot pins many packages):

    python -m venv interop && . interop/bin/activate
    pip install torch==2.13.0 torchvision==0.28.0 torchcodec==0.13.0 "datasets>=4,<5" "huggingface-hub>=0.34.2,<0.36" \
        "av>=15,<16" jsonlines draccus==0.10.0 einops "deepdiff<9" "setuptools<81" "pandas<3" accelerate termcolor safetensors
    pip install --no-deps lerobot==0.4.4 -e .
    python benchmarks/lerobot_interop.py

torchcodec needs the libraries of a system's ffmpeg.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from foreact.data.lerobot import LeRobotDataset
from foreact.data.writer import LeRobotWriter

CAMERAS = ("observation.images.top", "observation.images.side")
COLUMNS = {"action": ("x", "y"), "observation.state": ("a", "b", "c"), "next.reward": ("reward",)}
LENGTHS, TASKS, FPS, SIZE = (11, 13, 7, 1, 29), ("push", "pull"), 10, (96, 128)


def scene(length: int, rng: np.random.Generator) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Smooth pictures of both cameras with a moving square, and random rows."""
    height, width = SIZE
    ramp = (
        np.linspace(0, 200, width)[None, :, None] * rng.uniform(0.3, 1, 3) + np.linspace(0, 55, height)[:, None, None]
    )
    frames = {camera: np.repeat(ramp[None].astype(np.uint8), length, 0) for camera in CAMERAS}
    for t in range(length):
        frames[CAMERAS[0]][t, 20:40, 2 * t : 2 * t + 20] = (220, 40, 40)
        frames[CAMERAS[1]][t, 2 * t : 2 * t + 20, 20:40] = (40, 40, 220)
    rows = {key: rng.normal(size=(length, len(names))).astype(np.float32) for key, names in COLUMNS.items()}
    return frames, rows


def open_with_lerobot(root: Path) -> Any:
    """LeRobot's own dataset object on a local folder."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset as Theirs

    return Theirs("local/interop", root=root, video_backend="torchcodec")


def compare(root: Path, *, most: int = 400) -> dict[str, Any]:
    """Read a dataset with both readers; differences over at most `most` evenly spaced frames, in grey levels."""
    ours, theirs = LeRobotDataset(root), open_with_lerobot(root)
    assert len(theirs) == ours.total_frames
    assert theirs.num_episodes == len(ours.episodes)
    columns = [key for key in COLUMNS if key in ours.features]
    pixels, largest, rows = [], 0, 0.0
    for index in np.unique(np.linspace(0, ours.total_frames - 1, most).round().astype(int)):
        episode = next(e for e in reversed(ours.episodes) if e.offset <= index)
        t, item = int(index) - episode.offset, theirs[int(index)]
        assert (int(item["episode_index"]), int(item["frame_index"]), item["task"]) == (episode.index, t, episode.task)
        for camera in ours.cameras:
            frame = ours.frames(episode.index, start=t, count=1, camera=camera)[0].astype(int)
            difference = np.abs(frame - (item[camera].permute(1, 2, 0) * 255).round().int().numpy())
            pixels.append(difference.mean())
            largest = max(largest, int(difference.max()))
        for key in columns:
            mine, other = ours.column(key, episode.index)[t], np.asarray(item[key]).reshape(-1)
            assert (np.isnan(mine) == np.isnan(other)).all()
            rows = max(rows, float(np.nanmax(np.abs(mine - other), initial=0.0)))
    return {
        "items": len(pixels) // len(ours.cameras),
        "pixel_mean": float(np.mean(pixels)),
        "pixel_max": largest,
        "row_max": rows,
    }


def ours_to_lerobot(root: Path, *, actions: bool) -> dict[str, Any]:
    """Write with foreact (the second episode actionless, or all of them), read with both."""
    rng = np.random.default_rng(0)
    columns = {key: names for key, names in COLUMNS.items() if actions or key != "action"}
    cameras = dict.fromkeys(CAMERAS, SIZE)
    with LeRobotWriter(root, fps=FPS, cameras=cameras, columns=columns, robot_type="toy") as writer:
        for index, length in enumerate(LENGTHS):
            frames, rows = scene(length, rng)
            if index == 1 or not actions:
                del rows["action"]
            writer.add_episode(frames, rows, TASKS[index % 2])
    result = compare(root)
    stats = open_with_lerobot(root).meta.stats
    assert all(np.isfinite(np.asarray(stats[key]["mean"])).all() for key in columns)
    return result


def lerobot_to_ours(root: Path) -> dict[str, Any]:
    """Write with LeRobot, read with both, and compare with what was recorded."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset as Theirs

    pictures = {"dtype": "video", "shape": (*SIZE, 3), "names": ["height", "width", "channels"]}
    features = dict.fromkeys(CAMERAS, pictures)
    # LeRobot 0.4.4 cannot write a feature of one dimension beside numpy 2.4, so the reward is left out.
    columns = {key: names for key, names in COLUMNS.items() if len(names) > 1}
    features |= {key: {"dtype": "float32", "shape": (len(n),), "names": list(n)} for key, n in columns.items()}
    theirs = Theirs.create("local/interop", fps=FPS, root=root, robot_type="toy", features=features, use_videos=True)
    rng, recorded = np.random.default_rng(1), []
    for index, length in enumerate(LENGTHS):
        frames, rows = scene(length, rng)
        rows = {key: rows[key] for key in columns}
        recorded.append((frames, rows))
        for t in range(length):
            item = {camera: video[t] for camera, video in frames.items()} | {key: v[t] for key, v in rows.items()}
            theirs.add_frame(item | {"task": TASKS[index % 2]})
        theirs.save_episode()
    theirs.finalize()
    ours = LeRobotDataset(root)
    assert [(e.length, e.task) for e in ours.episodes] == [(n, TASKS[i % 2]) for i, n in enumerate(LENGTHS)]
    errors = []
    for index, (frames, rows) in enumerate(recorded):
        for key, values in rows.items():
            assert np.array_equal(ours.column(key, index), values), (index, key)
        for camera, video in frames.items():
            errors.append(np.abs(ours.frames(index, camera=camera).astype(int) - video).mean())
    return compare(root) | {"codec_error_mean": float(np.mean(errors)), "codec_error_worst_episode": float(max(errors))}


def mend_torchvision() -> torch.library.Library:
    """Define two operators that torchvision's published wheel lacks beside a CPU build of torch."""
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, action="append", default=[], help="another dataset to read with both")
    parser.add_argument("--out", type=Path, help="write the results there as JSON")
    arguments = parser.parse_args()
    library = None if torch.cuda.is_available() else mend_torchvision()
    packages = ("lerobot", "torch", "torchvision", "torchcodec", "datasets", "av", "pyarrow", "numpy")
    results: dict[str, Any] = {"versions": {name: importlib.metadata.version(name) for name in packages}}
    results["versions"]["python"] = sys.version.split()[0]
    with tempfile.TemporaryDirectory() as folder:
        results["written by foreact"] = ours_to_lerobot(Path(folder) / "ours", actions=True)
        results["written by foreact, actionless"] = ours_to_lerobot(Path(folder) / "actionless", actions=False)
        results["written by LeRobot"] = lerobot_to_ours(Path(folder) / "theirs")
    for path in arguments.dataset:
        results[path.name] = compare(path)
    text = json.dumps(results, indent=2)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")
    del library


if __name__ == "__main__":
    main()
