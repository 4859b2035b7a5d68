"""The `math` reward: equality as mathematics. math-verify's verdict, reached exactly where that is possible.

Simple answers are compared in this process (`latex_comparison.py`). The rest goes to math-verify, which runs in processes of
its own (`math_verify_pool.py`). By itself math-verify stops a comparison that takes too long through SIGALRM, which works on
the main thread only and never inside a long integer operation (`9^9^9^9`). Killing a process works everywhere, and sympy is
not imported here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample, Score
from rlllm.rewards.math.answer_extraction import Answer, holds_several_numbers, is_relation, is_single, read_answer
from rlllm.rewards.math.latex_comparison import exactly_equal, read_exact
from rlllm.rewards.math.math_verify_pool import DeadError, LateError, Pool, Worker, pool
from rlllm.rewards.verifiers.exact import NO_REFERENCE, reference_answer

_MOST_WORKERS = 4


@dataclass(frozen=True)
class Math:
    """1 if math-verify finds the final answer equal to the reference, else 0; None when it cannot read the reference.

    The marked answer is compared; without a marker math-verify looks for one in the whole completion. An answer that it
    cannot read, or that takes longer than `timeout` seconds to compare, is worth 0.0 and noted; others of its batch do
    not wait for it longer than that. Stricter than math-verify in five things:

    - Text before the last `</think>` is no answer, unless nothing follows it.
    - Marked answers that differ are one list; they are equal to a set, never to a single value.
    - So is one answer that offers several values ("3 or 4"), and an unmarked text that ends in a list of numbers.
    - An inequality or a negation is not equal to a single value: to math-verify "\\geq 5" is 5.
    - Where math-verify can read only a part of the marked answer, that part must be its only number.

    Args:
        timeout: seconds for one reading or comparison.
        workers: processes that compare at once; by default one per core, at most 4. They start when first needed.
    """

    timeout: float = 5.0
    workers: int | None = None
    verifies = True

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
        questions = [_Question.of(sample) for sample in samples]
        scores = [question.answered_at_once() for question in questions]
        waiting = [index for index, score in enumerate(scores) if score is None]
        slowly = self._ask_all([questions[index] for index in waiting])
        answered = dict(zip(waiting, slowly, strict=True))
        return [answered[index] if score is None else score for index, score in enumerate(scores)]

    def _ask_all(self, questions: list[_Question]) -> list[Score]:
        size = self.workers or min(_cores(), _MOST_WORKERS)
        if len(questions) < 2 or size == 1:
            return [self._ask(question, pool(size)) for question in questions]
        executor = ThreadPoolExecutor(min(size, len(questions)), thread_name_prefix="math")
        try:
            return list(executor.map(lambda question: self._ask(question, pool(size)), questions))
        finally:
            # After Ctrl-C what has not begun never does, and nothing waits for the rest.
            executor.shutdown(wait=False, cancel_futures=True)

    def _ask(self, question: _Question, processes: Pool) -> Score:
        with processes.worker() as worker:
            if not self._can_read(question.reference, worker, processes):
                return Score(None, note=f"math-verify cannot read the reference: {question.reference[:80]}")
            score = question.answered_by_text()
            return score or self._compare(question, worker)

    def _can_read(self, reference: str, worker: Worker, processes: Pool) -> bool:
        if reference not in processes.readable:
            try:
                reply = worker.ask({"gold": _boxed(reference)}, self.timeout)
            except (LateError, DeadError):
                reply = {}
            processes.readable[reference] = bool(reply.get("gold"))
        return processes.readable[reference]

    def _compare(self, question: _Question, worker: Worker) -> Score:
        answer = question.answer
        answer_text = answer.text if answer.marked else None
        request = {"gold": _boxed(question.reference), "answer": _boxed(answer.text) if answer.marked else answer.text}
        try:
            reply = worker.ask(request, self.timeout)
        except LateError:
            return Score(0.0, parsed=answer_text, note=f"the comparison took longer than {self.timeout:g} s")
        except DeadError as error:
            return Score(0.0, parsed=answer_text, note=f"math-verify does not survive this answer: {error}")
        if "equal" not in reply:
            return Score(0.0, parsed=answer_text, note="unreadable answer")
        if reply["equal"] and answer.marked and not reply["whole"] and holds_several_numbers(answer.text):
            return Score(0.0, parsed=answer_text, note="only a part can be read, of an answer with several numbers")
        return Score(float(reply["equal"]), parsed=answer_text or reply["answer"])


@dataclass(frozen=True, slots=True)
class _Question:
    """One comparison: the reference (empty if the sample has none) and what the completion answers."""

    reference: str
    answer: Answer

    @classmethod
    def of(cls, sample: Sample) -> _Question:
        return cls(reference_answer(sample) or "", read_answer(sample.completion))

    def answered_at_once(self) -> Score | None:
        """The score where it needs no process."""
        if not self.reference:
            return Score(None, note=NO_REFERENCE)
        if read_exact(self.reference) is None:
            return None
        if (score := self.answered_by_text()) or not self.answer.marked:
            return score
        equal = exactly_equal(self.reference, self.answer.text)
        return None if equal is None else Score(float(equal), parsed=self.answer.text)

    def answered_by_text(self) -> Score | None:
        """The score that follows from the two texts as they stand, if the reference can be read."""
        if self.answer.several and is_single(self.reference):
            return Score(0.0, parsed=self.answer.text[-200:], note="several answers to choose from")
        if self.answer.marked and is_relation(self.answer.text) and is_single(self.reference):
            return Score(0.0, parsed=self.answer.text[-200:], note="a relation, where a value is asked for")
        if self.answer.marked and _squeezed(self.answer.text) == _squeezed(self.reference):
            return Score(1.0, parsed=self.answer.text)
        return None


_SQUEEZED = re.compile(r"\\(?:left|right)(?=[()\[\]])|(?<=\\)[dt](?=frac)")


def _squeezed(answer: str) -> str:
    r"""Without what math-verify drops before it reads: `\left(` is `(` to it, and `\dfrac` is `\frac`."""
    return _SQUEEZED.sub("", answer)


def _boxed(answer: str) -> str:
    r"""math-verify reads `\boxed{}` as LaTeX whole, and plain text only in part."""
    return f"\\boxed{{{answer}}}"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
