r"""The `physics` reward: a number with its unit, a formula, the formula of a motion, or a trajectory, by the row's columns.

Only the last `\boxed{}` counts. Numbers: Sim2Reason's 5 % (arXiv 2604.11805), with the unit demanded and its dimension weighed.
Formulas: equality at random points, else PHYBench's edit distance of expression trees (arXiv 2504.16074), far below equality.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample, Score, prompt_text
from rlllm.parsing.answers import marked_answers
from rlllm.parsing.quantities import Reading, close, converted, read_quantity, read_unit, same_dimension
from rlllm.rewards.isolation.script_pool import DeadError, LateError, pool, usual_size
from rlllm.rewards.physics import formula_worker
from rlllm.rewards.physics.trajectories import score_trajectory

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_LONGEST_FORMULA = 1000
_NO_ANSWER = "nothing in a \\boxed{}"


@dataclass(frozen=True)
class Physics:
    r"""The last `\boxed{}` beside the row's columns; None where they give nothing to compare with.

    The first column that a row has decides:

    `trajectory`: the states at given times, one line each. max(0, 1 - e / tolerance), where e is how much the conserved
    quantity changes along the predicted states; 0 unless the first and the last state are those of the motion.
    `equation`: the formula of a motion in time. 1 if it equals `expr`; else exp(-5 * residual) of the equation of motion, 0
    unless the formula starts as the motion does.
    `gold` and `unit`: a number with its unit. `dimension` for a unit of the right dimension, the rest for a number within
    `tolerance` after conversion; without the right dimension 0. A wrong number that stands in the question earns nothing.
    `expr`: a formula. 1 if it equals at random points, else `partial` times the similarity of the expression trees.
    Without these columns the answer is read as a number with a unit.

    Args:
        tolerance: share by which a number may differ from the right one.
        dimension: what the right dimension is worth by itself; with 0 a number is right or wrong.
        partial: what the similarity of formulas that are not equal is multiplied by; it is below 0.6 before. 0 gives nothing.
        timeout: seconds for one comparison of formulas.
        workers: processes that compare formulas at once; by default one per core, at most 4. They start when first needed.
    """

    tolerance: float = 0.05
    dimension: float = 0.2
    partial: float = 0.3
    timeout: float = 5.0
    workers: int | None = None
    verifies = True

    def __post_init__(self) -> None:
        for name in ("tolerance", "dimension", "partial"):
            value = getattr(self, name)
            if not 0 <= value < 1 and not (name == "partial" and value == 1):
                raise ConfigError(f"physics: {name} is a share of 1", given=f"{name}={value}")
        if not 0 < self.timeout < math.inf:
            raise ConfigError("physics: timeout must be positive", given=self.timeout)
        if self.workers is not None and self.workers < 1:
            raise ConfigError("physics: workers must be at least 1", given=self.workers)

    def __call__(self, sample: Sample) -> Score:
        return self.score_batch([sample])[0]

    def score_batch(self, samples: Sequence[Sample]) -> list[Score]:
        """One score per sample, in order; comparisons of formulas run in processes, each with a deadline of its own.

        Raises:
            RuntimeError: the process that compares formulas does not start.
        """
        at_once = [self._at_once(sample) for sample in samples]
        waiting = [index for index, score in enumerate(at_once) if score is None]
        compared = dict(zip(waiting, self._compare_all([samples[index] for index in waiting]), strict=True))
        return [compared[index] if score is None else score for index, score in enumerate(at_once)]

    def _at_once(self, sample: Sample) -> Score | None:
        """The score where no formula has to be compared; else None."""
        columns, answer = sample.meta, last_box(sample.completion)
        is_formula = columns.get("trajectory") is None and (
            columns.get("equation") is not None or (columns.get("gold") is None and columns.get("expr") is not None)
        )
        if is_formula:
            if answer is None:
                return Score(0.0, note=_NO_ANSWER)
            too_long = len(answer) > _LONGEST_FORMULA
            return Score(0.0, parsed=answer[:200], note="the formula is too long") if too_long else None
        if columns.get("trajectory") is not None:
            if answer is None:
                return Score(0.0, note=_NO_ANSWER)
            value, note = score_trajectory(answer, columns["trajectory"], self.tolerance)
            return Score(value, parsed=answer[:200], note=note)
        right = _right(sample)
        if right is None or right.unit is None:
            return Score(None, note="the row has no number, formula or trajectory to compare with")
        return self._number(answer, right, sample)

    def _number(self, answer: str | None, right: Reading, sample: Sample) -> Score:
        if answer is None:
            return Score(0.0, note=_NO_ANSWER)
        reading = read_quantity(answer)
        if reading is None:
            return Score(0.0, parsed=answer[:200], note="the answer is no number")
        if reading.unit is None:
            return Score(0.0, parsed=answer[:200], note="what stands behind the number is no unit")
        if not same_dimension(reading.unit, right.unit):
            return Score(0.0, parsed=answer[:200], note="the dimension is another one")
        value = converted(reading, right.unit)
        if value is not None and close(value, right.value, self.tolerance):
            return Score(1.0, parsed=answer[:200])
        if _stands_in(reading.value, prompt_text(sample.prompt)):
            return Score(0.0, parsed=answer[:200], note="a number of the question")
        return Score(self.dimension, parsed=answer[:200], note="the dimension is right, the number is not")

    def _compare_all(self, samples: list[Sample]) -> list[Score]:
        size = self.workers or usual_size()
        if len(samples) < 2 or size == 1:
            return [self._compare(sample, size) for sample in samples]
        executor = ThreadPoolExecutor(min(size, len(samples)), thread_name_prefix="physics")
        try:
            return list(executor.map(lambda sample: self._compare(sample, size), samples))
        finally:
            # After Ctrl-C what has not begun never does, and nothing waits for the rest.
            executor.shutdown(wait=False, cancel_futures=True)

    def _compare(self, sample: Sample, size: int) -> Score:
        answer = last_box(sample.completion)
        assert answer is not None
        question = {
            "gold": str(sample.meta["expr"]),
            "answer": answer,
            "symbols": list(sample.meta.get("symbols") or ()),
            "equation": sample.meta.get("equation"),
            "partial": self.partial > 0,
        }
        with pool(size, formula_worker).worker() as worker:
            try:
                reply = worker.ask(question, self.timeout)
            except LateError:
                return Score(0.0, parsed=answer[:200], note=f"the comparison took longer than {self.timeout:g} s")
            except DeadError as error:
                return Score(0.0, parsed=answer[:200], note=f"the process does not survive this answer: {error}")
        return self._judged(reply, answer)

    def _judged(self, reply: Mapping[str, Any], answer: str) -> Score:
        if "gold" in reply:
            return Score(None, note=f"the reference is no formula: {reply['gold']}")
        if "unreadable" in reply:
            return Score(0.0, parsed=answer[:200], note=f"unreadable formula: {reply['unreadable']}"[:200])
        if reply["equal"]:
            return Score(1.0, parsed=answer[:200])
        if "residual" in reply:
            value = math.exp(-5 * reply["residual"]) if reply["starts"] else 0.0
            return Score(value, parsed=answer[:200], note=f"the equation of motion is off by {reply['residual']:.2g}")
        return Score(self.partial * reply["similarity"], parsed=answer[:200], note="another formula")


def last_box(text: str) -> str | None:
    r"""What the last `\boxed{}` that is not empty holds; None where there is none."""
    boxes = [mark.answer for mark in marked_answers(text) if text.startswith("\\", mark.start)]
    return boxes[-1] if boxes else None


def _right(sample: Sample) -> Reading | None:
    """The row's number and unit, of `gold` and `unit` or of the answer."""
    gold = sample.meta.get("gold")
    if gold is not None:
        return Reading(float(gold), read_unit(str(sample.meta.get("unit") or "")))
    return read_quantity(sample.answer) if sample.answer else None


def _stands_in(value: float, question: str) -> bool:
    return any(float(number) == abs(value) for number in _NUMBER.findall(question))
