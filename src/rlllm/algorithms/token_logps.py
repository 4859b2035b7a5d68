"""Log-probabilities of chosen tokens from logits, with one buffer of vocabulary size instead of four."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Chosen(torch.autograd.Function):
    """log softmax(logits / temperature) at the targets. The backward pass writes its gradient over the logits."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        normaliser, entropies = logits.new_empty(targets.shape), logits.new_empty(targets.shape)
        for row, scores in enumerate(logits):  # whole vocabularies for all rows at once run a laptop out of memory
            scaled = scores if temperature == 1 else scores / temperature
            normaliser[row] = scaled.logsumexp(-1)
            shares = (scaled - normaliser[row].unsqueeze(-1)).exp_()
            expected = torch.linalg.vecdot(shares, scaled)
            if expected.isnan().any():  # 0 times -inf, for tokens that cannot be written
                expected = torch.linalg.vecdot(shares, scaled.nan_to_num(neginf=0.0))
            entropies[row] = normaliser[row] - expected
        ctx.save_for_backward(logits, targets, normaliser)
        ctx.temperature = temperature
        ctx.mark_non_differentiable(entropies)
        chosen = logits.gather(2, targets.unsqueeze(2)).squeeze(2)
        return (chosen if temperature == 1 else chosen / temperature) - normaliser, entropies

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        logits, targets, normaliser = ctx.saved_tensors
        scale = (upstream[0] / ctx.temperature).unsqueeze(2)
        gradient = logits if ctx.temperature == 1 else logits.div_(ctx.temperature)
        gradient.sub_(normaliser.unsqueeze(2)).exp_().mul_(-scale)
        gradient.scatter_add_(2, targets.unsqueeze(2), scale)
        return gradient, None, None


def chosen_logps(logits: Tensor, targets: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """Log-probabilities of `targets` and entropies (nats), both (B, T); entropies carry no gradient.

    Args:
        logits: (B, T, V) straight from the model; used up: their storage holds their gradient after the backward pass.
        targets: (B, T) token ids.
        temperature: divides the logits.
    """
    return _Chosen.apply(logits.float(), targets, temperature)
