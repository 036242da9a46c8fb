"""foreact: latent-action world models for robots. Train on recordings, see the imagined future, use it.

from foreact import load

model = load("runs/push_t/rla-wm")
future = model.imagine(frame, actions, seed=0)
"""

from __future__ import annotations

from foreact.core.errors import ForeactError

TYPE_CHECKING = False  # typing takes as long to import as Python takes to start
if TYPE_CHECKING:
    from typing import Any

__version__ = "0.2.0"
__all__ = ["ForeactError", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """Import `load` when it is first used: it needs torch, which takes seconds."""
    if name == "load":
        from foreact.dreams.imagination import load

        return load
    raise AttributeError(f"module 'foreact' has no attribute {name!r}")
