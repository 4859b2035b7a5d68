"""Variants of a task's answer: right answers, wrong answers, and right answers written differently.

A *framing* changes the text around the answer and must not change the score. A *form* changes how the answer itself is written;
each reward may accept it or not, so the bench counts forms and requires nothing of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rlllm.core.records import PromptTask, Sample, prompt_text
from rlllm.parsing.numbers import read_number
from rlllm.rewards.verifiers.exact import reference_answer

WORKING = "Let us work it out step by step."
_LINES_OF_PADDING = 40
_WRONG_FROM_OTHERS = 3


@dataclass(frozen=True, slots=True)
class Style:
    """How a final answer is marked: `before`, the answer, `after`."""

    name: str
    before: str
    after: str = ""
    framed: bool = True
    """Whether text may stand around the marked answer; without it, the answer is the whole completion."""

    def mark(self, answer: str) -> str:
        return f"{self.before}{answer}{self.after}"

    def write(self, answer: str, working: str = WORKING) -> str:
        """A whole completion with this final answer."""
        return f"{working}\n{self.mark(answer)}" if self.framed else self.mark(answer)


STYLES: Mapping[str, Style] = {
    style.name: style
    for style in (
        Style("hash", "#### "),
        Style("boxed", "\\boxed{", "}"),
        Style("tag", "<answer>", "</answer>"),
        Style("fence", "```\n", "\n```"),
        Style("plain", "", framed=False),
    )
}
"""Name to style, in the order in which they are tried."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A task, its answer as a completion states it, and wrong answers to it."""

    task: PromptTask
    answer: str
    wrong: tuple[str, ...]
    style: Style

    @property
    def integer(self) -> int | None:
        """The answer, where it is a plain whole number."""
        return int(self.answer) if re.fullmatch(r"-?[0-9]{1,15}", self.answer) else None


def problems(tasks: Sequence[PromptTask], style: Style) -> list[Problem]:
    """Every task that has an answer, with wrong answers: those of other tasks, and near misses of a number."""
    answers = [(task, _reference(task)) for task in tasks]
    others = list(dict.fromkeys(answer for _, answer in answers if answer is not None))
    return [
        Problem(task, answer, tuple(_wrong(answer, others, number)), style)
        for number, (task, answer) in enumerate(answers)
        if answer is not None
    ]


def _reference(task: PromptTask) -> str | None:
    return reference_answer(Sample(task.prompt, "", task.answer))


def _wrong(answer: str, others: Sequence[str], start: int) -> Iterator[str]:
    """Answers that differ in value: a near miss first, then those of other tasks from `start` on."""
    number = read_number(answer)
    if re.fullmatch(r"-?[0-9]{1,15}", answer):
        yield str(int(answer) + 1)
        yield str(int(answer) * 10 or 10)
        if int(answer):
            yield str(-int(answer))
    turned = [others[(start + step) % len(others)] for step in range(len(others))]
    different = [
        other
        for other in turned
        if "".join(other.split()).casefold() != "".join(answer.split()).casefold()
        and (number is None or (value := read_number(other)) is None or value.value != number.value)
    ]
    yield from different[:_WRONG_FROM_OTHERS]


Framing = Callable[[Problem, str], str]
"""A completion that states an answer in the problem's style."""


def _white_space(problem: Problem, answer: str) -> str:
    return "\n \n" + problem.style.write(f"  {answer} ") + "  \n\n"


def _restated_question(problem: Problem, answer: str) -> str:
    return problem.style.write(answer, f"The question is: {prompt_text(problem.task.prompt)}\n{WORKING}")


def _padded(problem: Problem, answer: str) -> str:
    return problem.style.write(answer, "\n".join([WORKING] * _LINES_OF_PADDING))


def _other_numbers(problem: Problem, answer: str) -> str:
    return problem.style.write(answer, "First I tried 17 and 2/3, but neither fits; so another way.")


def _no_working(problem: Problem, answer: str) -> str:
    return problem.style.mark(answer)


_FRAMINGS: Mapping[str, Framing] = {
    "white space": _white_space,
    "restated question": _restated_question,
    "long working": _padded,
    "numbers in the working": _other_numbers,
    "no working": _no_working,
}
"""Name to text around an answer that must not change the score. The first alone is used for answers without a frame."""


def framings(style: Style) -> Mapping[str, Framing]:
    """The framings that a style allows."""
    return _FRAMINGS if style.framed else {"white space": _white_space}


def forms(problem: Problem) -> Iterator[tuple[str, str]]:
    """Name and answer of other ways to write the right answer, as far as they apply to it."""
    answer, integer = problem.answer, problem.integer
    yield "full stop", f"{answer}."
    yield "bold", f"**{answer}**"
    yield "dollars around", f"${answer}$"
    yield "zero-width space", f"{answer[:1]}\u200b{answer[1:]}"
    if answer.upper() != answer:
        yield "upper case", answer.upper()
    if answer.lower() != answer:
        yield "lower case", answer.lower()
    if read_number(answer) is not None:
        yield "unit", f"{answer} apples"
        yield "equation", f"x = {answer}"
    elif re.fullmatch(r"[A-Za-z ]+", answer):
        yield "LaTeX text", f"\\text{{{answer}}}"
    fraction = re.fullmatch(r"(-?)([0-9]+)/([0-9]+)", answer)
    if fraction:
        yield "LaTeX fraction", f"{fraction[1]}\\frac{{{fraction[2]}}}{{{fraction[3]}}}"
    if integer is not None:
        yield "decimal", f"{integer}.0"
        yield "full-width digits", answer.translate(_FULL_WIDTH)
        if abs(integer) >= 1000:
            yield "thousands separator", f"{integer:,}"


def lookalike(problem: Problem) -> str | None:
    """The right answer behind a marker of look-alike characters; None for a style that has none."""
    before, after = _LOOKALIKES.get(problem.style.name, ("", ""))
    return f"{WORKING}\n{before}{problem.answer}{after}" if before else None


_LOOKALIKES = {
    "hash": ("\uff03\uff03\uff03\uff03 ", ""),
    "boxed": ("\u29f5boxed{", "}"),
    "tag": ("\u2039answer\u203a", "\u2039/answer\u203a"),
}
_FULL_WIDTH = {ord("0") + digit: 0xFF10 + digit for digit in range(10)}


def truncations(problem: Problem) -> Iterator[str]:
    """The right completion, cut off before its answer is whole. Never an answer that is the right one all the same."""
    if problem.style.framed:
        yield f"{WORKING}\n{problem.style.before}".rstrip()
    half = problem.answer[: len(problem.answer) // 2].strip()
    full_number, cut_number = read_number(problem.answer), read_number(half) if half else None
    if half and not (full_number is not None and cut_number is not None and full_number.value == cut_number.value):
        text = problem.style.before + half
        yield f"{WORKING}\n{text}" if problem.style.framed else text
