"""Pairwise advantage: the gradient of a preference loss on each group's best and worst completion, as advantages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlllm.algorithms.protocols import Advantage
from rlllm.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from rlllm.algorithms.batch import RolloutBatch

_SLOPES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "sigmoid": lambda h, beta: beta * (-beta * h).sigmoid(),
    "ipo": lambda h, beta: 2 * (1 / (2 * beta) - h),
}
"""Loss name to -d loss / d h: of -log sigmoid(beta h) (Rafailov et al. 2023, eq. 7), of (h - 1 / (2 beta))^2 (Azar et al.
2023, arXiv 2310.12036, eq. 17; sums over tokens, where TRL's offline trainer takes means)."""


@dataclass(frozen=True)
class Pairwise(Advantage):
    """Online DPO (Guo et al. 2024, arXiv 2402.04792): each group's best and worst completion are a preference pair.

    With h = (logp_best - ref_best) - (logp_worst - ref_worst), sums over tokens, best and worst get the loss's slope at h
    with opposite signs, times the group size; everything else gets 0. Under TRL's loss type "luspo" at token level (sum
    over each completion's tokens, mean over completions) the first update on a rollout then has the gradient of the
    preference loss, averaged over groups; groups without two different rewards count as zero. Later updates on the same
    rollout would keep the slope of the first.
    """

    beta: float = 0.1
    """Strength of the pull towards the reference."""
    loss: str = "sigmoid"
    """`sigmoid` or `ipo`."""
    compares_group = True
    needs = ("logps", "ref_logps")

    def __post_init__(self) -> None:
        if self.loss not in _SLOPES:
            raise ConfigError(f"advantage pairwise has no loss {self.loss}", exists=_SLOPES)
        if not self.beta > 0:
            raise ConfigError("advantage pairwise: beta is above 0", given=f"beta={self.beta}", hint="the usual is 0.1")

    def __call__(self, batch: RolloutBatch) -> Tensor:
        if batch.logps is None or batch.ref_logps is None:
            raise ConfigError(
                "advantage pairwise measures completions against the reference model, and this run has none",
                hint="set beta above 0, with kl.where=nowhere so that it adds no KL term",
            )
        ratios = (batch.logps - batch.ref_logps).masked_fill(batch.loss_mask == 0, 0.0).sum(dim=1)
        return pairwise(batch.group_rewards, ratios.view_as(batch.group_rewards), self.beta, self.loss).view(-1)


def pairwise(rewards: Tensor, ratios: Tensor, beta: float, loss: str = "sigmoid") -> Tensor:
    """(N, G) advantages from (N, G) rewards, NaN where undefined, and (N, G) sequence log-ratios to the reference, in nats."""
    from rlllm.algorithms.advantages.best_of import extremes

    best, worst, differ = extremes(rewards)
    best, worst = best.unsqueeze(1), worst.unsqueeze(1)
    h = ratios.gather(1, best) - ratios.gather(1, worst)
    slope = _SLOPES[loss](h, beta) * differ.unsqueeze(1) * rewards.size(1)
    return ratios.new_zeros(ratios.shape).scatter_add_(1, best, slope).scatter_add_(1, worst, -slope)
