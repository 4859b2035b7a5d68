"""Metrics that ship with rlllm, by name. A static table: names are known without importing a metric."""

from __future__ import annotations

from rlllm.core.registry import Builtin, Registry

METRICS = Registry(
    "metric",
    "rlllm.metrics",
    {
        "abstention": Builtin("rlllm.evals.metrics.abstention:METRIC"),
        "best-of": Builtin("rlllm.evals.metrics.best_of_n:METRIC"),
        "judge": Builtin("rlllm.evals.metrics.judge:METRIC"),
        "lm-eval": Builtin("rlllm.evals.harness.run:METRIC"),
        "pass": Builtin("rlllm.evals.metrics.pass_at_k:METRIC"),
        "prm-steps": Builtin("rlllm.evals.metrics.prm_steps:METRIC"),
        "readiness": Builtin("rlllm.evals.metrics.readiness:METRIC"),
        "reward-win-rate": Builtin("rlllm.evals.metrics.reward_win_rate:METRIC"),
        "rm": Builtin("rlllm.evals.metrics.rm_accuracy:METRIC"),
        "safety": Builtin("rlllm.evals.metrics.safety:METRIC"),
        "steps": Builtin("rlllm.evals.metrics.steps:METRIC"),
        "win-rate": Builtin("rlllm.evals.metrics.win_rate:METRIC"),
    },
    list_command="rlllm metrics ls",
)
DEFAULT_METRIC = "pass"
"""What is measured where a task names data only."""


def metric_for_reward_model(method: str) -> str:
    """The metric that measures models of a `train-rm` method, for the next command of a run; `rm` where none declares it."""
    declared = (name for name in METRICS.builtins if method in METRICS.load(name).train_rm_methods)
    return next(declared, "rm")
