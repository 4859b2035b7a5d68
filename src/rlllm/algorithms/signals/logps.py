"""Log-probabilities of the completion tokens under the policy that sampled them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlllm.algorithms.signals.base import Signal, SignalContext

if TYPE_CHECKING:
    from torch import Tensor

    from rlllm.algorithms.forward_pass import ForwardView


class Logps(Signal):
    """(B, T) log-probabilities in nats, at the run's temperature; to the bit what the loss sees at the first update."""

    name = "logps"
    summary = "log-probability of each token under the policy that sampled it, in nats (B, T)"
    cost = "shared pass"
    elementwise = True

    def from_forward(self, view: ForwardView, context: SignalContext) -> Tensor:
        return view.chosen[0]
