"""Whether a goal picture is of the scene that was recorded."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from foreact.dreams.dream import Dream


class Familiar:
    """Recorded pictures, to compare others with.

    Args:
        dream: whose encoder looks at them.
        pictures: of the recordings, uint8 (M, height, width, 3), M at least 2.
    """

    def __init__(self, dream: Dream, pictures: np.ndarray) -> None:
        self._dream, self._known = dream, dream.encode(pictures).flatten(1)
        among = torch.cdist(self._known, self._known).fill_diagonal_(torch.inf)
        self._usual = float(among.amin(dim=1).max())

    def strangeness(self, picture: np.ndarray) -> float:
        """How far a picture (height, width, 3) is from the nearest recorded one; 1 is the loneliest of the recorded ones."""
        seen: Tensor = self._dream.encode(picture[None]).flatten(1)
        return float(torch.cdist(seen, self._known).min()) / max(self._usual, 1e-9)
