"""The `format` reward: the completion ends with exactly one marked final answer."""

from __future__ import annotations

from dataclasses import dataclass

from rlllm.core.errors import unknown
from rlllm.core.records import Sample, Score
from rlllm.parsing.answers import has_answer_at_end, marked_answers
from rlllm.rewards.verifiers.exact import NO_ANSWER

_STYLES = {"hash": ("####",), "boxed": ("\\boxed", "\\fbox", "\\framebox"), "tag": ("<answer>",), "any": ("",)}


@dataclass(frozen=True)
class Format:
    """1 if the completion has exactly one marked final answer, at its end, else 0. Whether it is right does not matter.

    Behind the answer only blanks, closing delimiters (`\\]`, `\\)`, `$`, brackets, bold, code ticks) and full stops may stand.

    Args:
        style: marker asked for: `hash` (#### x), `boxed` (\\boxed{x} or \\fbox{x}), `tag` (<answer>x</answer>) or `any`. Of
            nested markers the inner one counts.
    """

    style: str = "any"
    verifies = False

    def __post_init__(self) -> None:
        if self.style not in _STYLES:
            raise unknown("style of the reward format", self.style, _STYLES)

    def __call__(self, sample: Sample) -> Score:
        answers = marked_answers(sample.completion)
        if not answers:
            return Score(0.0, note=NO_ANSWER)
        last = answers[-1]
        if len(answers) > 1:
            return Score(0.0, parsed=last.answer, note=f"{len(answers)} marked answers")
        if not sample.completion[last.start :].lower().startswith(_STYLES[self.style]):
            return Score(0.0, parsed=last.answer, note=f"the marker is not of style {self.style}")
        if not has_answer_at_end(sample.completion):
            return Score(0.0, parsed=last.answer, note="text after the answer")
        return Score(1.0, parsed=last.answer)
