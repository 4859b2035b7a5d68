"""TRACER's dialogue (arXiv 2605.28699): proposals at odd turns, reviews at even ones, and at each turn the choice to speak.

A proposal that is spoken becomes the pending solution and sets the vote to 0; a spoken review moves the vote by 1. The answer
is the last pending solution. All dialogues are at the same turn, so that one batch holds what they say.

The protocol is that of the released code as described by others who read it; the prompts are ours.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rlllm.core.records import Prompt, PromptTask, Sample
from rlllm.parsing.answers import extract_answer
from rlllm.parsing.dialogue_prompts import proposal, read_review, review

PROPOSER, REVIEWER = "proposer", "reviewer"
DRAFT, DECISION = "draft", "decision"
"""Roles of a dialogue that learns when to stop."""
DIALOGUE = "dialogue"
"""Column of a sample with its turns, as `Turn.to_json` gives them."""


@dataclass(frozen=True)
class Protocol:
    """The rules of a dialogue.

    Args:
        turns: odd ones are for proposals, even ones for reviews.
        agents: turn t belongs to agent (t - 1) mod agents. Weights are no agent's own; each has rows of its own in the table.
        controllers: whether the table decides who speaks. Without, everybody speaks at every turn.
        reviewer: whether there are reviews. Without, even turns pass.
        history: how many earlier turns a prompt shows beside the problem and the pending solution.
        marked: whether only a marked answer (`#### x`, `\\boxed{x}`, `<answer>x</answer>`) makes a solution readable. Without,
            any text does.
        own_adapters: whether each role speaks by an adapter of its own, so that `speak` is told whose turn it is.
    """

    turns: int = 5
    agents: int = 2
    controllers: bool = True
    reviewer: bool = True
    history: int = 4
    marked: bool = True
    own_adapters: bool = False

    def role(self, turn: int) -> str:
        """Whose turn it is, from 1."""
        return PROPOSER if turn % 2 else REVIEWER

    def agent(self, turn: int) -> int:
        return (turn - 1) % self.agents

    def readable(self, solution: str) -> bool:
        """Whether a solution has an answer."""
        return extract_answer(solution) is not None if self.marked else bool(solution.strip())

    def keys(self) -> list[str]:
        """Every key that a table can have."""
        votes = [_UNREADABLE, *(str(vote) for vote in range(-(self.turns // 2), self.turns // 2 + 1))]
        turns = range(1, self.turns + 1)
        names = {(self.agent(turn), self.role(turn), self._time(turn)) for turn in turns}
        return sorted(_key(*name, vote) for name in names for vote in votes)

    def key(self, turn: int, state: State) -> str:
        """Row of the table that decides at a turn: agent, role, whether it is the last chance to propose, and the vote."""
        vote = str(state.vote) if state.pending is not None and self.readable(state.pending) else _UNREADABLE
        return _key(self.agent(turn), self.role(turn), self._time(turn), vote)

    def _time(self, turn: int) -> str:
        """`last` where at most one proposal is left, this turn's included."""
        left = sum(1 for later in range(turn, self.turns + 1) if self.role(later) == PROPOSER)
        return "last" if left <= 1 else "not-last"


_UNREADABLE = "unreadable"


def _key(agent: int, role: str, time: str, vote: str) -> str:
    return f"{agent}/{role}/{time}/{vote}"


@dataclass
class State:
    """Where a dialogue stands."""

    pending: str | None = None
    right: bool | None = None
    """Whether the pending solution is right, where a judge says so."""
    vote: int = 0
    turns: list[Turn] = field(default_factory=list)

    @property
    def last(self) -> int:
        """Number of the last turn; 0 before the first."""
        return self.turns[-1].number if self.turns else 0

    def before(self, turn: Turn) -> State:
        """Where it stood before a turn."""
        earlier = State()
        for other in self.turns:
            if other.number < turn.number:
                earlier.enter(other)
        return earlier

    def enter(self, turn: Turn) -> None:
        """Add a turn; what was spoken at it counts."""
        self.turns.append(turn)
        if not turn.spoke:
            return
        if turn.role == PROPOSER:
            self.pending, self.right, self.vote = turn.text, turn.right, 0
        elif turn.verdict is not None:
            self.vote += 1 if turn.verdict else -1


