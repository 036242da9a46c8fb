"""The push that brings a block nearest to a goal pose, for a block that stops when its pusher does.

Quasi-static pushing with a contact that sticks (Goyal, Ruina and Papadopoulos 1991; Lynch and Mason 1996): friction with
the ground ties the block's velocity v and turning rate w to the pusher's force f and torque m by an ellipsoid, v ~ f and
w ~ m / rho^2, with rho the mean distance from the centre at which friction acts. The contact moves as the pusher does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foreact.envs.block import Array, distance_to_block, rotate

SUBSTEPS = 12  # of a simulated push
SPOTS = 9  # contacts tried along each side of a box
LEANS = np.radians([-40.0, -20.0, 0.0, 20.0, 40.0])  # of a push against the side's normal
LENGTHS = np.array([0.015, 0.03, 0.06, 0.1, 0.17, 0.28, 0.45, 0.7, 1.0])  # of a push, in sizes of the block


@dataclass(frozen=True)
class Push:
    """A straight push.

    Attributes:
        touch: (2,) where the pusher's centre first touches the block.
        direction: (2,) of length 1.
        length: how far the pusher goes on from there.
    """

    touch: Array
    direction: Array
    length: float


class PushPlanner:
    """Tries pushes against all sides of a block and takes the best.

    Args:
        boxes: (K, 2, 2) the block.
        radius: of the round pusher.
        room: lowest and highest coordinate that the pusher's centre may have.
        gap: from where a push begins to where it touches.
    """

    def __init__(self, boxes: Array, radius: float, room: tuple[float, float], *, gap: float) -> None:
        self._room, self._gap = room, gap
        self._centre, self._rho = _friction(boxes)
        size = float(np.ptp(boxes, axis=(0, 1)).max())
        self._corners = np.array([[x, y] for (a, b), (c, d) in boxes for x in (a, c) for y in (b, d)])
        spots, normals = sides(boxes)
        chosen, lean, length = np.indices((len(spots), len(LEANS), len(LENGTHS))).reshape(3, -1)
        touches, directions = (spots + radius * normals)[chosen], rotate(-normals[chosen], LEANS[lean])
        free = distance_to_block(touches, np.zeros(3), boxes) > 0.99 * radius
        free &= distance_to_block(touches - gap * directions, np.zeros(3), boxes) > radius + 0.1 * gap
        self._spots, self._lengths = spots[chosen][free], LENGTHS[length][free] * size
        self._touches, self._directions = touches[free], directions[free]

    def best(self, block: Array, goal: Array) -> Push:
        """The push that leaves the block (3,) nearest to the goal (3,), by the mean distance of its corners from their places."""
        touch = block[:2] + rotate(self._touches, block[2])
        directions = rotate(self._directions, block[2])
        ways = self._lengths[:, None] * directions
        after = self._corners_at(self.pushed(block, self._spots, ways))
        cost = np.linalg.norm(after - self._corners_at(goal[None]), axis=-1).mean(axis=-1)
        ends = np.stack([touch - self._gap * directions, touch + ways])
        outside = ((ends < self._room[0]) | (ends > self._room[1])).any(axis=(0, 2))
        chosen = int(np.argmin(cost + 1e6 * outside))
        return Push(touch[chosen], directions[chosen], float(self._lengths[chosen]))

    def pushed(self, block: Array, spots: Array, ways: Array) -> Array:
        """Poses (P, 3) of a block at (3,) after it was pushed at `spots` (P, 2) of its own frame along `ways` (P, 2)."""
        arms = spots - self._centre
        centre = np.broadcast_to(block[:2] + rotate(self._centre, block[2]), ways.shape)
        angle = np.full(len(ways), block[2])
        for _ in range(SUBSTEPS):
            x, y = rotate(arms, angle).T
            across = np.stack([-y, x], axis=-1)
            turn = (across * ways).sum(axis=-1) / SUBSTEPS / (self._rho**2 + x**2 + y**2)
            centre = centre + ways / SUBSTEPS - turn[:, None] * across
            angle = angle + turn
        return np.column_stack([centre - rotate(self._centre[None], angle), angle])

    def _corners_at(self, poses: Array) -> Array:
        """Where the corners (P, C, 2) of a block at poses (P, 3) lie."""
        return poses[:, None, :2] + rotate(self._corners[None], poses[:, 2:])


def _friction(boxes: Array) -> tuple[Array, float]:
    """The centre (2,) of a block's area, and the mean distance of its area from there."""
    share = (np.arange(16) + 0.5) / 16
    grid = np.stack(np.meshgrid(share, share), axis=-1).reshape(-1, 2)
    points = (boxes[:, None, 0] + grid * (boxes[:, None, 1] - boxes[:, None, 0])).reshape(-1, 2)
    areas = np.repeat(np.prod(boxes[:, 1] - boxes[:, 0], axis=-1), len(grid))
    centre = np.average(points, axis=0, weights=areas)
    return centre, float(np.average(np.linalg.norm(points - centre, axis=-1), weights=areas))


def sides(boxes: Array) -> tuple[Array, Array]:
    """Spots (S, 2) on the sides of all boxes, and the normals (S, 2) there, out of the box."""
    share = (np.arange(SPOTS) + 0.5)[:, None] / SPOTS
    spots, normals = [], []
    for low, high in boxes:
        for axis, end, sign in ((0, low, -1.0), (0, high, 1.0), (1, low, -1.0), (1, high, 1.0)):
            spot = low + share * (high - low)
            spot[:, axis] = end[axis]
            spots.append(spot)
            normals.append(np.tile(sign * np.eye(2)[axis], (SPOTS, 1)))
    return np.concatenate(spots), np.concatenate(normals)
