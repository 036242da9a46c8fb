"""Where a block goes that a round pusher slides along without friction, as gym-pusht's does: many straight pushes at once.

A block that stops at once (gym-pusht damps all its speed in every step) moves out of the pusher's way by an impulse J along the
contact's normal n at the arm r from its centre of gravity: it shifts by J n and turns by (r x n) J / k^2, with k its radius of
gyration, and J is such that the overlap is gone. Walls push back in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foreact.envs.block import Array, rotate


@dataclass(frozen=True, kw_only=True)
class Sliding:
    """A block, its pusher and the walls.

    Attributes:
        boxes: (K, 2, 2) the block.
        centre: (2,) of gravity, in the block's frame.
        gyration: square of the radius of gyration, pixels squared.
        radius: of the pusher.
        walls: lowest and highest coordinate of the room.
    """

    boxes: Array
    centre: Array
    gyration: float
    radius: float
    walls: tuple[float, float]

    @property
    def corners(self) -> Array:
        """Of all boxes, (C, 2) in the block's frame."""
        return np.array([[x, y] for (a, b), (c, d) in self.boxes for x in (a, c) for y in (b, d)])

    def pushed(self, blocks: Array, starts: Array, ways: Array, steps: int) -> Array:
        """Poses (steps, P, 3) of blocks (P, 3) while pushers go from `starts` (P, 2) by `ways` (P, 2) a step."""
        angle = blocks[:, 2]
        centre = blocks[:, :2] + rotate(self.centre[None], angle)
        poses = np.empty((steps, len(starts), 3))
        corners = self.corners - self.centre
        for step in range(steps):
            pusher = starts + (step + 1) * ways
            for low, high in self.boxes - self.centre:
                local = rotate(pusher - centre, -angle)
                arm = np.clip(local, low, high)
                away = arm - local
                distance = np.maximum(np.linalg.norm(away, axis=-1), 1e-9)
                overlap = np.maximum(self.radius - distance, 0.0)
                centre, angle = self._give_way(centre, angle, arm, away / distance[:, None], overlap)
            centre, angle = self._off_walls(centre, angle, corners)
            poses[step, :, :2] = centre - rotate(self.centre[None], angle)
            poses[step, :, 2] = angle
        return poses

    def _off_walls(self, centre: Array, angle: Array, corners: Array) -> tuple[Array, Array]:
        for axis in (0, 1):
            for sign, wall in ((1.0, self.walls[0]), (-1.0, self.walls[1])):
                beyond = sign * (wall - centre[:, None, axis] - rotate(corners[None], angle[:, None])[..., axis])
                deepest = beyond.argmax(axis=1)
                if (overlap := np.maximum(beyond.max(axis=1), 0.0)).any():
                    normal = rotate(sign * np.eye(2)[axis][None], -angle)
                    centre, angle = self._give_way(centre, angle, corners[deepest], normal, overlap)
        return centre, angle

    def _give_way(self, centre: Array, angle: Array, arm: Array, normal: Array, overlap: Array) -> tuple[Array, Array]:
        """Centres and angles after overlaps (P,) at arms (P, 2) along normals (P, 2), both in the block's frame, are gone."""
        lever = arm[:, 0] * normal[:, 1] - arm[:, 1] * normal[:, 0]
        impulse = overlap / (1.0 + lever**2 / self.gyration)
        return centre + rotate(impulse[:, None] * normal, angle), angle + lever * impulse / self.gyration
