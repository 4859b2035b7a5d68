"""The `math` reward: equality as mathematics, certain wherever that is possible, and math-verify's verdict elsewhere.

Both sides are brought into one spelling and compared exactly in this process (`comparison.py`). What that leaves open
goes to math-verify, which runs in processes of its own (`isolation/script_pool.py`). By itself math-verify stops a comparison
that takes too long through SIGALRM, which works on the main thread only and never inside a long integer operation
(`9^9^9^9`). Killing a process works everywhere, and sympy is not imported here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rlllm.core.errors import ConfigError
from rlllm.core.records import Prompt, Sample, Score, prompt_text
from rlllm.parsing.numbers import read_number
from rlllm.rewards.isolation.script_pool import DeadError, LateError, Pool, Worker, pool, usual_size
from rlllm.rewards.math import math_verify_worker
from rlllm.rewards.math.answer_extraction import (
    Answer,
    changes_meaning,
    has_prose,
    holds_several_numbers,
    is_relation,
    read_answer,
)
from rlllm.rewards.math.canonical import canonical
from rlllm.rewards.math.comparison import equal_answers
from rlllm.rewards.math.number_sets import repeats_distance, writes_set
from rlllm.rewards.math.size import too_large
from rlllm.rewards.math.structures import is_single, offers_several
from rlllm.rewards.verifiers.exact import NO_REFERENCE, best, reference_answers


@dataclass(frozen=True)
class Math:
    """1 if the final answer equals the reference as mathematics, else 0; None where the reference cannot be read.

    The marked answer is compared; several that differ are one list. Without a marker a sentence must commit ("the answer
    is 5", "so x = 5", or a last line that is nothing but an answer), without a negation. Text before the last `</think>`
    is no answer, unless nothing follows it.

    Text that equals the reference passes. A reference of words is compared as words. Numbers are compared exactly, with
    percent signs, units and bases; a decimal stands for 1/3 or a root from six significant digits on. Lists are compared in
    any order, tuples and matrices in theirs, intervals and inequalities as sets of numbers; an answer that offers several
    values ("3 or 4"), an inequality or a negation is never a single value. What remains (functions, identities) is
    math-verify's verdict; an answer that it cannot read whole, that takes longer than `timeout` seconds, or that has a power
    or a factorial of more than 20,000 digits, is worth 0.0 and noted, and others of its batch do not wait for it.

    Args:
        timeout: seconds for one reading or comparison.
        workers: processes that compare at once; by default one per core, at most 4. They start when first needed.
        marked: only a marked answer counts; an unmarked one is worth 0.
    """

    timeout: float = 5.0
    workers: int | None = None
    marked: bool = False
    verifies = True
    needs_answer = True

    def __post_init__(self) -> None:
        if not self.timeout > 0:
            raise ConfigError("math: timeout must be positive", given=self.timeout)
        if self.workers is not None and self.workers < 1:
            raise ConfigError("math: workers must be at least 1", given=self.workers)

    def __call__(self, sample: Sample) -> Score:
        return self.score_batch([sample])[0]

    def score_batch(self, samples: Sequence[Sample]) -> list[Score]:
        """One score per sample, in order; each has a deadline of its own.

        Raises:
            RuntimeError: math-verify's process does not start.
        """
        questions = [_Question.of(sample, marked=self.marked) for sample in samples]
        scores = [question.answered_at_once() for question in questions]
        waiting = [index for index, score in enumerate(scores) if score is None]
        slowly = self._ask_all([questions[index] for index in waiting])
        answered = dict(zip(waiting, slowly, strict=True))
        return [answered[index] if score is None else score for index, score in enumerate(scores)]

    def _ask_all(self, questions: list[_Question]) -> list[Score]:
        size = self.workers or usual_size()
        if len(questions) < 2 or size == 1:
            return [self._ask(question, pool(size, math_verify_worker)) for question in questions]
        executor = ThreadPoolExecutor(min(size, len(questions)), thread_name_prefix="math")
        try:
            return list(executor.map(lambda question: self._ask(question, pool(size, math_verify_worker)), questions))
        finally:
            # After Ctrl-C what has not begun never does, and nothing waits for the rest.
            executor.shutdown(wait=False, cancel_futures=True)

    def _ask(self, question: _Question, processes: Pool) -> Score:
        with processes.worker() as worker:
            return best(self._ask_about(reference, question, worker, processes) for reference in question.references)

    def _ask_about(self, reference: str, question: _Question, worker: Worker, processes: Pool) -> Score:
        score = question.score(reference)
        if score is not None:
            return score
        if not self._can_read(reference, worker, processes):
            return Score(None, note=f"math-verify cannot read the reference: {reference[:80]}")
        return question.refused(reference) or self._compare(reference, question, worker)

    def _can_read(self, reference: str, worker: Worker, processes: Pool) -> bool:
        if reference not in processes.readable:
            try:
                reply = worker.ask({"gold": _boxed(reference)}, self.timeout)
            except (LateError, DeadError):
                reply = {}
            processes.readable[reference] = bool(reply.get("gold")) and not has_prose(canonical(reference))
        return processes.readable[reference]

    def _compare(self, reference: str, question: _Question, worker: Worker) -> Score:
        answer = question.answer.text
        try:
            reply = worker.ask({"gold": _boxed(reference), "answer": _boxed(answer)}, self.timeout)
        except LateError:
            return Score(0.0, parsed=answer, note=f"the comparison took longer than {self.timeout:g} s")
        except DeadError as error:
            return Score(0.0, parsed=answer, note=f"math-verify does not survive this answer: {error}")
        if "equal" not in reply:
            return Score(0.0, parsed=answer, note="unreadable answer")
        if reply["equal"] and not reply["whole"] and holds_several_numbers(answer):
            return Score(0.0, parsed=answer, note="only a part can be read, of an answer with several numbers")
        return Score(float(reply["equal"]), parsed=answer)


_TOO_LARGE = "too large to be compared"
_BARS = re.compile(r"\||vert")
_BASES = re.compile(r"\bbases?\b|\b(?:binary|octal|hexadecimal|decimal)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Question:
    """One comparison: what counts as right (nothing, if the sample has no reference), and what the completion answers."""

    references: tuple[str, ...]
    answer: Answer
    prompt: Prompt
    same_base: bool

    @classmethod
    def of(cls, sample: Sample, *, marked: bool) -> _Question:
        references = tuple(reference_answers(sample))
        same_base = any("_" in text or "base" in text for text in references)
        return cls(
            references,
            read_answer(sample.completion, marked=marked),
            sample.prompt,
            same_base and _BASES.search(prompt_text(sample.prompt)) is not None,
        )

    def answered_at_once(self) -> Score | None:
        """The score where it needs no process."""
        if not self.references:
            return Score(None, note=NO_REFERENCE)
        scores = [self.score(reference) for reference in self.references]
        judged = [score for score in scores if score is not None]
        right = next((score for score in judged if score.value == 1.0), None)
        return right or (best(judged) if len(judged) == len(scores) else None)

    def score(self, reference: str) -> Score | None:
        """The certain verdict on one reference; None where there is none."""
        answer = self.answer
        if not answer.texts:
            return Score(0.0, note="no answer is marked or stated")
        equal = equal_answers(reference, answer.text, same_base=self.same_base)
        if len(answer.texts) > 1 and equal is not True and self._all_equal():
            equal = equal_answers(reference, answer.texts[-1], same_base=self.same_base)
        if equal is None and too_large(canonical(reference)):
            return Score(None, note=f"the reference is {_TOO_LARGE}")
        if equal is None:
            return Score(0.0, parsed=answer.text[-200:], note=_TOO_LARGE) if too_large(canonical(answer.text)) else None
        if equal and _BARS.search(answer.text) and self._repeats_question(reference):
            return Score(0.0, parsed=answer.text[-200:], note="the inequality of the question, unsolved")
        return Score(float(equal), parsed=answer.text[-200:], note=None if equal else self._why_not(reference))

    def _repeats_question(self, reference: str) -> bool:
        reference, answer = canonical(reference), canonical(self.answer.text)
        return (
            "|" not in reference
            and writes_set(answer)
            and repeats_distance(answer, canonical(prompt_text(self.prompt)))
        )

    def _all_equal(self) -> bool:
        """Whether several marked answers are one value in several spellings."""
        last = self.answer.texts[-1]
        return all(equal_answers(text, last) is True for text in self.answer.texts[:-1])

    def _why_not(self, reference: str) -> str | None:
        if len(self.answer.texts) == 1 and read_number(self.answer.text) is not None:
            return None
        answer = canonical(self.answer.text)
        if offers_several(answer) and is_single(canonical(reference)):
            return "several answers to choose from"
        if is_relation(answer) and is_single(canonical(reference)):
            return "a relation, where a value is asked for"
        return None

    def refused(self, reference: str) -> Score | None:
        """A score of 0 for an answer of which math-verify would read a part, or letters as factors."""
        note = self._why_not(reference)
        answer = canonical(self.answer.text)
        if note is None and (has_prose(answer) or changes_meaning(answer, canonical(reference))):
            note = "unreadable answer"
        return Score(0.0, parsed=self.answer.text[-200:], note=note) if note else None


def _boxed(answer: str) -> str:
    r"""math-verify reads `\boxed{}` as LaTeX whole, and plain text only in part."""
    return f"\\boxed{{{canonical(answer)}}}"
