"""The `gold` reward: the true utility of the simulated annotator of the procedural data; other rewards are compared with it."""

from __future__ import annotations

from dataclasses import dataclass

from rlllm.core.records import Sample, Score
from rlllm.data.procedural.gold_utility import appraise
from rlllm.parsing.answers import extract_answer


@dataclass(frozen=True)
class Gold:
    """Gold utility from 0 to 1.75: correct 1, well formed 0.5, concise up to 0.25; None without an answer to check.

    Countdown rows are checked by their expression, all others by comparing the marked answer with the reference.
    """

    def __call__(self, sample: Sample) -> Score:
        appraisal = appraise(sample)
        if appraisal is None:
            return Score(None, note="the row has neither an answer nor countdown numbers")
        note = f"correct={appraisal.correct} well_formed={appraisal.well_formed} concise={appraisal.concise:.2f}"
        return Score(appraisal.utility, parsed=extract_answer(sample.completion), note=note)
