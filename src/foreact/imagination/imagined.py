"""A dream as a vector environment: one step takes a chunk of actions, a demonstration says where an episode begins and what is good.

    env = ImaginedVectorEnv(dream, Demonstrations(recordings, chunk=8), reward, num_envs=112)
    observations, _ = env.reset(seed=0)                                     # the seed of each environment: 0, 1, ...
    observations, rewards, terminated, truncated, infos = env.step(actions) # (n, 8, A), in the units of the recordings

An episode begins at a demonstration's first frame or, with probability 1/2, at an intermediate one, and is truncated after six
chunks or where the demonstration ends (RLA-WM, section 4.3 and its released code). Nothing in a dream terminates it. One
transition is (s^_t, a_{t:t+h}, s^_{t+h}), a whole chunk (E14).

Shape legend: n environments, E actions of a chunk, A action dimension, N patch tokens, C channels, K sampled futures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from foreact.core.errors import ForeactError
from foreact.data.video import scale_frames
from foreact.dreams.dream import Dream
from foreact.imagination.chunked import ChunkVectorEnv, Outcome, Seen, box_of
from foreact.imagination.demonstrations import Demonstrations
from foreact.imagination.rewards.base import Reward, Step, checked
from foreact.recordings.recording import TOKENS


@dataclass(frozen=True, kw_only=True)
class Safeguards:
    """What keeps a policy from learning a model's errors; none is in the paper.

    Attributes:
        samples: futures K that are drawn of each chunk, of all models in turn; their spread is their mean L1 distance from their mean.
        stop_spread: an episode is truncated where the spread is above this.
        spread_penalty: times the spread is taken off the reward.
        late_chunks: most chunks of an episode that begins at an intermediate frame; as of the others if None.
    """

    samples: int = 1
    stop_spread: float | None = None
    spread_penalty: float = 0.0
    late_chunks: int | None = None

    def require(self, models: int) -> None:
        """Refuse what cannot work.

        Raises:
            ForeactError: a spread that is asked for, of one future alone; or numbers out of range.
        """
        asked = self.stop_spread is not None or self.spread_penalty
        if asked and max(self.samples, models) < 2:
            raise ForeactError(
                "one future has no spread: draw at least two (--samples 2), or name a second world model"
            )
        if self.samples < 1 or self.spread_penalty < 0 or (self.late_chunks or 1) < 1 or (self.stop_spread or 1) <= 0:
            raise ForeactError(
                "samples, chunks and spreads of safeguards are positive, and the penalty is not negative"
            )


class ImaginedVectorEnv(ChunkVectorEnv):
    """Environments in a dream.

    Args:
        dream: any; of several, each environment's episode goes on in one of them and their spread counts as that of samples.
        demonstrations: where episodes begin and what they are compared with; their chunk is a step's.
        reward: of each chunk.
        num_envs: n.
        max_chunks: of an episode.
        from_start: probability of beginning at the first frame.
        look_at: pictures, drawn by the dream's image decoder, or tokens in the precision of caches.
        picture: height and width of the pictures; as they are drawn if None.
        safeguards: see there.
        near: an episode counts as an imagined success where its last tokens are at most this L1 away from the demonstration's
            last ones; if None, a quarter of what a whole demonstration changes.

    Raises:
        ForeactError: a chunk beyond the model's horizon, pictures without an image decoder, other tokens or actions.
    """

    def __init__(
        self,
        dream: Dream | Sequence[Dream],
        demonstrations: Demonstrations,
        reward: Reward,
        *,
        num_envs: int = 112,
        max_chunks: int = 6,
        from_start: float = 0.5,
        look_at: Literal["tokens", "pictures"] = "tokens",
        picture: tuple[int, int] | None = None,
        safeguards: Safeguards | None = None,
        near: float | None = None,
    ) -> None:
        self.dreams = tuple(dream) if isinstance(dream, Sequence) else (dream,)
        self.demonstrations, self.reward, self.safeguards = demonstrations, reward, safeguards or Safeguards()
        self.max_chunks, self.from_start, self.look_at, self.picture = max_chunks, from_start, look_at, picture
        self.safeguards.require(len(self.dreams))
        if max_chunks < 1 or not 0 <= from_start <= 1:
            raise ForeactError(
                "an episode has at least one chunk, and the probability of the first frame is from 0 to 1"
            )
        tokens = self._require_fit()
        self.near = demonstrations.step_towards_the_end() / 4 if near is None else near
        self.camera = demonstrations.recordings.sources[0].dataset.camera
        self.which, self.frame, self.chunks, self.limit = (np.zeros(num_envs, dtype=np.int64) for _ in range(4))
        self.tokens = torch.zeros(num_envs, *tokens)
        name, shape = (self.camera + TOKENS, tokens) if look_at == "tokens" else (self.camera, (*self._size(), 3))
        space = spaces.Dict({name: box_of(shape, pictures=look_at == "pictures")})
        super().__init__(num_envs, space, *demonstrations.action_limits(), chunk=demonstrations.chunk)

    def begin(self, row: int, seed: int, episode: int) -> None:
        """At a frame of a demonstration, drawn from seed and episode."""
        rng = np.random.default_rng((seed, episode))
        which = int(rng.integers(len(self.demonstrations)))
        latest = int(self.demonstrations.last[which]) - self.chunk
        late = rng.random() >= self.from_start and latest > 0
        frame = int(rng.integers(1, latest + 1)) if late else 0
        self.which[row], self.frame[row], self.chunks[row] = which, frame, 0
        self.limit[row] = min(self.max_chunks, (late and self.safeguards.late_chunks) or self.max_chunks)
        self.tokens[row] = self.demonstrations.tokens(self.which[row : row + 1], self.frame[row : row + 1])[0]

    def advance(self, actions: np.ndarray) -> Outcome:
        """Dream the chunk; every future is seeded by (seed of the row, episode, chunk, sample)."""
        futures = self._futures(actions.astype(np.float32))
        spread = (futures - futures.mean(dim=0)).abs().mean(dim=(0, 2, 3)).numpy()
        member = torch.from_numpy(self.episode % len(self.dreams))
        self.tokens = futures[member, torch.arange(self.num_envs)]
        self.chunks, self.frame = (
            self.chunks + 1,
            np.minimum(self.frame + self.chunk, self.demonstrations.last[self.which]),
        )
        step = Step(self.tokens, actions, self.which, self.frame, self.demonstrations)
        guard = self.safeguards
        reward = checked(self.reward, step) - guard.spread_penalty * spread
        unsure = np.zeros(self.num_envs, bool) if guard.stop_spread is None else spread > guard.stop_spread
        over = (self.frame >= self.demonstrations.last[self.which]) | (self.chunks >= self.limit)
        away = (self.tokens - step.truth(self.demonstrations.last[self.which])).abs().mean(dim=(1, 2)).numpy()
        told = {"success": away <= self.near, "spread": spread, "unsure": unsure}
        return Outcome(reward=reward, terminated=np.zeros_like(over), truncated=over | unsure, info=told)

    def look(self, rows: np.ndarray) -> Seen:
        """Tokens as caches have them, or what the image decoder draws of these."""
        tokens = self.tokens[rows].half()
        if self.look_at == "tokens":
            return {self.camera + TOKENS: tokens.numpy()}
        drawn = self.dreams[0].draw(self.dreams[0].start(tokens.float(), [0] * len(rows)))
        return {self.camera: scale_frames(drawn, self._size())}

    def render(self) -> tuple[np.ndarray, ...]:
        """What is imagined now, drawn, uint8 (height, width, 3) of each environment."""
        return tuple(self.dreams[0].draw(self.dreams[0].start(self.tokens, [0] * self.num_envs)))

    def now(self) -> dict[str, Tensor]:
        """Frames, chunks and tokens."""
        return {"frame": torch.from_numpy(self.frame), "chunks": torch.from_numpy(self.chunks), "tokens": self.tokens}

    def go_to(self, now: Mapping[str, Tensor]) -> None:
        """See `ChunkVectorEnv.go_to`."""
        self.frame, self.chunks = now["frame"].numpy().copy(), now["chunks"].numpy().copy()
        self.tokens = now["tokens"].clone()

    @torch.no_grad()
    def _futures(self, actions: np.ndarray) -> Tensor:
        """Tokens (K, n, N, C) after the chunk, on the CPU."""
        found = []
        for k in range(max(self.safeguards.samples, len(self.dreams))):
            dream = self.dreams[k % len(self.dreams)]
            rows = zip(range(self.num_envs), self.episode.tolist(), self.chunks.tolist())
            seeds = [_seed_of(self.seed_of(row), episode, chunk, k) for row, episode, chunk in rows]
            found.append(dream.step(dream.start(self.tokens, seeds), actions).tokens.float().cpu())
        return torch.stack(found)

    def _size(self) -> tuple[int, int]:
        drawn = self.dreams[0].draw(self.dreams[0].start(self.tokens[:1], [0])) if self.picture is None else None
        return self.picture or drawn.shape[1:3]  # type: ignore[union-attr]

    def _require_fit(self) -> tuple[int, int]:
        """N and C; see the class for what is refused."""
        recordings = self.demonstrations.recordings
        for dream in self.dreams:
            spec = dream.world_model.config.tokens  # type: ignore[attr-defined]
            spec.require(recordings.tokens, model="the world model", source=", ".join(recordings.names))
            if dream.horizon < self.demonstrations.chunk:
                raise ForeactError(
                    f"a chunk has {self.demonstrations.chunk} actions, the world model imagines {dream.horizon} at a time: "
                    "train the policy with a smaller --execute, or a world model with a longer horizon"
                )
            if dream.action_dim != recordings.action_dim:
                raise ForeactError(
                    f"{', '.join(recordings.names)} has actions of {recordings.action_dim} numbers, the world model takes "
                    f"{dream.action_dim}"
                )
        if self.look_at == "pictures" and self.dreams[0].decoder is None:
            raise ForeactError(
                "this dream has no image decoder and shows no pictures: train or name one, or look at tokens"
            )
        return spec.count, spec.channels


def _seed_of(*numbers: int) -> int:
    """A seed of 63 bits that follows from numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
