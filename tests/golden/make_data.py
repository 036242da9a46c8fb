"""How the golden files were made, with the code of commit 8e8e883: they are never written again.

    python tests/golden/make_data.py OUT

The recordings of the old runs: pictures as PNG in parquet, so that no codec changes a byte.
"""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

root = Path(sys.argv[1])
(root / "meta").mkdir(parents=True)
E = 4
T = 10
S = 32
rows = {
    k: []
    for k in ("observation.images.top", "action", "timestamp", "frame_index", "episode_index", "index", "task_index")
}
rng = np.random.default_rng(0)
n = 0
(root / "data/chunk-000").mkdir(parents=True)
eps = []
for e in range(E):
    p = np.array([8.0, 8.0]) + rng.integers(0, 12, 2)
    v = rng.integers(-2, 3, 2).astype(float)
    rows = {k: [] for k in rows}
    for t in range(T):
        img = np.full((S, S, 3), 40 * e + 20, np.uint8)
        y, x = np.clip(p, 0, S - 6).astype(int)
        img[y : y + 6, x : x + 6] = (250, 200 - 30 * e, 30)
        buf = io.BytesIO()
        Image.fromarray(img).save(buf, "PNG", optimize=True)
        a = v + rng.integers(-1, 2, 2)
        rows["observation.images.top"].append({"bytes": buf.getvalue(), "path": f"{t}.png"})
        rows["action"].append(a.astype(np.float32).tolist())
        rows["timestamp"].append(t / 10)
        rows["frame_index"].append(t)
        rows["episode_index"].append(e)
        rows["index"].append(n)
        rows["task_index"].append(0)
        n += 1
        p = np.clip(p + a, 0, S - 6)
    pq.write_table(
        pa.table(
            {
                "observation.images.top": pa.array(rows["observation.images.top"]),
                "action": pa.array(rows["action"], pa.list_(pa.float32(), 2)),
                "timestamp": pa.array(rows["timestamp"], pa.float32()),
                **{k: pa.array(rows[k], pa.int64()) for k in ("frame_index", "episode_index", "index", "task_index")},
            }
        ),
        root / f"data/chunk-000/episode_{e:06d}.parquet",
    )
    eps.append({"episode_index": e, "tasks": ["follow the square"], "length": T})
(root / "meta/episodes.jsonl").write_text("".join(json.dumps(x) + "\n" for x in eps))
(root / "meta/tasks.jsonl").write_text(json.dumps({"task_index": 0, "task": "follow the square"}) + "\n")
info = {
    "codebase_version": "v2.1",
    "robot_type": "square",
    "total_episodes": E,
    "total_frames": n,
    "total_tasks": 1,
    "chunks_size": 1000,
    "fps": 10,
    "splits": {"train": f"0:{E}"},
    "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
    "video_path": None,
    "features": {
        "observation.images.top": {"dtype": "image", "shape": [S, S, 3], "names": ["height", "width", "channels"]},
        "action": {"dtype": "float32", "shape": [2], "names": ["y", "x"]},
        **{
            k: {"dtype": "float32" if k == "timestamp" else "int64", "shape": [1], "names": None}
            for k in ("timestamp", "frame_index", "episode_index", "index", "task_index")
        },
    },
}
(root / "meta/info.json").write_text(json.dumps(info, indent=1))
