"""Entropy of the policy's next-token distribution at each completion token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlllm.algorithms.signals.base import Signal, SignalContext

if TYPE_CHECKING:
    from torch import Tensor

    from rlllm.algorithms.forward_pass import ForwardView


class Entropies(Signal):
    """(B, T) entropies in nats, at the run's temperature."""

    name = "entropies"
    summary = "entropy of the policy's distribution at each token, in nats (B, T)"
    cost = "shared pass"
    elementwise = True

    def from_forward(self, view: ForwardView, context: SignalContext) -> Tensor:
        return view.chosen[1]

    def example(self, rows: int, tokens: int) -> Tensor:
        import torch

        return torch.rand(rows, tokens)