@dataclass(frozen=True)
class Turn:
    """What happened at a turn.

    Args:
        number: from 1.
        prompt: what the role was or would have been asked.
        pending: the solution that stood before it.
        pending_right: whether that was right, where a judge says so.
        key: row of the table; empty where there was no choice, since a proposal was needed.
        probability: of speaking.
        drawn: the number in [0, 1) by which it was decided.
        spoke: whether the text entered the dialogue.
        text: what was said, or what would have been; None where nothing was generated.
        verdict: of a review, whether it says right; None where that cannot be read.
        right: of a proposal, whether it is right, where a judge says so.
    """

    number: int
    agent: int
    role: str
    prompt: Prompt
    pending: str | None
    pending_right: bool | None
    key: str
    probability: float
    drawn: float
    spoke: bool
    text: str | None = None
    tokens: int = 0
    verdict: bool | None = None
    right: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """What a log keeps: whose turn it was, whether there was a choice, who spoke, what was said, and the verdict."""
        said = {"text": self.text, "tokens": self.tokens} if self.spoke else {}
        verdict = {"verdict": self.verdict} if self.role == REVIEWER and self.spoke else {}
        who = {"turn": self.number, "agent": self.agent, "role": self.role}
        return {**who, "choice": bool(self.key), "spoke": self.spoke, **said, **verdict}

    def values(self, call_cost: float, no_verdict: float = 0.0) -> tuple[float, float]:
        """What staying silent and speaking were worth, each in [-1, 1] before the cost of a call.

        Silence is worth what the pending solution is: 1 where it is right, else -1. A proposal is worth the same of its own
        solution; a review what `review_value` says.
        """
        silent = _sign(self.pending_right)
        if self.role == PROPOSER:
            return silent, (silent if self.text is None else _sign(self.right)) - call_cost
        return silent, review_value(self.verdict, self.pending_right, no_verdict) - call_cost


def review_value(verdict: bool | None, right: bool | None, no_verdict: float = 0.0) -> float:
    """What a review is worth: 1 for a true verdict, -1 for a false one, `no_verdict` where it cannot be read, and 0 where the
    solution cannot be read."""
    if right is None:
        return 0.0
    if verdict is None:
        return no_verdict
    return 1.0 if verdict == right else -1.0


def _sign(right: bool | None) -> float:
    return 1.0 if right else -1.0


class Speak(typing.Protocol):
    """Generates what a role says."""

    def __call__(self, tasks: Sequence[PromptTask], role: str = "", /) -> list[Sample]:
        """One sample of each task, whose prompt stands for the role's context.

        Args:
            role: by whose adapter, where roles have adapters of their own.
        """
        ...


Judge = Callable[[Sequence[Sample]], list[bool]]
"""Answers to tasks -> whether each is right."""


