"""What a message of a dialogue does to its outcome, by counterfactual replay (C3 of Zhang 2026, arXiv 2605.02801).

The transcript before the message is frozen, K alternatives stand in its place, and what follows each is played by one policy
that stays fixed. With R_j the outcome behind alternative j, its credit is R_j minus the mean of the other K - 1: the advantage
`rloo`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from rlllm.core.records import PromptTask
from rlllm.parsing.dialogue_prompts import read_review
from rlllm.rollouts.dialogue.play import REVIEWER, Judge, Protocol, Speak, State, Turn, answers, play


@dataclass(frozen=True)
class Audit:
    """A message that is audited.

    Args:
        task: what the dialogue is about.
        state: the dialogue.
        turn: the message's turn in it.
        texts: K alternatives, each what the message might have said.
    """

    task: PromptTask
    state: State
    turn: Turn
    texts: Sequence[str]


def outcomes(
    audits: Sequence[Audit],
    protocol: Protocol,
    speak: Speak,
    *,
    probability: Callable[[str], float],
    draw: Callable[[int], list[float]],
    judge: Judge,
    replays: int = 1,
) -> list[list[float]]:
    """Share of right answers at the end of `replays` dialogues behind each alternative of each message.

    Who speaks behind the alternatives of a message is decided by the same numbers, so that they differ by what was said alone.
    All replays of all messages are at the same turn, in one batch. Without a turn behind it a message is judged as it is.

    Args:
        probability: key -> probability of speaking.
        draw: as for `play`.
    """
    tasks = [audit.task for audit in audits for _ in audit.texts for _ in range(replays)]
    states = [_behind(audit, text) for audit in audits for text in audit.texts for _ in range(replays)]

    def shared(_: int) -> list[float]:
        drawn = iter(draw(len(audits) * replays))
        rows = [[next(drawn) for _ in range(replays)] for _ in audits]
        return [number for audit, row in zip(audits, rows, strict=True) for _ in audit.texts for number in row]

    play(tasks, protocol, speak, probability=probability, draw=shared, begun=states)
    right = iter(judge(answers(tasks, states)))
    return [[fmean(next(right) for _ in range(replays)) for _ in audit.texts] for audit in audits]


def _behind(audit: Audit, text: str) -> State:
    """The dialogue behind the message, had it said this."""
    state = audit.state.before(audit.turn)
    verdict = read_review(text) if audit.turn.role == REVIEWER else None
    state.enter(replace(audit.turn, spoke=True, text=text, verdict=verdict, right=None))
    return state
