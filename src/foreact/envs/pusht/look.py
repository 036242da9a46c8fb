"""How Push-T looks: colours and the block's shape."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from foreact.envs.block import BLOCK_BOXES, Array

WINDOW = 512  # side of the simulator's window in pixels
Colour = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class PushTLook:
    """Colours (red, green, blue) and the block's shape; the defaults are gym-pusht's.

    Attributes:
        background, walls, goal, block, agent: colours.
        boxes: the block as two boxes in its own frame, (2, 2, 2): smallest and largest x and y of each.
        goal_shown: whether the goal is drawn.
    """

    background: Colour = (255, 255, 255)
    walls: Colour = (211, 211, 211)
    goal: Colour = (144, 238, 144)
    block: Colour = (119, 136, 153)
    agent: Colour = (65, 105, 225)
    boxes: Array = field(default_factory=lambda: BLOCK_BOXES)
    goal_shown: bool = True


DEFAULT = PushTLook()
UNSEEN = PushTLook(
    background=(228, 216, 196),
    goal=(240, 170, 170),
    block=(196, 120, 40),
    agent=(40, 130, 90),
    boxes=np.array([[[-45.0, 0.0], [45.0, 30.0]], [[15.0, 30.0], [45.0, 120.0]]]),
)
"""Other colours and an L instead of the T: a scene that no world model of the default look was trained on."""
LOOKS = {"default": DEFAULT, "unseen": UNSEEN}
