"""The reward of a greedy completion of each prompt, sampled beside the rollout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlllm.algorithms.signals.base import Signal, SignalContext

if TYPE_CHECKING:
    from torch import Tensor


class GreedyRewards(Signal):
    """(B,) summed reward of one greedy completion of each row's prompt; NaN where it could not be judged."""

    name = "greedy_rewards"
    summary = "reward of a greedy completion of each row's prompt (B,)"
    cost = "rollout"
    per_token = False

    def compute(self, context: SignalContext) -> Tensor:
        import torch

        from rlllm.rollouts.engines.hf import HFEngine
        from rlllm.rollouts.samples import draw

        tokenizer = context.tokenizer
        greedy = context.sampling.model_copy(update={"temperature": 0.0})
        prompts = context.tasks[:: context.group_size]
        samples = [row[0] for row in draw(HFEngine(context.model, tokenizer), tokenizer, prompts, greedy)]
        totals = [torch.nan if total is None else total for total in context.score(samples)]
        device = context.output["completion_ids"].device
        return torch.tensor(totals, device=device).repeat_interleave(context.group_size)

    def example(self, rows: int, tokens: int) -> Tensor:
        import torch

        return torch.rand(rows)
