"""Push-T's expert: it tries many straight pushes in a model of the block and makes the one after which it will be done soonest.

Positions are window pixels (512 x 512), angles radians, times control steps. It sees poses, never a picture.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from foreact.envs.block import Array, distance_to_block, rotate
from foreact.envs.push_planning import sides
from foreact.envs.pusht.sliding import Sliding

ARENA = (15.0, 497.0)  # where the agent's centre may be sent
GAP = 12.0  # from where a push begins to where it touches
LONGEST, STEP = 150.0, 2.5  # the longest push and the steps in which it is simulated
LEAST, GAIN = 4.0, 0.5  # a push moves the block's corners so far, or brings them nearer by so much
DETOUR = 150.0  # on the way around the block, roughly
BRANCHES = 12  # pushes after which another one is tried, too
LEANS = np.radians([-30.0, -15.0, 0.0, 15.0, 30.0])  # of a push against the side's normal
CLEAR = 3.0  # the agent stays this far from the block on its way
TURNING = 14.0  # and turns this far from its corners
WALK, PUSH = 28.0, 14.0  # pixels a step
PAUSE = 4.0  # steps that each push costs beside its way: the agent lags behind its target
PROGRESS = 2.0  # pixels a step by which the block comes home, for what is left after a push
ANOTHER = 12.0  # steps that a further push costs at least
HOME = 1.8  # pixels that the block's corners may be off


class PushTExpert:
    """One episode's expert.

    Args:
        model: the block.
        goal: (3,) its pose when done.
    """

    def __init__(self, model: Sliding, goal: Array) -> None:
        self._model, self._goal = model, goal
        spots, normals = sides(model.boxes)
        touches = spots + model.radius * normals
        chosen, lean = (index.ravel() for index in np.indices((len(spots), len(LEANS))))
        directions = rotate(-normals[chosen], LEANS[lean])
        starts = touches[chosen] - GAP * directions
        still = np.zeros(3)
        free = distance_to_block(touches, still, model.boxes)[chosen] > 0.99 * model.radius
        free &= distance_to_block(starts, still, model.boxes) > model.radius + CLEAR
        self._starts, self._directions = starts[free], directions[free]
        corners = model.corners
        outward = np.sign(corners - corners.mean(axis=0)) * (model.radius + TURNING)
        self._turns = (corners + outward)[distance_to_block(corners + outward, still, model.boxes) > model.radius]
        self._way: deque[tuple[Array, float]] = deque()
        self._promised = False  # that the next push is the one for whose sake the last one was made

    def act(self, agent: Array, block: Array, *, done: bool) -> Array:
        """The target (2,) for the next step, given the agent's position (2,) and the block's pose (3,)."""
        if done:
            self._way.clear()
            self._cursor = agent
            return np.clip(agent, 0.0, 512.0)
        if not self._way:
            self._plan(agent, block)
        point, speed = self._way[0]
        step = point - self._cursor
        distance = float(np.linalg.norm(step))
        self._cursor = self._cursor + step * min(1.0, speed / max(distance, 1e-9))
        if distance <= speed and (len(self._way) > 1 or np.linalg.norm(agent - point) < 1.5):
            self._way.popleft()
        return np.clip(self._cursor, *ARENA)

    def _plan(self, agent: Array, block: Array) -> None:
        """Choose the next push; one that does not bring the block nearer only for the sake of another one that follows."""
        self._cursor = np.array(agent)
        starts, directions = self._pushes(block)
        nodes = np.concatenate([agent[None], block[:2] + rotate(self._turns, block[2])])
        far, before = self._ways(nodes, starts, block)
        blocks = np.broadcast_to(block, (len(starts), 3))
        costs, poses, ends = self._costs(blocks, starts, directions, STEP, gaining=self._promised)
        costs = costs + far / WALK
        lengths, columns = costs.argmin(axis=0), np.arange(len(starts))
        cost, pose, end = costs[lengths, columns], poses[lengths, columns], ends[lengths, columns]
        chosen = int(cost.argmin())
        if not self._promised:
            tried = cost.argsort()[:BRANCHES]
            left, after = self._left(pose[tried]), self._soonest(pose[tried], end[tried])
            gains = self._apart(pose[tried], self._goal) < self._apart(block, self._goal) - GAIN
            last = gains & (left <= after)
            best = int((cost[tried] - left + np.where(last, left, after)).argmin())
            chosen, self._promised = int(tried[best]), not last[best]
        else:
            self._promised = False
        self._way.extend((point, WALK) for point in before(chosen))
        self._way.append((end[chosen], PUSH))

    def _pushes(self, blocks: Array) -> tuple[Array, Array]:
        """Starts and directions (..., P, 2) of all pushes of blocks (..., 3)."""
        places, angles = blocks[..., None, :2], blocks[..., 2:]
        return places + rotate(self._starts, angles), rotate(self._directions, angles)

    def _soonest(self, blocks: Array, agents: Array) -> Array:
        """Steps (M,) until blocks (M, 3) come home by one push more, roughly."""
        starts, directions = self._pushes(blocks)
        share = np.linspace(0.3, 1.0, 8)[:, None, None, None]
        between = agents[:, None] + share * (starts - agents[:, None])
        gaps = distance_to_block(between, blocks[:, None], self._model.boxes)
        blocked = (gaps < self._model.radius).any(axis=0)
        walk = (np.linalg.norm(starts - agents[:, None], axis=-1) + DETOUR * blocked) / WALK
        flat = np.repeat(blocks, starts.shape[1], axis=0)
        costs, *_ = self._costs(flat, starts.reshape(-1, 2), directions.reshape(-1, 2), 2 * STEP, gaining=True)
        return (costs.min(axis=0).reshape(walk.shape) + walk).min(axis=1)

    def _costs(
        self, blocks: Array, starts: Array, directions: Array, stride: float, *, gaining: bool
    ) -> tuple[Array, Array, Array]:
        """Pushes of all lengths: steps that they and what is left take (S, P), where block (S, P, 3) and agent (S, P, 2) end.

        With `gaining`, pushes count that bring the block nearer to its home; else also those that prepare another one.
        """
        steps = int(LONGEST / stride)
        run = (np.arange(steps) + 1.0)[:, None] * stride
        poses = self._model.pushed(blocks, starts, stride * directions, steps)
        ends = starts + run[..., None] * directions
        bad = ((starts < ARENA[0]) | (starts > ARENA[1])).any(axis=-1)
        bad = bad | ((ends < ARENA[0]) | (ends > ARENA[1])).any(axis=-1)
        gained = self._apart(blocks, self._goal) - self._apart(poses, self._goal)
        bad |= (gained < GAIN) & (gaining | (self._apart(poses, blocks) < LEAST))
        return PAUSE + run / PUSH + self._left(poses) + 1e6 * bad, poses, ends

    def _left(self, poses: Array) -> Array:
        """Steps that it takes, by rule of thumb, to bring blocks (..., 3) home."""
        off = self._apart(poses, self._goal)
        return np.where(off > HOME, ANOTHER + (off - HOME) / PROGRESS, off)

    def _apart(self, poses: Array, others: Array) -> Array:
        """How far the corners of blocks are from those of others, on average."""
        return np.linalg.norm(self._corners_at(poses) - self._corners_at(others), axis=-1).mean(axis=-1)

    def _ways(self, nodes: Array, starts: Array, block: Array) -> tuple[Array, Callable[[int], list[Array]]]:
        """How far the agent, the first of the nodes (N, 2), has to go to the starts (P, 2) around the block, and by which points."""
        hops = self._hops(nodes, nodes, block)
        reached, previous = hops[0].copy(), np.zeros(len(nodes), dtype=int)
        for _ in nodes:
            over = reached[:, None] + hops
            better = over.min(axis=0) < reached
            previous[better], reached = over.argmin(axis=0)[better], np.minimum(reached, over.min(axis=0))
        total = reached[:, None] + self._hops(nodes, starts, block)
        last = total.argmin(axis=0)

        def way(chosen: int) -> list[Array]:
            points, node = [starts[chosen]], int(last[chosen])
            while node:
                points.insert(0, nodes[node])
                node = int(previous[node])
            return points

        return total.min(axis=0), way

    def _hops(self, first: Array, then: Array, block: Array) -> Array:
        """Lengths (N, M) of straight ways; infinite where the block or a wall is in the way."""
        share = np.linspace(0.0, 1.0, 24)[:, None, None, None]
        points = first[:, None] + share * (then - first[:, None])
        gaps = distance_to_block(points, block, self._model.boxes)
        allowed = np.minimum(self._model.radius + CLEAR, gaps[0] + 1e-6)  # whoever touches the block may leave it
        free = (gaps > allowed - 1e-3).all(axis=0) & ((then >= ARENA[0]) & (then <= ARENA[1])).all(axis=-1)
        return np.where(free, np.linalg.norm(then - first[:, None], axis=-1), np.inf)

    def _corners_at(self, poses: Array) -> Array:
        return poses[..., None, :2] + rotate(self._model.corners, poses[..., 2:])
