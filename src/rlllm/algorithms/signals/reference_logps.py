"""Log-probabilities of the completion tokens under the reference model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlllm.algorithms.signals.base import Signal, SignalContext

if TYPE_CHECKING:
    from torch import Tensor


class ReferenceLogps(Signal):
    """(B, T) log-probabilities in nats that TRL computes where `beta` is above 0; None in a run without a reference model."""

    name = "ref_logps"
    summary = "log-probability of each token under the reference model, in nats (B, T); needs beta above 0"

    def compute(self, context: SignalContext) -> Tensor | None:
        return context.output.get("ref_per_token_logps")
