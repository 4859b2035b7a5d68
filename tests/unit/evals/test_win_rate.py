"""A win rate by a judge: both orders are asked, and a judge that goes by position wins nobody anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from rlllm.core.errors import ConfigError, RewardError
from rlllm.core.records import PromptTask, Sample
from rlllm.evals.metrics.win_rate import METRIC as WIN_RATE
from rlllm.evals.request import EvalRequest
from rlllm.rewards.composition import build
from rlllm.rewards.config import RewardSpec
from rlllm.rewards.judges.judge import Judge
from rlllm.rollouts.config import SamplingConfig

OURS, THEIRS = "ours is the longer text", "theirs"


@dataclass
class Decides:
    """Answers every prompt of a judge by a rule on the prompt's text."""

    rule: Callable[[str], str]

    def complete(self, prompts: Sequence[str]) -> list[Any]:
        return [self.rule(prompt) for prompt in prompts]


@dataclass
class Says:
    """Draws the same text for every problem."""

    text: str

    def draw(self, tasks: Sequence[PromptTask], sampling: SamplingConfig, *, samples: int, seed: int) -> Any:
        return [[Sample(task.prompt, self.text, task.answer)] * samples for task in tasks]


def ours_first(prompt: str) -> bool:
    return prompt.index(OURS) < prompt.index(THEIRS)


def request(rule: Callable[[str], str], problems: int = 12, reward: str | None = None) -> EvalRequest:
    rewards = build([RewardSpec(name=reward or "verdict")])
    if reward is None:
        judge = Judge.of(Decides(rule))
        asked = replace(
            rewards.rewards[0], name="judge", target=judge, score_batch=judge.score_batch, score_sample=None
        )
        rewards = replace(rewards, rewards=(asked,))
    samplers: Any = {"model": Says(OURS), "baseline": Says(THEIRS)}
    records = [PromptTask(f"question {number}") for number in range(problems)]
    model: Any = lambda: (None, None)  # noqa: E731
    return EvalRequest("", model, records, rewards, SamplingConfig(), 2, baseline=model, samplers=samplers)


CASES: list[tuple[Callable[[str], str], float, float]] = [
    (lambda prompt: f"Verdict: {'A' if ours_first(prompt) else 'B'}", 1.0, 1.0),
    (lambda prompt: f"Verdict: {'B' if ours_first(prompt) else 'A'}", 0.0, 1.0),
    (lambda prompt: "Verdict: A", 0.5, 0.0),
]


@pytest.mark.parametrize(("rule", "won", "same"), CASES, ids=["ours", "theirs", "the first"])
def test_both_orders_are_asked_and_position_alone_is_half_a_win(
    rule: Callable[[str], str], won: float, same: float
) -> None:
    found = WIN_RATE(request(rule))
    assert found.values["win rate"].estimate == won
    assert found.values["same in both orders"].estimate == same
    assert found.values["win rate, length-controlled"].estimate == pytest.approx(won, abs=0.1)
    assert [item["scores"] for item in found.items] == [[won, won]] * 12
    assert found.extra == {"unjudged": 0, "undecided": 0}


def test_what_the_judge_does_not_decide_is_left_out_and_counted() -> None:
    found = WIN_RATE(request(lambda prompt: "Verdict: A" if "question 3" in prompt else "hard to say", problems=4))
    assert found.extra == {"unjudged": 3, "undecided": 6}
    assert len(found.items) == 1
    with pytest.raises(RewardError, match="decided no comparison"):
        WIN_RATE(request(lambda prompt: "hard to say"))


def test_a_reward_that_compares_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs a judge"):
        WIN_RATE(request(lambda prompt: "", reward="exact"))
