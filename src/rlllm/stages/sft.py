"""`rlllm sft`: imitate completions."""

from __future__ import annotations

from rlllm.core.runs import Run, RunOptions
from rlllm.training.registry import plan_run as plan
from rlllm.training.settings import TrainingConfig


def run(config: TrainingConfig, options: RunOptions) -> Run:
    """Fine-tune on example completions; measures the held-out loss before and after."""
    planned = plan(config)
    return planned.trainer.run(planned, options)
