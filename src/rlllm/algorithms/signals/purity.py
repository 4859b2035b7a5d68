"""Purity of the policy's next-token distribution: the probability that two tokens drawn from it are equal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlllm.algorithms.signals.base import Signal, SignalContext

if TYPE_CHECKING:
    from torch import Tensor

    from rlllm.algorithms.forward_pass import ForwardView


class Purity(Signal):
    """(B, T) sum over the vocabulary of p squared, from 1 / V to 1, at the run's temperature.

    To first order, raising a token's logit lowers the collision entropy -log(purity) where the token's probability is above the
    purity, and raises it where it is below (Feng et al. 2026, arXiv 2606.19771).
    """

    name = "purity"
    summary = "sum of the squared probabilities of the policy's distribution at each token, from 0 to 1 (B, T)"
    cost = "shared pass"
    elementwise = True

    def from_forward(self, view: ForwardView, context: SignalContext) -> Tensor:
        import torch

        rows = [torch.softmax(scores.float() / view.temperature, dim=-1).square().sum(-1) for scores in view.logits]
        return torch.stack(rows)

    def example(self, rows: int, tokens: int) -> Tensor:
        import torch

        return torch.rand(rows, tokens)
