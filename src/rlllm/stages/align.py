"""`rlllm align`: learn from preferences, by a loss on pairs or labels, or through a reward (PPO and others)."""

from __future__ import annotations

from rlllm.core.runs import Run, RunOptions
from rlllm.training import reward_cards
from rlllm.training.registry import plan_run as plan
from rlllm.training.settings import TrainingConfig


def run(config: TrainingConfig, options: RunOptions) -> Run:
    """Align a model; measures it on held-out prompts before and after, if there is a reward to measure by."""
    planned = plan(config)
    reward_cards.announce(planned, options.progress)
    return planned.trainer.run(planned, options)
