"""Label-free advantage: how sure the policy was of its own tokens, compared within the group. Rewards are only monitored.

Torch is imported when the first rollout is credited, so that a plan can check the fields without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rlllm.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from rlllm.algorithms.batch import RolloutBatch

SIGNALS = {"self-certainty": ("certainty", 1.0), "entropy": ("entropies", -1.0)}
"""Signal -> field of the batch it is the mean of, and its sign."""


@dataclass(frozen=True)
class Confidence:
    """The mean of a signal over a completion's loss_mask tokens, minus its group mean over its group deviation.

    `self-certainty` is KL(uniform || p) in nats at each token (INTUITOR: Zhao et al. 2025, arXiv 2505.19590);
    `entropy` is minus the entropy of p in nats (EM-RL-token: Agarwal et al. 2025, arXiv 2505.15134). A completion without
    loss_mask tokens has no signal: it stands in no statistic and gets 0.
    """

    signal: str = "self-certainty"
    """`self-certainty` or `entropy`."""
    compares_group: ClassVar[bool] = True
    ignores_rewards: ClassVar[bool] = True
    ignores_penalty: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.signal not in SIGNALS:
            raise ConfigError(f"advantage confidence has no signal {self.signal}", exists=SIGNALS)

    @property
    def needs(self) -> tuple[str, ...]:
        return (SIGNALS[self.signal][0],)

    def __call__(self, batch: RolloutBatch) -> Tensor:
        """(B,) advantages."""
        name, sign = SIGNALS[self.signal]
        tokens = getattr(batch, name)
        assert tokens is not None
        scores = sign * completion_mean(tokens, batch.loss_mask)
        return group_normalised(scores.view(-1, batch.group_size)).view(-1)


@dataclass(frozen=True)
class LowEntropy(Confidence):
    """`Confidence` by its signal `entropy`, as a name for methods to preset."""

    signal: str = "entropy"


def completion_mean(tokens: Tensor, loss_mask: Tensor) -> Tensor:
    """(B, T) values to (B,): the mean over each row's loss_mask tokens, NaN where it has none."""
    inside = loss_mask.bool()
    return tokens.masked_fill(~inside, 0.0).sum(dim=1) / inside.sum(dim=1)


def group_normalised(scores: Tensor) -> Tensor:
    """(N, G) scores, NaN where undefined, to (N, G) advantages as TRL makes them: mean 0, over the group's unbiased
    deviation + 1e-4; 0 where undefined."""
    from rlllm.algorithms.advantages.reinforce_plus_plus import from_group_mean

    centred, known = from_group_mean(scores)
    others = (known.sum(dim=1, keepdim=True) - 1).clamp(min=1)
    deviation = (centred.square().sum(dim=1, keepdim=True) / others).sqrt()
    return centred / (deviation + 1e-4)
