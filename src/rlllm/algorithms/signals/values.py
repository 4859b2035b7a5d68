"""The critic's estimate of the return before each completion token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlllm.algorithms.signals.base import Signal, SignalContext

if TYPE_CHECKING:
    from torch import Tensor


class Values(Signal):
    """(B, T) values in units of the reward. A component that needs them makes the run train a critic (PPO)."""

    name = "values"
    summary = "the critic's value before each token, in units of the reward (B, T); the run trains a critic"
    cost = "critic"

    def compute(self, context: SignalContext) -> Tensor:
        import torch

        from rlllm.algorithms.tensor_dict import prompts_with_completions

        keep = context.output["completion_ids"].size(1)
        parts = zip(
            *(part.split(context.rows_per_pass) for part in prompts_with_completions(context.output)), strict=True
        )
        return torch.cat([context.critic.values(ids, mask, keep) for ids, mask in parts])
