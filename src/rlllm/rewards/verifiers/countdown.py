"""The `countdown` reward: the marked expression uses every number of the row once and makes the target."""

from __future__ import annotations

from dataclasses import dataclass

from rlllm.core.records import Sample, Score
from rlllm.parsing.answers import extract_answer
from rlllm.parsing.expressions import countdown_fault
from rlllm.rewards.verifiers.exact import NO_ANSWER


@dataclass(frozen=True)
class Countdown:
    """1 if the marked expression uses every number once and makes the target, else 0; None for rows of other tasks.

    Reads `numbers` and `target` of the row.
    """

    verifies = True

    def __call__(self, sample: Sample) -> Score:
        if "numbers" not in sample.meta or "target" not in sample.meta:
            return Score(None, note="the row has no numbers and target")
        answer = extract_answer(sample.completion)
        if answer is None:
            return Score(0.0, note=NO_ANSWER)
        numbers = [int(number) for number in sample.meta["numbers"]]
        fault = countdown_fault(answer, numbers, int(sample.meta["target"]))
        return Score(float(fault is None), parsed=answer, note=fault)
