"""`rlllm pretrain`: learning from raw text, with thoughts that are paid for what they predict, or plainly."""

from __future__ import annotations

from typing import Any

from rlllm.core.runs import Run, RunOptions
from rlllm.training import controls, reward_cards
from rlllm.training.plan import ExperimentPlan, Plan, RLPlan
from rlllm.training.registry import plan_run
from rlllm.training.settings import TrainingConfig


def plan(config: TrainingConfig) -> Plan[Any]:
    """The plan of a run, or of several runs and their comparison with `controls` or `seeds`."""
    planned = plan_run(config)
    return controls.expand(planned) if isinstance(planned, RLPlan) else planned


def run(config: TrainingConfig, options: RunOptions) -> Run:
    """Learn from raw text; measures next-token accuracy on held-out positions before and after.

    With `controls` or `seeds` it is several such runs and their comparison.
    """
    options.progress.phase("reading the text")
    planned = plan(config)
    reward_cards.announce(planned, options.progress)
    if isinstance(planned, ExperimentPlan):
        return controls.run(planned, options)
    return planned.trainer.run(planned, options)
