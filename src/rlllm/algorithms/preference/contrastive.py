"""What several preference losses share: log-probabilities of completions, the loss of a pair, and imitation."""

from __future__ import annotations

import torch
from torch.nn import functional


def completion_logps(log_probs: torch.Tensor, mask: torch.Tensor, *, per_token: bool) -> torch.Tensor:
    """Log-probability of each completion, in nats: (rows,).

    Args:
        log_probs: of each token given those before it, (rows, tokens); 0 where `mask` is 0.
        mask: 1 on the tokens of the completion, (rows, tokens).
        per_token: the mean over the tokens instead of their sum.
    """
    sums = log_probs.sum(-1)
    return sums / mask.sum(-1).clamp(min=1) if per_token else sums  # an empty completion, or one that is cut away


def contrastive_loss(
    chosen: torch.Tensor,
    rejected: torch.Tensor,
    *,
    loss_type: str,
    beta: float,
    label_smoothing: float = 0.0,
    margin: float = 0.0,
) -> torch.Tensor:
    """Loss of each pair from the rewards of its two completions, (pairs,).

    With d = chosen - rejected, s = sigmoid, b = beta, e = label_smoothing:

    - `hinge`: max(0, 1 - b d), Zhao et al. 2023, arXiv 2305.10425, equation 2.
    - `ipo`: (d - 1 / (2 b))², Azar et al. 2023, arXiv 2310.12036, equation 17.
    - every other: -(1 - e) log s(b d - margin) - e log s(margin - b d). This is CPO's preference term (Xu et al. 2024,
      arXiv 2401.08417, equation 3) with margin 0, and SimPO's loss (Meng et al. 2024, arXiv 2405.14734, equation 6)
      on means over tokens with margin gamma.

    Args:
        chosen, rejected: rewards of the better and of the worse completion, (pairs,); log-probabilities in nats, by
            `completion_logps`, or a function of them.
        loss_type: name as above.
        beta: scale of the rewards; above 0 for `ipo` and with a margin.
        label_smoothing: share of labels that are assumed to be flipped.
        margin: by how much b d is meant to exceed 0.
    """
    difference = chosen - rejected
    if loss_type == "hinge":
        return torch.relu(1 - beta * difference)
    if loss_type == "ipo":
        return (difference - 1 / (2 * beta)) ** 2
    logits = beta * (difference - margin / beta if margin else difference)
    return -functional.logsigmoid(logits) * (1 - label_smoothing) - functional.logsigmoid(-logits) * label_smoothing


def negative_log_likelihood(
    log_probs: torch.Tensor, mask: torch.Tensor, tokens: torch.Tensor | None = None
) -> torch.Tensor:
    """Sum over the masked tokens of all rows of -log p(token), divided by `tokens`, in nats: a scalar.

    Long rows weigh more than short ones.

    Args:
        log_probs: (rows, tokens); 0 where `mask` is 0.
        mask: 1 on the tokens that count, (rows, tokens).
        tokens: a scalar: the masked tokens of an optimizer step over its number of micro-batches. Default: those of `mask`.
    """
    return -log_probs.sum() / (mask.sum() if tokens is None else tokens).clamp(min=1)
