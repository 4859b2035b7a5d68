"""What an evaluation is asked for and what it returns. The contract between the `eval` verb and every metric."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlllm.core.records import Record
from rlllm.evals.statistics import Interval
from rlllm.rewards.compose import Composition
from rlllm.rollouts.config import SamplingConfig


@dataclass(frozen=True)
class EvalRequest:
    """One task for one model.

    Args:
        path: folder or Hub id of the model.
        policy: gives (causal model, tokenizer); loaded on the first call, so that metrics on other models pay nothing.
        records: PromptTask or PreferencePair rows, as the metric asks.
        rewards: what a completion is worth; None for metrics that need none.
        sampling: how completions are drawn.
        samples: completions for each prompt.
        ks: which pass@k to report; empty means pass@1 and pass@samples.
        seed: seeds sampling and resampling.
        baseline: gives the (causal model, tokenizer) to win against.
    """

    path: str
    policy: Callable[[], tuple[Any, Any]]
    records: Sequence[Record]
    rewards: Composition | None
    sampling: SamplingConfig
    samples: int
    ks: Sequence[int] = ()
    seed: int = 0
    baseline: Callable[[], tuple[Any, Any]] | None = None


@dataclass(frozen=True)
class Evaluation:
    """A metric's answer: one row for each item, and the aggregate values with their intervals."""

    items: list[dict[str, Any]]
    """Rows of `items.jsonl` without their task name: id, scores, prompt, answer, completions."""
    values: dict[str, Interval]
    extra: dict[str, Any] = field(default_factory=dict)


Evaluator = Callable[[EvalRequest], Evaluation]
