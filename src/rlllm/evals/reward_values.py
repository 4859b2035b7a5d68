"""Reward values of sampled completions, one row for each problem."""

from __future__ import annotations

from collections.abc import Sequence

from rlllm.core.errors import RewardError
from rlllm.core.records import Sample
from rlllm.rewards.composition import Composition


def first_reward(rewards: Composition, completions: Sequence[Sequence[Sample]]) -> list[list[float]]:
    """The first reward's value for each sample; an empty row where it cannot judge them all, since it is no 0."""
    return every_reward(rewards, completions)[0]


def every_reward(rewards: Composition, completions: Sequence[Sequence[Sample]]) -> list[list[list[float]]]:
    """For each reward what `first_reward` gives for the first."""
    scores = rewards.score([sample for row in completions for sample in row])
    tables = []
    for column in scores.values:
        values = iter(column)
        rows = [[next(values) for _ in row] for row in completions]
        tables.append([[] if None in row else [value for value in row if value is not None] for row in rows])
    return tables


def check_any_judged(rewards: Composition, problems: int, judged: int) -> None:
    """Raises RewardError where the first reward could judge all completions of no problem."""
    if not judged:
        raise RewardError(
            f"the reward {rewards.names[0]} could not judge all completions of any problem",
            given=f"{problems} problems",
            hint="it returned None; evaluate with a reward that fits this data",
        )
