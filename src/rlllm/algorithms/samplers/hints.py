"""Hints: the prompt shows the first words of the solution, for prompts that the policy fails."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rlllm.algorithms.off_policy.demonstrations import reference, require_column
from rlllm.algorithms.protocols import Sampler, Setup
from rlllm.algorithms.samplers.pass_rates import PassRates
from rlllm.core.errors import ConfigError
from rlllm.core.records import Prompt, PromptTask, behind_text

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Hints(Sampler):
    """Shows the first words of the reference solution, more of it the lower the prompt's pass rate.

    The share shown is `most` times (1 - pass rate): nothing for a prompt not yet asked or always solved, and less and less
    as the pass rate rises. Starting from partial solutions follows the reverse curriculum of Xi et al. 2024
    (arXiv 2402.05808). Rewards judge the completion by the task as it was.
    """

    most: float = 0.5
    """Share of the solution's words shown where nothing is ever solved."""
    column: str = "solution"
    """Column of the data that holds the solution."""
    words: str = "The solution begins:"
    """What stands between prompt and hint."""
    threshold: float = 0.5
    """Reward from which a completion passes."""
    reward: str = ""
    """Name of the reward that decides what passes. Default: the run's first reward that verifies."""
    rates: PassRates = field(init=False)

    def __post_init__(self) -> None:
        if not 0 < self.most < 1:
            raise ConfigError(
                "sampler hints: most is above 0 and below 1", given=self.most, hint="1 would give the answer away"
            )
        self.rates = PassRates(self.threshold)

    def check(self, setup: Setup) -> None:
        """Raise ConfigError unless every task has a solution."""
        require_column("sampler hints", "sampler.column", self.column, setup.tasks)

    def show(self, row: int, task: PromptTask) -> Prompt:
        rate, _ = self.rates.seen.get(row, (1.0, 0))
        hint = beginning(reference(task, self.column), self.most * (1 - rate))
        if not hint:
            return task.prompt
        if isinstance(task.prompt, str):
            return f"{task.prompt}\n{self.words}\n{hint}"
        *before, last = task.prompt
        return [*before, behind_text(last, f"\n{self.words}\n{hint}")]

    def observe(self, rows: Sequence[int], rewards: Tensor) -> None:
        self.rates.observe(rows, rewards)

    @property
    def metrics(self) -> dict[str, float]:
        """For the log: the mean share of a solution that the next rollout would show, over all prompts asked so far."""
        shares = [self.most * (1 - rate) for rate, _ in self.rates.seen.values()]
        return {"sampling/hint_share": sum(shares) / max(len(shares), 1)}

    def state_dict(self) -> dict[str, Any]:
        return self.rates.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.rates.load_state_dict(state)


def beginning(text: str, share: float) -> str:
    """The first words of a text, as many as `share` of them rounded down, with the white space between them as it was."""
    words = list(re.finditer(r"\S+", text))
    count = int(share * len(words) + 1e-9)
    return text[: words[count - 1].end()] if count else ""
