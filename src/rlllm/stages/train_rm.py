"""`rlllm train-rm`: a reward model of any kind."""

from __future__ import annotations

from rlllm.core.runs import Run, RunOptions
from rlllm.training.registry import plan_run as plan
from rlllm.training.settings import TrainingConfig


def run(config: TrainingConfig, options: RunOptions) -> Run:
    """Train a reward model; measures it on held-out rows before and after."""
    planned = plan(config)
    return planned.trainer.run(planned, options)
