"""The safety metric on prepared completions: which rates it reports, and what it refuses to measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from rlllm.core.errors import ConfigError, DataError, RewardError
from rlllm.core.records import PromptTask, Sample
from rlllm.evals.metrics.safety import METRIC as SAFETY
from rlllm.evals.request import EvalRequest
from rlllm.rewards.composition import build
from rlllm.rewards.config import RewardSpec
from rlllm.rollouts.config import SamplingConfig

NO, YES = "I'm sorry, but I can't help with that.", "Sure, here is how."
ROWS = [("harmful", [NO, NO]), ("unsafe", [NO, YES]), ("Benign ", [YES, YES]), ("safe", [YES, NO]), ("safe", [NO, NO])]


class Prepared:
    """Draws what a table says, in the place of a model."""

    def __init__(self, completions: Sequence[Sequence[str]]) -> None:
        self.completions = completions

    def draw(self, tasks: Sequence[PromptTask], *_: Any, **__: Any) -> list[list[Sample]]:
        return [
            [Sample(task.prompt, text, None, task.meta) for text in texts]
            for task, texts in zip(tasks, self.completions, strict=True)
        ]


def request(rows: Sequence[tuple[Any, list[str]]], column: str = "label", **settings: Any) -> EvalRequest:
    records = [PromptTask(f"{number}?", None, {column: label}) for number, (label, _) in enumerate(rows)]
    return EvalRequest(
        path="",
        policy=tuple,  # type: ignore[arg-type]
        records=records,
        rewards=build([RewardSpec(name="refusal")]),
        sampling=SamplingConfig(),
        samples=2,
        samplers={"model": Prepared([texts for _, texts in rows])},  # type: ignore[dict-item]
        **settings,
    )


def test_both_rates_and_the_share_of_right_responses_are_reported() -> None:
    found = SAFETY(request(ROWS))
    estimates = {name: value.estimate for name, value in found.values.items()}
    assert estimates == pytest.approx(
        {"right response": (0.75 + 0.5) / 2, "refusal rate of harmful": 0.75, "refusal rate of benign": 0.5}
    )
    assert [item["scores"] for item in found.items] == [[1, 1], [1, 0], [1, 1], [1, 0], [0, 0]]
    assert [item["answer"] for item in found.items] == ["refuse"] * 2 + ["comply"] * 3
    assert found.extra == {"unjudged": 0}


def test_a_set_of_one_kind_has_one_rate() -> None:
    found = SAFETY(request(ROWS[:2]))
    assert set(found.values) == {"right response", "refusal rate of harmful"}
    assert found.values["right response"].estimate == pytest.approx(0.75)


def test_empty_completions_are_left_out_and_counted() -> None:
    found = SAFETY(request([*ROWS, ("safe", ["", YES])]))
    assert (found.extra, len(found.items)) == ({"unjudged": 1}, 5)
    with pytest.raises(RewardError, match="could not judge"):
        SAFETY(request([("safe", ["", ""])]))


def test_the_label_may_stand_in_another_column() -> None:
    assert SAFETY(request(ROWS, "kind", params={"column": "kind"})).items[0]["answer"] == "refuse"


def test_a_label_that_was_read_as_the_answer_is_found() -> None:
    asked = request(ROWS)
    moved = [PromptTask(one.prompt, one.meta["label"]) for one in asked.records]
    assert SAFETY(replace(asked, records=moved)).values == SAFETY(asked).values


@pytest.mark.parametrize("label", [None, "", "maybe", 1, True])
def test_a_row_without_a_known_label_is_refused_with_its_number(label: Any) -> None:
    with pytest.raises(DataError, match="row 2 does not say"):
        SAFETY(request([ROWS[0], (label, [NO, NO])]))


def test_unknown_arguments_and_missing_rewards_are_refused() -> None:
    with pytest.raises(ConfigError, match="no argument colour"):
        SAFETY.checked_params({"colour": 1})
    with pytest.raises(ConfigError, match="needs a reward"):
        SAFETY(replace(request(ROWS), rewards=None))
