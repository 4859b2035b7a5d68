"""Cases from a package of somebody else, if it is installed: nothing of it is part of rlllm, and no run needs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample
from rlllm.rewards.bench.cases import Case, CaseSet

_BARE = ("equivalence", "distinction")
"""Categories of reward-doctor whose completion is the answer alone."""
_CONTESTED = "contested"


def _reward_doctor() -> CaseSet:
    """The cases of reward-doctor 0.2: short answers in other forms, wrong ones, whole completions, and exploits.

    A completion that is an answer alone is marked by `####`, since rewards here read marked answers. Cases that the corpus
    itself calls contested are scored, and nothing is demanded of them.
    """
    try:
        from reward_doctor.corpus import ALL_CASES
    except ModuleNotFoundError as error:
        raise ConfigError(
            "the cases of reward-doctor are in a package of that name, which is not installed",
            hint="pip install reward-doctor",
        ) from error
    return CaseSet([_case(case) for case in ALL_CASES], [])


def _case(case: Any) -> Case:
    bare = case.category in _BARE and case.completion.strip() and "\\boxed" not in case.completion
    completion = f"#### {case.completion}" if bare else case.completion
    return Case(
        Sample(case.prompt or "What is the answer?", completion, case.reference),
        case.attack or case.category,
        label=None if _CONTESTED in case.tags else case.expect,
    )


OUTSIDE: Mapping[str, Callable[[], CaseSet]] = {"reward-doctor": _reward_doctor}
"""Name of a corpus, as `rlllm rewards test NAME --cases` takes it, to what reads it."""
