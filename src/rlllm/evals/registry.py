"""Metrics that ship with rlllm, by name. A static table, so that listing imports nothing."""

from __future__ import annotations

from rlllm.core.registry import Builtin, Registry

EVALS = Registry(
    "eval task",
    "rlllm.evals",
    {
        "pass": Builtin(
            "rlllm.evals.metrics.pass_at_k:evaluate_pass", "sampled pass@1, avg@k and unbiased pass@k on prompts"
        ),
        "judge": Builtin("rlllm.evals.metrics.judge:evaluate_judge", "swap-consistent accuracy of a judge that writes"),
        "rm": Builtin("rlllm.evals.metrics.rm_accuracy:evaluate_rm", "pair accuracy of a reward model"),
        "lm-eval": Builtin(
            "rlllm.evals.harness.run:evaluate_harness", "a task of lm-evaluation-harness, as lm-eval:NAME"
        ),
        "gold": Builtin("rlllm.evals.metrics.pass_at_k:evaluate_gold", "gold win rate against a baseline model"),
        "win-rate": Builtin(
            "rlllm.evals.metrics.win_rate:evaluate_duels", "win rate against a baseline, by a judge in both orders"
        ),
        "steps": Builtin(
            "rlllm.evals.metrics.prm_steps:evaluate_steps", "how often a process reward model finds the first error"
        ),
        "safety": Builtin(
            "rlllm.evals.metrics.safety:evaluate_safety", "refusals of harmful prompts, and of benign ones"
        ),
        "best-of": Builtin(
            "rlllm.evals.metrics.best_of_n:evaluate_selection", "best of n samples, as chosen by each further reward"
        ),
    },
)
