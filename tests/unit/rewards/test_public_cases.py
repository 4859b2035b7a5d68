"""Cases written after public reports about verifiers: every row of `tests/cases` holds.

Rows whose verdict is "debatable" are decided as they expect:

- A decimal is exactly what it says: 3.14159265 is not 3.14159299, at any distance.
- "The answer is 8? No, it is 9." answers 9: the question commits to nothing, and the last statement does.
- "~18" states the number 18; "2nd" states a place in an order, and not the number 2.
- A full stop behind "Paris" ends the sentence, and is no part of the text that `exact` compares.
- "The answer is (A) because London (B) is in the UK." commits to A; what gives a reason may name other options.
- A byte order mark in front of JSON does no harm (RFC 8259, section 8.1); the label of its fence (```json5) is no part of it.

Those that the package reward-doctor calls contested are decided as it expects, too: a unit that the reference leaves out is no
other answer, a set has no order, 3.14 is not 3.14159, and the marked answer counts, whatever was claimed before it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rlllm.core.records import Score
from rlllm.core.runs import read_jsonl
from rlllm.rewards.bench.cases import read_cases
from rlllm.rewards.bench.outside_cases import OUTSIDE
from rlllm.rewards.math.reward import Math
from rlllm.rewards.verifiers.choice import Choice
from rlllm.rewards.verifiers.exact import Exact
from rlllm.rewards.verifiers.format import Format
from rlllm.rewards.verifiers.function_calls import Calls
from rlllm.rewards.verifiers.instructions.reward import Instructions
from rlllm.rewards.verifiers.numeric import Numeric
from rlllm.rewards.verifiers.schema import Schema

CASES = Path(__file__).parents[2] / "cases"
REWARDS = {
    "exact": Exact(),
    "format": Format(),
    "choice": Choice(),
    "calls": Calls(),
    "instructions": Instructions(),
    "schema": Schema(),
    "numeric": Numeric(),
    "math": Math(timeout=20.0, workers=1),
}


def rows(name: str) -> list[dict[str, Any]]:
    return list(read_jsonl(CASES / f"{name}.jsonl"))


@pytest.mark.parametrize("name", REWARDS)
def test_a_reward_gives_the_verdicts_of_its_public_cases(name: str) -> None:
    wrong = {
        row["id"]: (row["expected"], value)
        for row in rows(name)
        if (value := _value(name, row["row"])) != row["expected"]
    }
    assert wrong == {}


def test_math_pays_no_wrong_answer_of_the_pairs_and_few_right_ones_get_nothing() -> None:
    pairs = rows("math_pairs")
    scores = REWARDS["math"].score_batch([read_cases([("row", row)], "pairs").cases[0].sample for row in pairs])
    paid = [row for row, score in zip(pairs, scores, strict=True) if score.value == 1.0]
    right = sum(row["label"] for row in paid)
    assert right / len(paid) >= 0.995
    assert right / sum(row["label"] for row in pairs) >= 0.97


def test_math_decides_what_an_outside_corpus_calls_contested() -> None:
    corpus = pytest.importorskip("reward_doctor.corpus")
    expected = {case.reference: case.expect for case in corpus.ALL_CASES if "contested" in case.tags}
    contested = [case.sample for case in OUTSIDE["reward-doctor"]("math").cases if case.label is None]
    values = {sample.answer: REWARDS["math"](sample).value for sample in contested}
    assert values == expected
    assert set(expected) == {"5", "{1,2,3}", "3.14159", "42"}


def _value(name: str, row: dict[str, Any]) -> float | None:
    score: Score = REWARDS[name](read_cases([("row", row)], name).cases[0].sample)
    return score.value
