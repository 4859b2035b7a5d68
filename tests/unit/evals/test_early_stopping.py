"""Stopping when the interval of pass@1 is narrow: what is used, what is remembered, and what cannot be judged."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from rlllm.core.errors import RewardError
from rlllm.core.records import PromptTask, Sample
from rlllm.evals.early_stopping import until_narrow
from rlllm.evals.request import EvalRequest
from rlllm.evals.sampling import CompletionSampler
from rlllm.rewards.binding import BoundReward
from rlllm.rewards.composition import Composition
from rlllm.rollouts.config import SamplingConfig

Judge = Callable[[Sample], Any]
SAMPLING = SamplingConfig(batch_size=20)


@dataclass
class Echo(CompletionSampler):
    """Answers each problem with its own answer, in blocks of ten."""

    def each_block(
        self, tasks: Sequence[PromptTask], sampling: SamplingConfig, *, samples: int, seed: int
    ) -> Iterator[list[list[Sample]]]:
        for start in range(0, len(tasks), 10):
            part = tasks[start : start + 10]
            yield [
                [Sample(task.prompt, task.answer or "", task.answer, task.meta, tokens=1)] * samples for task in part
            ]


def request(answers: Sequence[str], *judges: Judge, seed: int = 0) -> EvalRequest:
    rewards = Composition(
        tuple(BoundReward(f"judge {number}", 1.0, judge, None, "x") for number, judge in enumerate(judges))
    )

    def policy() -> tuple[Any, Any]:
        raise AssertionError("nothing is sampled here")

    tasks = [PromptTask(f"problem {number}", answer) for number, answer in enumerate(answers)]
    return EvalRequest("", policy, tasks, rewards, SAMPLING, samples=2, seed=seed, samplers={"model": Echo(policy)})


def right(sample: Sample) -> float:
    return float(sample.completion == "right")


def stopped(asked: EvalRequest, width: float) -> tuple[EvalRequest, Any]:
    assert asked.rewards is not None
    return until_narrow(asked, asked.rewards, width)


def test_it_stops_at_the_first_block_whose_interval_is_narrow_and_reports_that_interval() -> None:
    shortened, where = stopped(request(["right"] * 300, right), 0.2)
    assert where.reached
    assert len(shortened.records) == where.problems == where.interval.n < 300
    assert where.problems % 10 == 0
    earlier = stopped(request(["right"] * (where.problems - 10), right), 0.2)[1]
    assert not earlier.reached


def test_problems_are_taken_in_a_random_order_that_follows_the_seed() -> None:
    answers = ["right"] * 150 + ["wrong"] * 150
    orders = [
        [record.prompt for record in stopped(request(answers, right, seed=seed), 0.4)[0].records] for seed in (0, 0, 1)
    ]
    assert orders[0] == orders[1] != orders[2]
    assert 0.3 < stopped(request(answers, right), 0.2)[1].interval.estimate < 0.7


def test_a_reward_is_asked_once_and_then_answers_from_memory() -> None:
    calls: list[str] = []

    def fickle(sample: Sample) -> float:
        calls.append(str(sample.prompt))
        return random.random()

    shortened, _ = stopped(request(["right"] * 20, fickle), 0.01)
    assert len(calls) == 40
    assert shortened.rewards is not None
    drawn = [
        one
        for row in shortened.draw([task for task in shortened.records if isinstance(task, PromptTask)])
        for one in row
    ]
    assert None not in shortened.rewards.score(drawn).values[0]
    assert len(calls) == 40


def test_what_is_remembered_follows_every_column_a_reward_can_read() -> None:
    asked = request(["right"] * 4, lambda sample: float(sample.meta["odd"]))
    tasks = [PromptTask("the same problem", "right", {"odd": number % 2}) for number in range(4)]
    shortened, where = stopped(replace(asked, records=tasks), 0.01)
    assert where.interval.estimate == 0.5
    assert shortened.rewards is not None
    drawn = [Sample(task.prompt, "right", task.answer, task.meta) for task in tasks]
    assert shortened.rewards.score(drawn).values[0] == [0.0, 1.0, 0.0, 1.0]


def test_only_the_first_reward_is_asked_while_looking() -> None:
    calls: list[str] = []
    shortened, _ = stopped(request(["right"] * 20, right, lambda sample: calls.append("second")), 0.01)
    assert not calls
    assert shortened.rewards is not None
    assert shortened.rewards.names == ["judge 0", "judge 1"]


def test_problems_that_cannot_be_judged_are_used_and_not_counted() -> None:
    answers = ["right", "none"] * 20
    _, where = stopped(request(answers, lambda sample: None if sample.answer == "none" else 1.0), 0.01)
    assert (where.problems, where.planned, where.interval.n) == (40, 40, 20)


def test_where_nothing_can_be_judged_there_is_no_interval() -> None:
    shortened, where = stopped(request(["none"] * 20, lambda sample: None), 0.1)
    assert where is None
    assert len(shortened.records) == 20


def test_a_reward_that_always_fails_ends_the_evaluation() -> None:
    def fails(sample: Sample) -> float:
        raise ValueError("broken")

    with pytest.raises(RewardError, match="judge 0 raised ValueError"):
        stopped(request(["right"] * 20, fails), 0.1)


def test_no_problems_at_all() -> None:
    shortened, where = stopped(request([], right), 0.1)
    assert where is None
    assert shortened.records == []
