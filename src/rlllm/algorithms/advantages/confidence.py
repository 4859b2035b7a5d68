"""Label-free advantages: how sure the policy was of its own tokens, compared within the group. Rewards are only monitored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlllm.algorithms.advantages.reinforce_plus_plus import from_group_mean
from rlllm.algorithms.protocols import Advantage

if TYPE_CHECKING:
    from torch import Tensor

    from rlllm.algorithms.batch import RolloutBatch


@dataclass(frozen=True)
class SelfCertainty(Advantage):
    """Mean of KL(uniform || policy) over a completion's tokens, normalised in its group (Zhao et al. 2025, arXiv 2505.19590).

    A completion without tokens that learn has no signal: it stands in no statistic and gets 0.
    """

    compares_group = True
    per_completion = True
    ignores_rewards = True
    reads_kl_penalty = False
    needs = ("certainty",)

    def __call__(self, batch: RolloutBatch) -> Tensor:
        """(B,) advantages."""
        return _compared(batch, batch.signals["certainty"])


@dataclass(frozen=True)
class LowEntropy(Advantage):
    """Minus the mean entropy of a completion's tokens, normalised in its group (Agarwal et al. 2025, arXiv 2505.15134)."""

    compares_group = True
    per_completion = True
    ignores_rewards = True
    reads_kl_penalty = False
    needs = ("entropies",)

    def __call__(self, batch: RolloutBatch) -> Tensor:
        """(B,) advantages."""
        return _compared(batch, -batch.signals["entropies"])


def _compared(batch: RolloutBatch, tokens: Tensor) -> Tensor:
    scores = completion_mean(tokens, batch.loss_mask)
    return group_normalised(scores.view(-1, batch.group_size)).view(-1)


def completion_mean(tokens: Tensor, loss_mask: Tensor) -> Tensor:
    """(B, T) values to (B,): the mean over each row's tokens in `loss_mask`, NaN where it has none."""
    inside = loss_mask.bool()
    return tokens.masked_fill(~inside, 0.0).sum(dim=1) / inside.sum(dim=1)


def group_normalised(scores: Tensor) -> Tensor:
    """(N, G) scores, NaN where undefined, to (N, G) advantages as TRL makes them: mean 0, over the group's unbiased
    deviation + 1e-4; 0 where undefined."""
    centred, defined = from_group_mean(scores)
    others = (defined.sum(dim=1, keepdim=True) - 1).clamp(min=1)
    deviation = (centred.square().sum(dim=1, keepdim=True) / others).sqrt()
    return centred / (deviation + 1e-4)