def play(
    tasks: Sequence[PromptTask],
    protocol: Protocol,
    speak: Speak,
    *,
    probability: Callable[[str], float],
    draw: Callable[[int], list[float]],
    judge: Judge | None = None,
    price_silence: bool = True,
    begun: Sequence[State] = (),
) -> list[State]:
    """One dialogue on each task, to its end.

    Args:
        speak: generates.
        probability: key -> probability of speaking.
        draw: number of decisions -> one number in [0, 1) for each; who speaks is decided by it.
        judge: whether solutions are right. With it, turns know it, and everything that could have been said is generated as
            well, so that both actions have a value.
        price_silence: with a judge, also generate proposals that are not spoken.
        begun: a dialogue on each task that goes on behind its last turn; it is changed. Without, all begin.
    """
    states = list(begun) or [State() for _ in tasks]
    for number in range(1, protocol.turns + 1):
        if protocol.role(number) == REVIEWER and not protocol.reviewer:
            continue
        going_on = [at for at, state in enumerate(states) if state.last < number]
        if not going_on:
            continue
        drawn = draw(len(tasks))
        turns = {at: _decided(protocol, number, tasks[at], states[at], probability, drawn[at]) for at in going_on}
        priced = judge is not None and (price_silence or protocol.role(number) == REVIEWER)
        talking = [at for at, turn in turns.items() if turn.spoke or priced]
        asked = [replace(tasks[at], prompt=turns[at].prompt) for at in talking]
        said = speak(asked, *([protocol.role(number)] if protocol.own_adapters else [])) if asked else []
        for at, sample in zip(talking, said, strict=True):
            turns[at] = replace(turns[at], text=sample.completion, tokens=sample.tokens or 0)
        answers = {at: replace(sample, prompt=tasks[at].prompt) for at, sample in zip(talking, said, strict=True)}
        _judge(protocol, number, turns, answers, judge)
        for at, turn in turns.items():
            states[at].enter(turn)
    return states


def _decided(
    protocol: Protocol,
    number: int,
    task: PromptTask,
    state: State,
    probability: Callable[[str], float],
    drawn: float,
) -> Turn:
    role = protocol.role(number)
    shown = [(turn.role, turn.text or "") for turn in state.turns if turn.spoke]
    shown = shown[-protocol.history :] if protocol.history else []
    if role == PROPOSER:
        prompt = proposal(task.prompt, state.pending, shown)
    else:
        assert state.pending is not None, "the first turn always proposes"
        prompt = review(task.prompt, state.pending, shown)
    forced = role == PROPOSER and (state.pending is None or not protocol.readable(state.pending))
    free = protocol.controllers and not forced
    key = protocol.key(number, state) if free else ""
    chance = probability(key) if free else 1.0
    return Turn(
        number=number,
        agent=protocol.agent(number),
        role=role,
        prompt=prompt,
        pending=state.pending,
        pending_right=state.right,
        key=key,
        probability=chance,
        drawn=drawn,
        spoke=drawn < chance,
    )


def _judge(
    protocol: Protocol,
    number: int,
    turns: dict[int, Turn],
    said: Mapping[int, Sample],
    judge: Judge | None,
) -> None:
    """Read the verdicts of reviews; have proposals judged. Changes `turns` in place.

    Args:
        said: number of a dialogue -> what was generated in it, as an answer to its task.
    """
    if protocol.role(number) == REVIEWER:
        for at, sample in said.items():
            turns[at] = replace(turns[at], verdict=read_review(sample.completion))
    elif judge is not None:
        readable = [at for at, sample in said.items() if protocol.readable(sample.completion)]
        right = judge([said[at] for at in readable]) if readable else []
        for at, is_right in zip(readable, right, strict=True):
            turns[at] = replace(turns[at], right=is_right)


def answers(tasks: Sequence[PromptTask], states: Sequence[State]) -> list[Sample]:
    """The last pending solution of each dialogue, with all tokens that were spent on it and its turns as a column."""
    return [
        Sample(
            task.prompt,
            state.pending or "",
            task.answer,
            {**task.meta, DIALOGUE: [turn.to_json() for turn in state.turns]},
            sum(turn.tokens for turn in state.turns),
        )
        for task, state in zip(tasks, states, strict=True)
    ]


def calls_of(sample: Sample) -> int:
    """How often a role spoke on the way to an answer."""
    return sum(turn["spoke"] for turn in sample.meta[DIALOGUE])


def proposals(turns: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    """Number of the turn -> solution that was proposed at it."""
    return {turn["turn"]: turn["text"] for turn in turns if turn["role"] == PROPOSER and turn["spoke"]}
