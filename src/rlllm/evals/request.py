"""`EvalRequest` and `Evaluation`: the argument and the result of every metric."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rlllm.core.errors import ConfigError
from rlllm.core.records import PromptTask, Record, Sample
from rlllm.evals.image_ablation import Ablation
from rlllm.evals.sampling import CompletionSampler
from rlllm.evals.statistics.intervals import Interval
from rlllm.rewards.composition import Composition
from rlllm.rollouts.config import SamplingConfig

PolicyName = Literal["model", "baseline"]


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
        entropy: also measure the model's entropy along its completions, where a metric samples and can.
        image_ablation: how images are changed for the control; of tasks that have some.
        params: arguments of the metric, as the task's `params` gives them.
        samplers: what draws for `draw`, by policy; where one is missing, its completions are sampled and not kept.
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
    entropy: bool = False
    image_ablation: Sequence[Ablation] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    samplers: Mapping[PolicyName, CompletionSampler] = field(default_factory=dict)

    def required_rewards(self) -> Composition:
        """The rewards. Raises ConfigError where there are none."""
        if self.rewards is None:
            raise ConfigError("this metric needs a reward", hint="say which with --reward NAME")
        return self.rewards

    def draw(self, tasks: Sequence[PromptTask], policy: PolicyName = "model") -> list[list[Sample]]:
        """`samples` completions of every task by a policy; the outer list follows `tasks`.

        They come from the run's log or the user's cache where they were drawn before, and else from the engine.

        Raises:
            ConfigError: the baseline is asked for, and there is none.
        """
        return self._sampler(policy).draw(tasks, self.sampling, samples=self.samples, seed=self.seed)

    def each_block(self, tasks: Sequence[PromptTask]) -> Iterator[list[list[Sample]]]:
        """What `draw` gives of the model, block by block."""
        return self._sampler("model").each_block(tasks, self.sampling, samples=self.samples, seed=self.seed)

    def _sampler(self, policy: PolicyName) -> CompletionSampler:
        if policy in self.samplers:
            return self.samplers[policy]
        give = self.policy if policy == "model" else self.baseline
        if give is None:
            raise ConfigError("there is no baseline to draw from", hint="say which model with --baseline MODEL")
        return CompletionSampler(give)


@dataclass(frozen=True)
class Evaluation:
    """A metric's answer: one row for each item, and the aggregate values with their intervals."""

    items: list[dict[str, Any]]
    """Rows of `items.jsonl` without their task name: id, scores, prompt, answer, completions."""
    values: dict[str, Interval]
    extra: dict[str, Any] = field(default_factory=dict)
