"""The metrics `abstention` and `steps` on prepared completions: which values they report, and which they leave out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from rlllm.core.errors import ConfigError, RewardError
from rlllm.core.records import PromptTask, Sample
from rlllm.evals.metrics.abstention import METRIC as ABSTENTION
from rlllm.evals.metrics.base import Metric
from rlllm.evals.metrics.steps import METRIC as STEPS
from rlllm.evals.request import EvalRequest, Evaluation
from rlllm.evals.statistics.pass_estimators import success_rate
from rlllm.rewards.composition import build
from rlllm.rewards.config import RewardSpec
from rlllm.rollouts.config import SamplingConfig


class Prepared:
    """Draws what a table says, in the place of a model."""

    def __init__(self, completions: Sequence[Sequence[str]]) -> None:
        self.completions = completions

    def draw(self, tasks: Sequence[PromptTask], *_: Any, **__: Any) -> list[list[Sample]]:
        return [
            [Sample(task.prompt, text, task.answer, task.meta) for text in texts]
            for task, texts in zip(tasks, self.completions, strict=True)
        ]


def measured(metric: Metric, rows: Sequence[tuple[str, str | None, list[str]]], **settings: Any) -> Evaluation:
    return metric(
        EvalRequest(
            path="",
            policy=tuple,  # type: ignore[arg-type]
            records=[PromptTask(question, answer) for question, answer, _ in rows],
            rewards=build([RewardSpec(name="exact")]),
            sampling=SamplingConfig(),
            samples=2,
            samplers={"model": Prepared([texts for *_, texts in rows])},  # type: ignore[dict-item]
            **settings,
        )
    )


def estimates(found: Evaluation) -> dict[str, float]:
    return {name: value.estimate for name, value in found.values.items()}


PASS = "#### I do not know"
ROWS = [
    ("3 + 4 = ?", "7", ["#### 7", PASS]),
    ("3 + 5 = ?", "8", ["#### 8", "#### 9"]),
    ("3 + 6 = ?", "9", [PASS, PASS]),
    ("3 + 7 = ?", "10", ["#### 9", "#### 11"]),
]


@pytest.mark.parametrize(
    ("params", "score"), [({}, (3 * 0 + 2 - 3) / 8), ({"penalty": 0.5}, (2 - 1.5) / 8), ({"threshold": 0.75}, (2 - 9) / 8)]
)  # fmt: skip
def test_shares_and_the_score_at_the_stated_penalty(params: dict[str, Any], score: float) -> None:
    found = measured(ABSTENTION, ROWS, params=params)
    assert estimates(found) == pytest.approx(
        {"score": score, "right": 2 / 8, "wrong": 3 / 8, "abstained": 3 / 8, "right when answering": 2 / 5}
    )
    assert found.items[0]["outcomes"] == ["right", "abstained"]
    assert found.items[1]["abstained_by"] == [None, None]
    assert found.extra["answering_pays_above"] == pytest.approx(params.get("threshold", 1 / 3 if params else 0.5))


def test_a_model_that_never_answers_has_no_accuracy_when_answering() -> None:
    found = measured(ABSTENTION, [("3 + 4 = ?", "7", [PASS, PASS]), ("3 + 5 = ?", "8", [PASS, PASS])])
    assert estimates(found) == {"score": 0.0, "right": 0.0, "wrong": 0.0, "abstained": 1.0}
    assert found.values["score"].low < 0 < found.values["score"].high


def test_a_penalty_that_contradicts_itself_and_unjudged_problems_are_told() -> None:
    with pytest.raises(ConfigError, match="the metric abstention: penalty and threshold"):
        measured(ABSTENTION, ROWS, params={"penalty": 1.0, "threshold": 0.5})
    with pytest.raises(RewardError, match="could not judge"):
        measured(ABSTENTION, [("?", None, ["#### 7", PASS])])
    assert measured(ABSTENTION, [*ROWS, ("?", None, [PASS, PASS])]).extra["unjudged"] == 1


def test_steps_are_counted_beside_right_answers() -> None:
    found = measured(
        STEPS,
        [
            ("12 + 7 = ?", "19", ["12 + 7 = 19\n#### 19", "12 + 7 = 18\n18 + 1 = 19\n#### 19"]),
            ("12 + 8 = ?", "20", ["12 + 8 = 20\n20 + 1 = 21\n#### 21", "#### 20"]),
        ],
    )
    assert estimates(found) == pytest.approx(
        {
            "right without a false step": 2 / 4,
            "steps that hold": 4 / 5,
            "right with a false step": 1 / 2,
            "steps per completion": 5 / 4,
        }
    )
    assert [item["scores"] for item in found.items] == [[1, 0], [0, 1]]
    assert found.items[0]["false_steps"] == [[], ["12+7=18"]]
    assert found.extra == {"unjudged": 0, "without_steps": 1}


def test_without_any_step_shares_of_steps_are_missing() -> None:
    found = measured(STEPS, [("12 + 7 = ?", "19", ["#### 19", "#### 19"]), ("12 + 8 = ?", "20", ["#### 1", "#### 20"])])
    assert set(found.values) == {"right without a false step", "steps per completion"}


def test_a_rate_of_attempts_weighs_items_by_their_attempts() -> None:
    rate = success_rate([1, 0, 4], [1, 0, 8])
    assert rate is not None
    assert (rate.estimate, rate.n) == (pytest.approx(5 / 9), 2)
    assert 0 <= rate.low <= rate.estimate <= rate.high <= 1
    alike = success_rate([2, 4], [2, 4])
    assert alike is not None
    assert (alike.estimate, alike.high) == (1.0, 1.0)
    assert alike.low < 0.8
    assert success_rate([0, 0], [0, 0]) is None
