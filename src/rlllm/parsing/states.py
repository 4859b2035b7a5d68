"""States as text: sorted lines of `key=value`, and how much of a change a predicted state has right.

Only changed lines count. Most lines of a state stay as they are, so that a score over all of them would pay for copying the old
state (the F1 of RLVR-World, Wu et al. 2025, arXiv 2505.13934, is over items; that only changed ones count is ours).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from rlllm.parsing.answer_text import plain_characters

_LINE = re.compile(r"(?P<key>[^=:<>\s](?:[^=:<>\n]{0,60}[^=:<>\s])?)\s*=\s*(?P<value>[^=\n]{1,200})")
_NUMBER = re.compile(
    r"(?P<number>[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:[eE][-+]?\d{1,3})?)\s*(?P<unit>[^\d\s].*)?"
)
_MOST_LINES = 1000


class Change(NamedTuple):
    """How a predicted change compares with the true one."""

    right: int
    """Lines that changed and were predicted to, with the right value."""
    predicted: int
    """Lines that were predicted to change."""
    true: int
    """Lines that changed."""

    @property
    def f1(self) -> float:
        """2 right / (predicted + true); 1 where nothing changed and nothing was predicted to."""
        total = self.predicted + self.true
        return 2 * self.right / total if total else 1.0


def read_state(text: str) -> dict[str, str | None]:
    """Key -> value of every line that is `key=value`; other lines are left out. None is the value of a key that stands twice
    with different ones, since a list of candidates is no prediction."""
    state: dict[str, str | None] = {}
    for line in plain_characters(text).splitlines()[:_MOST_LINES]:
        match = _LINE.fullmatch(line.strip().strip("*`-,;").strip())
        if match is None:
            continue
        key, value = " ".join(match["key"].split()), " ".join(match["value"].split())
        state[key] = value if key not in state or _same(state[key], value, 0.0) else None
    return state


def state_text(state: Mapping[str, str]) -> str:
    """A state as lines, sorted by key."""
    return "\n".join(f"{key}={value}" for key, value in sorted(state.items()))


def compare_change(
    before: Mapping[str, str | None],
    after: Mapping[str, str | None],
    predicted: Mapping[str, str | None],
    tolerance: float,
) -> Change:
    """Compare the change from `before` to `predicted` with the one from `before` to `after`.

    A line that one of two states lacks has changed. A number is right within `tolerance`, as a share of the true one, if it is
    nearer to the true one than to the old one: where a change is small, the old number must not pass.
    """
    changed = {key for key in before.keys() | after.keys() if not _same(before.get(key), after.get(key), 0.0)}
    told = {key for key in before.keys() | predicted.keys() if not _same(before.get(key), predicted.get(key), 0.0)}
    told |= {key for key, value in predicted.items() if value is None}
    right = sum(
        _same(after.get(key), predicted.get(key), tolerance)
        and _nearer(predicted.get(key), after.get(key), before.get(key))
        and (key in predicted) == (key in after)
        for key in changed & told
    )
    return Change(right, len(told), len(changed))


def _same(true: str | None, other: str | None, tolerance: float) -> bool:
    """Whether two values are the same text, or numbers of the same unit within the tolerance."""
    if true is None or other is None:
        return true is other
    if true == other:
        return True
    first, second = _number(true), _number(other)
    if first is None or second is None or first[1] != second[1]:
        return False
    return abs(first[0] - second[0]) <= max(tolerance * abs(first[0]), 1e-9 if tolerance else 0.0)


def _nearer(value: str | None, true: str | None, old: str | None) -> bool:
    """Whether a number lies nearer to the true one than to the old one; True where one of them is no number."""
    numbers = [text and _number(text) for text in (value, true, old)]
    if not all(numbers):
        return True
    (predicted, _), (right, _), (before, _) = (pair for pair in numbers if pair)
    return abs(predicted - right) < abs(predicted - before)


def _number(text: str) -> tuple[float, str] | None:
    """The number of a value and the unit behind it."""
    match = _NUMBER.fullmatch(text)
    if match is None or not any(map(str.isdigit, match["number"])):
        return None
    try:
        number = float(match["number"].replace(",", ""))
    except ValueError:
        return None
    return (number, re.sub(r"\s+", "", match["unit"] or "")) if abs(number) < 1e300 else None
