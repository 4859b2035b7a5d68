"""Self-certainty: how far the policy's next-token distribution is from uniform."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rlllm.algorithms.signals.base import Signal, SignalContext

if TYPE_CHECKING:
    from torch import Tensor

    from rlllm.algorithms.forward_pass import ForwardView


class Certainty(Signal):
    """(B, T) KL(uniform || policy) in nats at each token (self-certainty: Kang et al. 2025, arXiv 2502.18581)."""

    name = "certainty"
    summary = "KL divergence from the policy's distribution to the uniform one at each token, in nats (B, T)"
    cost = "shared pass"
    elementwise = True

    def from_forward(self, view: ForwardView, context: SignalContext) -> Tensor:
        import torch

        rows = [torch.log_softmax(scores.float() / view.temperature, dim=-1).mean(-1) for scores in view.logits]
        return -torch.stack(rows) - math.log(view.logits.size(-1))

    def example(self, rows: int, tokens: int) -> Tensor:
        import torch

        return torch.rand(rows, tokens)
