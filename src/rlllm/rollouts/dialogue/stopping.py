"""When to stop sampling answers to a problem: votes, what stopping is worth at each attempt, and three ways to learn it.

After attempt t the answer is the one with most votes. Stopping there is worth U_t = q_t - price t, with q_t = 1 where that
answer is right, else 0. A state is the number of attempts and the lead: votes of the first answer minus those of the second.
Zhang 2026 (arXiv 2605.02801) finds no method that learns when to stop; the forms are ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlllm.parsing.answers import extract_answer


@dataclass
class Votes:
    """Answers so far. Attempts without a marked answer vote for nothing."""

    counts: Counter[str] = field(default_factory=Counter)
    texts: dict[str, str] = field(default_factory=dict)
    """Answer -> the first attempt that gave it."""
    attempts: int = 0

    def add(self, text: str) -> None:
        self.attempts += 1
        answer = extract_answer(text)
        if answer is not None:
            name = answer.casefold()
            self.counts[name] += 1
            self.texts.setdefault(name, text)

    @property
    def ranked(self) -> list[tuple[str, int]]:
        """(answer, votes), most votes first, of equals the one that came first."""
        return self.counts.most_common()

    @property
    def lead(self) -> int:
        """Votes of the first answer minus those of the second."""
        first, second = [*(count for _, count in self.counts.most_common(2)), 0, 0][:2]
        return first - second

    @property
    def solution(self) -> str:
        """An attempt with the answer that has most votes; empty where there is none."""
        return self.texts[self.ranked[0][0]] if self.counts else ""

    @property
    def key(self) -> str:
        return f"{self.attempts}/{self.lead}"


def keys(most: int) -> list[str]:
    """Every state in which there is a choice, and the last ones, in which there is none."""
    return [f"{attempt}/{lead}" for attempt in range(1, most + 1) for lead in range(attempt + 1)]


@dataclass
class StopValues:
    """What stopping and going on are worth in each state, fitted backward over all attempts that were seen.

    V(s) = max(u(s), c(s)): u is the mean utility of stopping in s, c the mean of V over the states that followed. In the
    last states V = u. The maximum over one run's own attempts would know the future, and stop too late.

    Args:
        most: attempts at most.
        decay: what earlier observations weigh after each update; 1 keeps them all.
    """

    most: int
    decay: float = 1.0
    _sums: dict[str, list[float]] = field(default_factory=dict, repr=False)
    """State -> visits, and the sum of utilities."""
    _followed: dict[str, dict[str, float]] = field(default_factory=dict, repr=False)
    """State -> state after it -> how often."""

    def update(self, visits: Mapping[str, tuple[float, float]], followed: Mapping[tuple[str, str], float]) -> None:
        """Add visits (how many, and their summed utilities) by state, and steps from one state to the next."""
        for row in self._sums.values():
            row[:] = [value * self.decay for value in row]
        for after in self._followed.values():
            for name in after:
                after[name] *= self.decay
        for key, (count, total) in visits.items():
            row = self._sums.setdefault(key, [0.0, 0.0])
            row[0], row[1] = row[0] + count, row[1] + total
        for (before, after_it), count in followed.items():
            steps = self._followed.setdefault(before, {})
            steps[after_it] = steps.get(after_it, 0.0) + count

    def stopping(self, key: str) -> float | None:
        """u; None for a state that was never seen."""
        count, total = self._sums.get(key, (0.0, 0.0))
        return total / count if count else None

    def going_on(self, key: str) -> float | None:
        """c; None where nothing is known to follow."""
        steps = {after: count for after, count in self._followed.get(key, {}).items() if count}
        total = sum(steps.values())
        if not total or int(key.partition("/")[0]) >= self.most:
            return None
        return sum(count * self.value(after) for after, count in steps.items()) / total

    def value(self, key: str) -> float:
        """V; the utility of stopping where nothing is known to follow."""
        now, later = self.stopping(key), self.going_on(key)
        return max(
            value for value in (now, later, None if now is not None or later is not None else 0.0) if value is not None
        )

    def stops(self, key: str) -> bool:
        """Whether stopping is worth at least as much as going on; where that is unknown, it goes on."""
        now, later = self.stopping(key), self.going_on(key)
        if int(key.partition("/")[0]) >= self.most:
            return True
        return now is not None and later is not None and now >= later

    def to_json(self) -> dict[str, Any]:
        return {"sums": self._sums, "followed": self._followed}

    @classmethod
    def from_json(cls, state: Mapping[str, Any], **settings: Any) -> StopValues:
        """The values that `to_json` described."""
        followed = {key: dict(after) for key, after in state["followed"].items()}
        return cls(**settings, _sums={key: list(row) for key, row in state["sums"].items()}, _followed=followed)


@dataclass(frozen=True)
class Attempts:
    """All attempts at one problem.

    Args:
        keys: state after each.
        utilities: U_t of each.
    """

    keys: Sequence[str]
    utilities: Sequence[float]

    def stopped(self, stops: Sequence[bool], start: int = 0) -> int:
        """Index of the attempt at which it ends: the first from `start` on that says so, or the last."""
        last = len(self.keys) - 1
        return next((at for at in range(start, last) if stops[at]), last)

    def regret(self, at: int) -> float:
        """What stopping at an attempt missed: the best utility minus that one."""
        return max(self.utilities) - self.utilities[at]


def attempts(texts: Sequence[str], right: Mapping[str, bool], price: float) -> Attempts:
    """Attempts in their order.

    Args:
        right: text -> whether its answer is right.
        price: of an attempt.
    """
    votes, names, utilities = Votes(), [], []
    for number, text in enumerate(texts, 1):
        votes.add(text)
        names.append(votes.key)
        utilities.append(float(right.get(votes.solution, False)) - price * number)
    return Attempts(names, utilities)


def visits_of(
    runs: Sequence[Attempts],
) -> tuple[dict[str, tuple[float, float]], dict[tuple[str, str], float]]:
    """What `StopValues.update` takes."""
    visits: dict[str, tuple[float, float]] = {}
    followed: dict[tuple[str, str], float] = {}
    for run in runs:
        for key, utility in zip(run.keys, run.utilities, strict=True):
            count, total = visits.get(key, (0.0, 0.0))
            visits[key] = (count + 1, total + utility)
        for step in zip(run.keys, run.keys[1:], strict=False):
            followed[step] = followed.get(step, 0.0) + 1
    return visits, followed
