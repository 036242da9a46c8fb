"""Distance to a picture of the goal, in tokens."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from foreact.core.errors import ForeactError
from foreact.imagination.demonstrations import Demonstrations
from foreact.imagination.rewards.base import Step
from foreact.imagination.rewards.video_aligned import SCALE
from foreact.recordings.token_cache import encode_frames


class Goal:
    """-5 times the token L1 to a picture.

    Args:
        demonstrations: whose encoder sees the picture.
        path: of the picture.

    Raises:
        ForeactError: no picture there.
    """

    def __init__(self, demonstrations: Demonstrations, path: str) -> None:
        try:
            frame = np.array(Image.open(path).convert("RGB"))
        except (OSError, UnidentifiedImageError) as error:
            raise ForeactError(
                f"{path or 'no file'} is no picture of a goal ({error}): write --reward goal:PICTURE"
            ) from error
        self._goal = torch.from_numpy(encode_frames(demonstrations.recordings.encoder, frame[None])).float()

    def __call__(self, step: Step) -> np.ndarray:
        """(n,), 0 at best."""
        return -SCALE * (step.tokens - self._goal).abs().mean(dim=(1, 2)).numpy()
