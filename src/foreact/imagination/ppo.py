"""PPO: settings, and what is done with one rollout. The settings are the paper's (RLA-WM, appendix A.2) and its code's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.distributions import Normal

from foreact.core.errors import DivergedError, ForeactError
from foreact.imagination.acting import Rollout, log_prob_of
from foreact.imagination.losses import advantages_of, explained_variance, policy_loss
from foreact.imagination.networks import ActorCritic


@dataclass(frozen=True, kw_only=True)
class PPOConfig:
    """How it learns.

    Attributes:
        rollouts: how often it acts and then learns from that; 300 are the paper's 2,400 updates.
        envs: environments side by side.
        steps: chunks that each of them takes in a rollout.
        minibatch: chunks per update; must divide envs x steps.
        epochs: over each rollout.
        learning_rate: of AdamW.
        gamma: discount of a chunk.
        lam: of the generalised advantages.
        clip: of the ratio of probabilities.
        target_kl: a rollout's updates end before the one that would move the policy further.
        entropy: weight of the entropy.
        value_weight: of the value's squared error.
        grad_clip: largest gradient norm.
        rank: of LoRA in every linear and convolutional layer of the policy; 0 trains the residual alone, without peft.
        alpha: of LoRA.
        bound: largest change of an action.
        bound_unit: of the bound: normalised actions (2 is from the smallest to the largest of the recordings), which is what the
            released code does, or the recordings' own unit (the paper's radians).
        seed: of all that is drawn.
        save_every: rollouts from one checkpoint and snapshot to the next; 25 are the paper's 200 updates.
    """

    rollouts: int = 300
    envs: int = 112
    steps: int = 4
    minibatch: int = 224
    epochs: int = 4
    learning_rate: float = 1e-4
    gamma: float = 0.9
    lam: float = 0.95
    clip: float = 0.2
    target_kl: float = 0.1
    entropy: float = 0.0
    value_weight: float = 0.5
    grad_clip: float = 0.5
    rank: int = 8
    alpha: int = 16
    bound: float = 0.1
    bound_unit: Literal["normalised", "recorded"] = "normalised"
    seed: int = 0
    save_every: int = 25

    @property
    def updates(self) -> int:
        """Of a rollout that is not cut short."""
        return self.epochs * (self.envs * self.steps // self.minibatch)

    def check(self) -> PPOConfig:
        """The settings themselves.

        Raises:
            ForeactError: some make no sense.
        """
        counts = (self.rollouts, self.envs, self.steps, self.minibatch, self.epochs, self.save_every)
        if min(counts) < 1 or self.rank < 0 or min(self.learning_rate, self.bound, self.clip, self.target_kl) <= 0:
            raise ForeactError("counts of PPO must be at least 1, --rank at least 0, rates and bounds positive")
        if self.envs * self.steps % self.minibatch:
            raise ForeactError(
                f"--minibatch {self.minibatch} does not divide the {self.envs * self.steps} chunks of a rollout (--envs x --steps)"
            )
        if not 0 <= self.gamma < 1 or not 0 <= self.lam <= 1:
            raise ForeactError("--gamma is from 0 to below 1, --lam from 0 to 1")
        return self


def learn(
    agent: ActorCritic,
    optimizer: torch.optim.Optimizer,
    rollout: Rollout,
    config: PPOConfig,
    generator: torch.Generator,
) -> dict[str, float]:
    """Update the agent by a rollout.

    Returns:
        What the log shows: means over the updates, and `updates`, of which there are fewer where the policy moved too far.

    Raises:
        DivergedError: a loss or gradient that is no number.
    """
    r = rollout
    found = advantages_of(r.rewards, r.values, r.next_values, r.terminated, r.ended, gamma=config.gamma, lam=config.lam)
    advantages, returns = found.flatten(), (found + r.values).flatten()
    told: list[dict[str, float]] = []
    for _ in range(config.epochs):
        order = torch.randperm(len(returns), generator=generator)
        for rows in order.split(config.minibatch):
            scalars = _losses(agent, r, rows, advantages[rows], returns[rows], config)
            told.append({name: float(value.detach()) for name, value in scalars.items()})
            if not math.isfinite(told[-1]["loss"]):
                raise DivergedError(f"the loss is {told[-1]['loss']}")
            if told[-1]["kl"] > config.target_kl:
                return _means(told, updates=len(told) - 1) | {
                    "explained_variance": explained_variance(r.values.flatten(), returns)
                }
            told[-1]["gradient_norm"] = _update(agent, optimizer, scalars["loss"], config)
    return _means(told, updates=len(told)) | {"explained_variance": explained_variance(r.values.flatten(), returns)}


def _losses(
    agent: ActorCritic, rollout: Rollout, rows: Tensor, advantages: Tensor, returns: Tensor, config: PPOConfig
) -> dict[str, Tensor]:
    device = next(agent.parameters()).device
    pictures = {name: seen[rows].to(device) for name, seen in rollout.pictures.items()}
    mean, std, value = agent(pictures, None if rollout.state is None else rollout.state[rows].to(device))
    log_probs = log_prob_of(rollout.actions.flatten(0, 1)[rows].to(device), mean, std)
    before, advantages = rollout.log_probs.flatten()[rows].to(device), advantages.to(device)
    scalars = policy_loss(log_probs, before, advantages, clip=config.clip)
    value_loss = (value - returns.to(device)).square().mean()
    entropy = Normal(mean, std).entropy().sum(dim=(1, 2)).mean()
    loss = scalars["policy_loss"] + config.value_weight * value_loss - config.entropy * entropy
    return {"loss": loss, **scalars, "value_loss": value_loss, "entropy": entropy}


def _update(agent: ActorCritic, optimizer: torch.optim.Optimizer, loss: Tensor, config: PPOConfig) -> float:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = float(torch.nn.utils.clip_grad_norm_(agent.parameters(), config.grad_clip))
    if not math.isfinite(norm):
        raise DivergedError(f"the gradient's norm is {norm}")
    optimizer.step()
    return norm


def _means(told: list[dict[str, float]], *, updates: int) -> dict[str, float]:
    names = dict.fromkeys(name for one in told for name in one)
    means = {name: [one[name] for one in told if name in one] for name in names}
    return {name: sum(values) / len(values) for name, values in means.items()} | {"updates": float(updates)}
