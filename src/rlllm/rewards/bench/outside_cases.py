"""Cases from a package of somebody else, if it is installed: nothing of it is part of rlllm, and no run needs it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample
from rlllm.parsing.answers import extract_answer
from rlllm.parsing.numbers import read_number
from rlllm.rewards.bench.cases import Case, CaseSet

_BARE = ("equivalence", "distinction")
"""Categories of reward-doctor whose completion is the answer alone."""
_CONTESTED = "contested"


def _reward_doctor(reward: str) -> CaseSet:
    """The cases of reward-doctor 0.2: short answers in other forms, wrong ones, whole completions, and exploits.

    A completion that is an answer alone is marked by `####`, since rewards here read marked answers. Cases that the corpus
    itself calls contested are scored, and nothing is demanded of them. A shipped verifier with a narrower task than the
    corpus's, equality as mathematics, gets the cases of its task; any other reward gets all.
    """
    try:
        from reward_doctor.corpus import ALL_CASES
    except ModuleNotFoundError as error:
        raise ConfigError(
            "the cases of reward-doctor are in a package of that name, which is not installed",
            hint="pip install reward-doctor",
        ) from error
    cases = [_case(case) for case in ALL_CASES]
    takes = TASKS.get(reward)
    return CaseSet([case for case in cases if takes is None or takes(case)], [])


def _case(case: Any) -> Case:
    bare = case.category in _BARE and case.completion.strip() and "\\boxed" not in case.completion
    completion = f"#### {case.completion}" if bare else case.completion
    letter = re.fullmatch(r"[A-D]", case.reference) is not None
    return Case(
        Sample(
            case.prompt or "What is the answer?",
            completion,
            case.reference,
            {"choices": {label: f"option {label}" for label in "ABCD"}} if letter else {},
        ),
        case.attack or case.category,
        label=None if _CONTESTED in case.tags else case.expect,
    )


def _is_of_numbers(case: Case) -> bool:
    return read_number(case.sample.answer or "") is not None and _is_marked_or_wrong(case)


def _is_of_text(case: Case) -> bool:
    """A right answer is the reference but for what surrounds it and the encoding of its minus sign."""
    if not _is_marked_or_wrong(case):
        return False
    texts = (_unframed(extract_answer(case.sample.completion) or ""), _unframed(case.sample.answer or ""))
    return case.label is not True or texts[0] == texts[1]


def _is_marked_or_wrong(case: Case) -> bool:
    """`exact` and `numeric` read marked answers only, so a right one without a marker is none of their cases."""
    return case.label is not True or extract_answer(case.sample.completion) is not None


def _unframed(text: str) -> str:
    return re.sub(r"\\(?:boxed|text)\{(.*)\}|\$(.*)\$", r"\1\2", text.strip().rstrip(".")).replace("\u2212", "-")


TASKS: Mapping[str, Callable[[Case], bool]] = {
    "numeric": _is_of_numbers,
    "exact": _is_of_text,
    "choice": lambda case: "choices" in case.sample.meta,
}
"""Shipped verifier to whether a case is one of its task."""

OUTSIDE: Mapping[str, Callable[[str], CaseSet]] = {"reward-doctor": _reward_doctor}
"""Name of a corpus, as `rlllm rewards test NAME --cases` takes it, to what reads its cases for a reward of a name."""
