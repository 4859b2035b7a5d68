"""Prompts of a proposer and a reviewer that work on one problem in turns, and the parsing of a review.

The first proposal is asked for by the problem alone, as everywhere else. The other prompts are short because the model `nano`
has a context of 512 tokens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rlllm.core.records import Prompt, behind_text

_PROPOSE = "The solution may be wrong. Solve the problem again."
_REVIEW = "Is the solution right? Begin with RIGHT or WRONG."
_VERDICT = re.compile(
    r"[\s*_#>\"'`(\[]*(?:verdict\s*[:=]\s*)?[*_\"'`(\[]*(right|correct|wrong|incorrect)(?![a-z])", re.I
)


def proposal(problem: Prompt, pending: str | None, turns: Sequence[tuple[str, str]] = ()) -> Prompt:
    """The prompt for another solution; the problem itself where none is pending.

    Args:
        problem: the task's prompt.
        pending: the solution that stands; None before the first.
        turns: (role, text) of earlier turns to be shown, oldest first.
    """
    return problem if pending is None else _asked(problem, pending, turns, _PROPOSE)


def review(problem: Prompt, pending: str, turns: Sequence[tuple[str, str]] = ()) -> Prompt:
    """The prompt for a verdict on the pending solution; arguments as for `proposal`."""
    return _asked(problem, pending, turns, _REVIEW)


def read_review(text: str) -> bool | None:
    """Whether a review says right: its first line that is not empty begins with right, correct, wrong or incorrect.

    None where it begins otherwise.
    """
    match = _VERDICT.match(text)
    return None if match is None else match[1].lower() in ("right", "correct")


def _asked(problem: Prompt, pending: str, turns: Sequence[tuple[str, str]], request: str) -> Prompt:
    """The problem with what was said so far and a request behind it."""
    said = [f"[{role}]\n{text.strip()}\n" for role, text in turns]
    return with_text_behind(problem, "".join([*said, f"[solution]\n{pending.strip()}\n[end]\n{request}"]))


def with_text_behind(problem: Prompt, text: str) -> Prompt:
    """The prompt with a text on a line of its own at its end, of its last message where it has messages."""
    if isinstance(problem, str):
        return f"{problem}\n{text}"
    *earlier, last = problem
    return [*earlier, behind_text(last, f"\n{text}")]
