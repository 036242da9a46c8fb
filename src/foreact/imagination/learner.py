"""Acting and learning in turn, in a run's folder: log, checkpoints, snapshots, exact resume.

Everything random in rollout k is a function of (seed, k), and checkpoints hold where the environments are: a run that was
killed ends with the same weights, to the bit on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from foreact.core.errors import DivergedError, ForeactError
from foreact.core.files import read_json, write_json
from foreact.core.progress import OnProgress
from foreact.imagination.acting import collect
from foreact.imagination.chunked import ChunkVectorEnv
from foreact.imagination.networks import ActorCritic, merged
from foreact.imagination.ppo import PPOConfig, learn
from foreact.training.checkpoint import load_extra, load_state, save_state
from foreact.training.interrupt import Interrupt
from foreact.training.journal import Journal
from foreact.training.optimizers import build_optimizers
from foreact.training.task import FrozenPart, Trained

Judge = Callable[[Path], float]
"""Folder of a policy -> its success in the real simulator, on seeds of the judge's own."""
JUDGED = "judged.json"


class Learner:
    """One training.

    Args:
        agent: what is trained.
        env: where it acts.
        config: how it learns.
        run: folder.
        about: JSON data that a resume must find unchanged, beside the config.
        judge: is asked before the first rollout and at every snapshot; None asks nobody.

    Raises:
        ForeactError: the run belongs to other settings, or its checkpoint cannot be read.
    """

    def __init__(
        self,
        agent: ActorCritic,
        env: ChunkVectorEnv,
        config: PPOConfig,
        run: Path,
        *,
        about: dict[str, Any],
        judge: Judge | None = None,
    ) -> None:
        self.agent, self.env, self.config, self.folder, self.judge = agent, env, config, run, judge
        run.mkdir(parents=True, exist_ok=True)
        self.optimizers = build_optimizers(agent, "adamw", learning_rate=config.learning_rate, weight_decay=0.0)
        decoder = {"policy.sight.decoder": "through-decoder"} if agent.policy.sight.decoder is not None else {}
        self.trained = Trained(model=agent, frozen=FrozenPart.of(agent, decoder))
        settings = {k: v for k, v in asdict(config).items() if k not in ("rollouts", "save_every")}
        self.about = {"ppo": settings, **about}
        self.step, _ = load_state(run, self.trained, self.optimizers, self.about)
        self.rollouts = self.step // config.updates
        env.seed_rows(_seed_of(config.seed, 0))
        if self.step:
            env.restore(load_extra(run))
        else:
            env.reset()

    def train(self, on_progress: OnProgress) -> None:
        """To the end, or until Ctrl-C.

        Raises:
            DivergedError: a loss, or a gradient, is no number.
            ForeactError: the reward says the same of everything.
        """
        total = self.config.rollouts * self.config.updates
        if self.rollouts >= self.config.rollouts:
            return
        journal, shown = Journal(self.folder, first_step=self.step), self._snapshot() if not self.step else {}
        try:
            if shown:
                journal.write(0, shown)
            with Interrupt() as interrupt:
                while self.rollouts < self.config.rollouts:
                    told = self._rollout()
                    due = self.rollouts % self.config.save_every == 0 or self.rollouts == self.config.rollouts
                    if due:
                        told |= self._snapshot()
                    journal.write(self.step, told)
                    if due or interrupt.asked:
                        self._save()
                    shown |= told
                    on_progress(self.step, total, shown)
                    if interrupt.asked:
                        raise KeyboardInterrupt
        finally:
            journal.close()

    def snapshot_folder(self, step: int) -> Path:
        """Of the policy after so many updates; step 0 is the one it began with."""
        return self.folder / "snapshots" / f"step-{step:08d}"

    def _rollout(self) -> dict[str, float]:
        generator = torch.Generator().manual_seed(_seed_of(self.config.seed, 1 + self.rollouts))
        rollout = collect(self.env, self.agent, self.config.steps, generator)
        if not self.rollouts and rollout.rewards.numel() > 1 and rollout.rewards.std() == 0:
            raise ForeactError(
                f"the reward is {float(rollout.rewards[0, 0]):g} for every chunk of the first rollout: from a constant reward there is "
                "nothing to learn; choose another"
            )
        try:
            told = learn(self.agent, self.optimizers[0], rollout, self.config, generator)
        except DivergedError as error:
            raise DivergedError(
                f"{error} after {self.step} updates of {self.folder}: PPO diverged; its snapshots are policies from before; try a "
                "smaller --learning-rate"
            ) from error
        self.rollouts += 1
        self.step = self.rollouts * self.config.updates
        means = {"success_imagined" if name == "success" else name: value for name, value in rollout.told.items()}
        return {**told, "reward": float(rollout.rewards.mean()), **means}

    def _snapshot(self) -> dict[str, float]:
        folder, known = self.snapshot_folder(self.step), judged(self.folder)
        merged(self.agent.policy).save_pretrained(folder)
        if self.judge is None:
            return {}
        if str(self.step) not in known:  # else it was judged before a kill
            known[str(self.step)] = self.judge(folder)
            write_json(self.folder / JUDGED, known)
        return {"success": known[str(self.step)]}

    def _save(self) -> None:
        save_state(self.folder, self.step, self.trained, {}, self.optimizers, self.about, self.env.state())


def judged(run: Path) -> dict[str, float]:
    """Updates -> success of that snapshot, as its judge saw it."""
    path = run / JUDGED
    return dict(read_json(path)) if path.exists() else {}


def _seed_of(seed: int, rollout: int) -> int:
    """A seed of 63 bits for a rollout; 0 is that of the environments."""
    return int(np.random.SeedSequence((seed, rollout)).generate_state(1, np.uint64)[0] >> 2)
