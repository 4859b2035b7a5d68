"""What a policy loss reads, and how the losses of tokens become one number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rlllm.core.errors import unknown

if TYPE_CHECKING:
    from torch import Tensor


AGGREGATIONS = (
    "token-mean",
    "seq-mean-token-mean",
    "seq-mean-token-sum",
    "seq-mean-token-sum-norm",
    "micro-batch-token-mean",
)
"""How the losses of tokens become one number (verl's names); see `aggregate`."""


@dataclass(frozen=True)
class LossInputs:
    """Rows of a rollout that are learned from now. B rows, T completion tokens; the argument of a loss beside `logps`."""

    old_logps: Tensor
    """(B, T) log-probabilities (nats) under the policy that sampled; 0 on off-policy tokens, whose policy is unknown."""
    advantages: Tensor
    """(B, T) float, or (B, 1) where all tokens of a completion share one."""
    mask: Tensor
    """(B, T) 0/1: tokens that learn."""
    off_policy: Tensor | None = None
    """(B, T) bool: tokens the policy did not sample; None in a run without such completions."""
    ref_logps: Tensor | None = None
    """(B, T) log-probabilities (nats) under the reference model, where its KL term enters the loss."""
    entropies: Tensor | None = None
    """(B, T) entropies (nats) under the current policy, without gradient."""
    signals: Mapping[str, Tensor] = field(default_factory=dict)
    """Signal name -> (B, ...) tensor of the rollout, of every signal that the loss needs."""
    trl: Mapping[str, Any] = field(default_factory=dict)
    """TRL setting -> value, of every setting that the loss names in `reads_trl`."""


def aggregate(losses: Tensor, mask: Tensor, how: str, *, tokens: Tensor | float, longest: int) -> Tensor:
    """The mean of (B, T) or (B, 1) token losses over the `mask`'s tokens, as a scalar.

    Args:
        losses: loss of each token.
        mask: (B, T) 0/1.
        how: one of `AGGREGATIONS`. `token-mean` divides the sum over tokens by `tokens` (verl's `token-mean`, TRL's `dapo`);
            `seq-mean-token-mean` is the mean over completions of their means (TRL's `grpo`); `seq-mean-token-sum` the mean
            over completions of their sums (TRL's `luspo`); `seq-mean-token-sum-norm` divides these sums by `longest`
            (TRL's `dr_grpo`); `micro-batch-token-mean` is the mean over the tokens of this micro-batch (TRL's `bnpo`).
        tokens: tokens of one optimizer step, in units of this process's micro-batches.
        longest: most tokens a completion may have.

    Raises:
        UnknownNameError: `how` is none of these.
    """
    if how == "token-mean":
        return (losses * mask).sum() / tokens
    if how == "seq-mean-token-mean":
        return ((losses * mask).sum(-1) / mask.sum(-1).clamp(min=1.0)).mean()
    if how == "seq-mean-token-sum":
        return (losses * mask).sum(-1).mean()
    if how == "seq-mean-token-sum-norm":
        return (losses * mask).sum() / (losses.size(0) * longest)
    if how == "micro-batch-token-mean":
        return (losses * mask).sum() / mask.sum().clamp(min=1.0)
    raise unknown("aggregation", how, AGGREGATIONS)


def per_step(how: str) -> bool:
    """Whether an aggregation already divides by the tokens of the whole optimizer step, gradient accumulation included."""
    return how == "token-mean"


def k3(logps: Tensor, ref_logps: Tensor) -> Tensor:
    """(B, T) unbiased, never negative estimate of KL(policy || reference) at each token (Schulman 2020, "k3"), in nats."""
    difference = ref_logps - logps
    return difference.exp() - difference - 1


def sequence_ratio(log_ratios: Tensor, mask: Tensor) -> Tensor:
    """(B, 1) exponential of the mean log-ratio over the `mask`'s tokens: the geometric mean of the token ratios."""
    return ((log_ratios * mask).sum(-1) / mask.sum(-1).clamp(min=1.0)).unsqueeze(-1).exp()


def log_ratios(logps: Tensor, inputs: LossInputs) -> Tensor:
    """(B, T) log of the importance ratio of each token, in nats."""
    return logps - inputs.old_logps
