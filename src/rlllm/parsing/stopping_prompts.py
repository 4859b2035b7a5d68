"""The prompt of a decision to stop or to go on sampling answers, and the parsing of its reply."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rlllm.core.records import Prompt
from rlllm.parsing.dialogue_prompts import with_text_behind

_ASK = "Attempt {attempt} of {most}. Reply STOP to answer now, or CONTINUE for another attempt."
_REPLY = re.compile(r"[\s*_#>\"'`(\[]*(stop|continue)(?![a-z])", re.I)


def decision(problem: Prompt, votes: Sequence[tuple[str, int]], attempt: int, most: int) -> Prompt:
    """The prompt for a decision.

    Args:
        problem: the task's prompt.
        votes: (answer, votes), most votes first.
        attempt: attempts so far.
        most: attempts at most.
    """
    counts = "\n".join(f"{answer}: {count}" for answer, count in votes)
    return with_text_behind(problem, f"[answers]\n{counts}\n[end]\n{_ASK.format(attempt=attempt, most=most)}")


def read_decision(text: str) -> bool | None:
    """Whether a reply says to stop: its first line that is not empty begins with stop or continue. None for any other."""
    match = _REPLY.match(text)
    return None if match is None else match[1].lower() == "stop"


def decision_length(text: str) -> int | None:
    """Characters of a reply up to the end of its decision. None where `read_decision` finds none."""
    match = _REPLY.match(text)
    return None if match is None else match.end()
