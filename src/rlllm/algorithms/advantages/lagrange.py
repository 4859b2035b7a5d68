"""Lagrangian advantage: maximise the reward while the mean cost stays under a bound.

The multiplier is state of the run: it is saved in checkpoints through `state_dict`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rlllm.algorithms.advantages.group import leave_one_out
from rlllm.algorithms.protocols import Advantage, Setup
from rlllm.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from rlllm.algorithms.batch import RolloutBatch

_LARGEST_EXPONENT = 700.0
"""exp of more than this is no float any more."""


@dataclass
class Lagrange(Advantage):
    """(A_reward - lambda A_cost) / (1 + lambda), both leave-one-out (Safe-RLHF: Dai et al. 2023, arXiv 2310.12773).

    After every rollout log lambda moves by `rate` times (mean cost - `bound`), so lambda grows while the bound is broken
    and stays above zero. The paper multiplies that step by lambda as well, which makes a small multiplier slow to rise.
    A completion whose reward or cost is unknown gets 0 and stands in no baseline.
    """

    compares_group = True

    cost: str = ""
    """Name of the reward that is a cost: large is bad. Its weight is 0, so that it stays out of the total."""
    bound: float = 0.0
    """Mean cost that is allowed."""
    rate: float = 0.05
    """Step of log lambda per unit of cost above the bound."""
    start: float = 1.0
    """First lambda."""
    log_multiplier: float = field(init=False)
    """Log of the current lambda."""
    mean_cost: float = field(init=False, default=math.nan)
    """Mean cost of the last rollout, over all processes; NaN where none was defined."""

    def __post_init__(self) -> None:
        if not self.start > 0 or not self.rate >= 0:
            raise ConfigError(
                "advantage lagrange: start is above 0 and rate is not below 0",
                given=f"start={self.start} rate={self.rate}",
                hint="lambda is the exponential of what is learned, so it never is 0",
            )
        self.log_multiplier = math.log(self.start)

    @property
    def costs(self) -> Sequence[str]:
        return (self.cost,)

    def check(self, setup: Setup) -> None:
        """Raise ConfigError unless the cost is one of the rewards and has weight 0."""
        self._check_cost(setup.reward_names, setup.reward_weights)

    def _check_cost(self, names: Sequence[str], weights: Sequence[float]) -> None:
        """Raise ConfigError unless the cost is one of the rewards and has weight 0."""
        if self.cost not in names:
            raise ConfigError(
                f"advantage lagrange: no reward is named {self.cost}"
                if self.cost
                else "advantage lagrange: which is the cost?",
                exists=names,
                hint="add the cost to the rewards with weight 0, and name it in advantage.cost",
            )
        weight = weights[list(names).index(self.cost)]
        if weight:
            raise ConfigError(
                f"the cost {self.cost} is also part of the reward",
                given=f"weight {weight:g}",
                hint="give it weight 0: the multiplier decides how much it counts",
            )

    def __call__(self, batch: RolloutBatch) -> Tensor:
        self._check_cost(batch.names, batch.weights.tolist())
        costs = batch.rewards[:, batch.names.index(self.cost)]
        advantages = constrained(batch.group_rewards, costs.view_as(batch.group_rewards), self.log_multiplier).view(-1)
        self._observe(batch, costs)
        return advantages

    def _observe(self, batch: RolloutBatch, costs: Tensor) -> None:
        import torch

        defined = ~costs.isnan()
        total, count = batch.reduce(torch.stack([costs[defined].sum().float(), defined.sum().float()])).tolist()
        self.mean_cost = total / count if count else math.nan
        if not math.isnan(self.mean_cost):
            self.log_multiplier += self.rate * (self.mean_cost - self.bound)

    @property
    def metrics(self) -> dict[str, float]:
        """For the log, after a rollout: its mean cost and the lambda of the next one."""
        multiplier = math.exp(min(self.log_multiplier, _LARGEST_EXPONENT))
        return {"lagrange/lambda": multiplier, "lagrange/cost": self.mean_cost}

    def state_dict(self) -> dict[str, Any]:
        return {"log_multiplier": self.log_multiplier, "mean_cost": self.mean_cost}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.log_multiplier = state["log_multiplier"]
        self.mean_cost = state["mean_cost"]


def constrained(rewards: Tensor, costs: Tensor, log_multiplier: float) -> Tensor:
    """(N, G) rewards and costs, NaN where undefined, to (N, G) advantages under the multiplier exp(`log_multiplier`).

    The two factors 1 / (1 + lambda) and lambda / (1 + lambda) are sigmoids of the log, which no lambda overflows.
    """
    import torch

    undefined = rewards.isnan() | costs.isnan()
    gain, harm = (leave_one_out(values.masked_fill(undefined, torch.nan)) for values in (rewards, costs))
    share = torch.sigmoid(torch.tensor(log_multiplier, dtype=gain.dtype, device=gain.device))
    return (1 - share) * gain - share * harm
