"""gym-pusht's Push-T with frames free of aliasing, and with other colours and another block where asked for."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pygame
from gym_pusht.envs.pusht import PushTEnv
from gym_pusht.envs.pymunk_override import DrawOptions
from pymunk.pygame_util import to_pygame

from foreact.envs.block import BLOCK_BOXES
from foreact.envs.pusht.look import DEFAULT, WINDOW, PushTLook


class PushT(PushTEnv):
    """Observations are frames (size, size, 3) uint8; states, actions and dynamics are gym-pusht's.

    gym-pusht samples its window without a filter, so that edges flicker as they move; here each pixel is a mean.
    """

    def __init__(self, size: int, look: PushTLook = DEFAULT, *, draws: bool = True) -> None:
        super().__init__(obs_type="pixels", observation_width=size, observation_height=size)
        self.look, self.draws = look, draws

    def get_obs(self) -> Any:
        """The frame; None where frames are asked for with `picture`."""
        return self.picture() if self.draws else None

    def picture(self) -> Any:
        """What the camera sees now, uint8 (size, size, 3)."""
        return self._render()

    def _setup(self) -> None:
        super()._setup()
        if self.look.boxes is BLOCK_BOXES:
            return
        for shape, box in zip(self._block_shapes, self.look.boxes, strict=True):
            (left, top), (right, bottom) = box
            shape.unsafe_set_vertices([(left, top), (right, top), (right, bottom), (left, bottom)])
        bar, stem = self._block_shapes
        self.block.center_of_gravity = (bar.center_of_gravity + stem.center_of_gravity) / 2

    def _draw(self) -> pygame.Surface:
        screen = pygame.Surface((WINDOW, WINDOW), depth=32)
        screen.fill(self.look.background)
        if self.look.goal_shown:
            body = self.get_goal_pose_body(self.goal_pose)
            for shape in self.block.shapes:
                corners = [to_pygame(body.local_to_world(v), screen) for v in shape.get_vertices()]
                pygame.draw.polygon(screen, self.look.goal, corners)
        colours = {self.block: self.look.block, self.agent: self.look.agent}
        for shape in self.space.shapes:
            shape.color = pygame.Color(*colours.get(shape.body, self.look.walls))
        self.space.debug_draw(DrawOptions(screen))
        return screen

    def _get_img(self, screen: pygame.Surface, width: int, height: int, render_action: bool = False) -> Any:
        pixels = np.frombuffer(screen.get_buffer().raw, np.uint8).reshape(WINDOW, WINDOW, 4)  # blue, green, red, unused
        return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)[..., 2::-1].copy()
