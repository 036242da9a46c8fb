"""`foreact drive`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from foreact.core.arguments import Count


@dataclass(frozen=True, kw_only=True)
class Drive:
    """Drive a world model's imagination with mouse, keys or sliders, on a page of this machine; Ctrl-C ends it.

    Attributes:
        model: folder of a world model, with an image decoder beside it, or a system that ships: pusht.
        env: id of the environment that shows beside it what really happens; none by default.
        data: the LeRobot dataset whose frames are driven from; the one that the run was trained on by default.
        port: of the page; 0 takes a free one.
        chunk: actions that are imagined from the same picture before it moves on.
        futures: of a stochastic model, shown at once.
        option: of the simulator, NAME=VALUE.
    """

    model: Annotated[Positional[Path], arg(metavar="RUN", help_behavior_hint="(required)")]
    env: str | None = None
    data: Path | None = None
    port: int = 8000
    chunk: Count = 5
    futures: Count = 4
    option: Annotated[tuple[str, ...], arg(metavar="NAME=VALUE")] = ()

    def run(self) -> None:
        """Open the page."""
        from foreact.dreams.imagination import world_model_in
        from foreact.envs.registry import parse_options
        from foreact.serving.driving.opening import open_drive
        from foreact.serving.driving.server import serve

        drive = open_drive(
            str(world_model_in(self.model)),
            env=self.env,
            data=None if self.data is None else str(self.data),
            options=parse_options(self.option),
            chunk=self.chunk,
            futures=self.futures,
        )
        with serve(drive, self.port, self.model.resolve().name) as server:
            print(f"open http://127.0.0.1:{server.server_port}/ (Ctrl-C ends it)", flush=True)
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                print("closed")
