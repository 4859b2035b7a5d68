"""Best-of-n advantage: imitate the best completion of each group and nothing else (RAFT)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlllm.algorithms.protocols import Advantage

if TYPE_CHECKING:
    from torch import Tensor

    from rlllm.algorithms.batch import RolloutBatch


@dataclass(frozen=True)
class BestOf(Advantage):
    """One for the best completion of its group, zero for the others (Dong et al. 2023, arXiv 2304.06767, algorithm 1).

    Ties go to the first; a group whose known rewards are all equal has nothing to choose and gets zeros. What is selected
    is scaled by loss_mask tokens over selected tokens, so that under TRL's loss type "dapo" (sum over the rollout's tokens)
    the first update on a rollout is supervised fine-tuning on the selected completions: the mean over their tokens of the
    negative log-likelihood. With several processes, each scales by its own tokens.
    """

    compares_group = True

    def __call__(self, batch: RolloutBatch) -> Tensor:
        selected = best_of(batch.group_rewards).view(-1)
        tokens = batch.loss_mask.sum(dim=1).to(selected.dtype)
        return selected * tokens.sum() / (selected * tokens).sum().clamp(min=1)


def best_of(rewards: Tensor) -> Tensor:
    """(N, G) rewards, NaN where undefined, to (N, G): 1 at each group's best, 0 elsewhere."""
    best, _, differ = extremes(rewards)
    return rewards.new_zeros(rewards.shape).scatter_(1, best.unsqueeze(1), differ.unsqueeze(1).to(rewards.dtype))


def extremes(rewards: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(N, G) rewards, NaN where undefined: index of the best, of the worst, and whether they differ, each (N,).

    Of equals the first counts. Where they do not differ (all equal, or fewer than two known), the indices mean nothing.
    """
    unknown = rewards.isnan()
    high, low = rewards.masked_fill(unknown, -math.inf), rewards.masked_fill(unknown, math.inf)
    return high.argmax(dim=1), low.argmin(dim=1), high.amax(dim=1) > low.amin(dim=1)
