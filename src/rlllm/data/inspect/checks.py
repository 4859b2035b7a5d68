"""Imbalances that a model could exploit (labels, positions of the right choice, lengths of chosen answers), and scripts.

A finding is a sentence about the data; nothing is changed. The statistics are closed forms from the standard library, because
plans print findings and SciPy takes long to import.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from rlllm.core.records import LabelledCompletion, PreferencePair, PromptTask, Record, StepwiseSolution, full_text

_CHOICE = re.compile(r"\(?([A-J])\)?\.?")
_LETTERS_READ = 64
"""Letters of a text from which its script is read."""
_MOST_ANSWERS = 20
"""With more different answers than this they are no labels."""
_ALPHA = 0.001
_UNBALANCED = 0.1
"""Least distance of a share from its even value to be a finding."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact about a data set that matters for training."""

    name: str
    words: str


@dataclass(slots=True)
class ImbalanceCounts:
    """Counts from which the findings are computed."""

    labels: Counter[str] = field(default_factory=Counter)
    """Labels, or short answers while there are few different ones."""
    letters: Counter[str] = field(default_factory=Counter)
    """Answers that are one letter of a choice."""
    tasks: int = 0
    many_answers: bool = False
    longer_chosen: int = 0
    longer_rejected: int = 0
    scripts: Counter[str] = field(default_factory=Counter)

    def add(self, record: Record, prompt: str) -> None:
        """Count one record."""
        self.scripts[script_of(prompt or full_text(getattr(record, "completion", "")))] += 1
        if isinstance(record, PreferencePair):
            chosen, rejected = len(full_text(record.chosen)), len(full_text(record.rejected))
            self.longer_chosen += chosen > rejected
            self.longer_rejected += chosen < rejected
        elif isinstance(record, LabelledCompletion):
            self.labels[str(record.label).lower()] += 1
        elif isinstance(record, StepwiseSolution):
            self.labels.update(str(label).lower() for label in record.labels)
        elif isinstance(record, PromptTask) and record.answer is not None:
            self._answer(record.answer.strip())

    def _answer(self, answer: str) -> None:
        self.tasks += 1
        if choice := _CHOICE.fullmatch(answer):
            self.letters[choice[1]] += 1
        if not self.many_answers:
            self.labels[answer] += 1
            if len(self.labels) > _MOST_ANSWERS:
                self.many_answers = True
                self.labels.clear()

    def findings(self) -> list[Finding]:
        """The imbalances that are significant and large."""
        candidates = [self._balance(), self._position(), self._length(), self._languages()]
        return [finding for finding in candidates if finding]

    def _balance(self) -> Finding | None:
        total = self.labels.total()
        if total < 2 or self._is_choice():
            return None
        label, count = self.labels.most_common(1)[0]
        share, even = count / total, 1 / max(2, len(self.labels))
        if share - even <= _UNBALANCED or two_sided_p(count, total, even) >= _ALPHA:
            return None
        return Finding(
            "labels", f"{share:.0%} of {total:,} labels are {label!r}: answering it always is right as often"
        )

    def _is_choice(self) -> bool:
        return self.letters.total() >= max(10, 0.95 * self.tasks) and len(self.letters) > 1

    def _position(self) -> Finding | None:
        if not self._is_choice():
            return None
        options = [self.letters[chr(code)] for code in range(ord("A"), ord(max(self.letters)) + 1)]
        p = uniform_p(options)
        if p >= _ALPHA:
            return None
        shares = ", ".join(f"{chr(ord('A') + at)} {count / sum(options):.0%}" for at, count in enumerate(options))
        return Finding("position", f"the right choice is not evenly placed: {shares} (chi-square p = {p:.1g})")

    def _length(self) -> Finding | None:
        total = self.longer_chosen + self.longer_rejected
        share = self.longer_chosen / total if total else 0.5
        p = two_sided_p(self.longer_chosen, total)
        if abs(share - 0.5) <= _UNBALANCED or p >= _ALPHA:
            return None
        side, share = ("longer", share) if share > 0.5 else ("shorter", 1 - share)
        return Finding(
            "length", f"chosen is the {side} one in {share:.0%} of {total:,} pairs: length alone is right as often"
        )

    def _languages(self) -> Finding | None:
        written = Counter({name: count for name, count in self.scripts.items() if name != "none"})
        shares = {name: count / written.total() for name, count in written.most_common()}
        if len(shares) < 2:
            return None
        return Finding(
            "scripts", "prompts are in " + ", ".join(f"{name} {_percent(share)}" for name, share in shares.items())
        )

    def label_shares(self) -> Mapping[str, int]:
        """Label to count, the most frequent first; empty where answers are too many to be labels."""
        labels = self.letters if self._is_choice() else self.labels
        return dict(labels.most_common()) if 2 * len(labels) <= labels.total() else {}


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else "under 1%"


def script_of(text: str) -> str:
    """The script most letters of the text's beginning are in, as Unicode names it: `latin`, `cyrillic`, `cjk`; else `none`."""
    if text.isascii():
        return "latin" if any(sign.isalpha() for sign in text) else "none"
    counts: Counter[str] = Counter()
    for sign in text:
        if sign.isalpha():
            counts[unicodedata.name(sign, "unknown").partition(" ")[0].lower()] += 1
            if counts.total() == _LETTERS_READ:
                break
    return counts.most_common(1)[0][0] if counts else "none"


def two_sided_p(hits: int, total: int, rate: float = 0.5) -> float:
    """Two-sided p-value of a share against `rate`, by the normal approximation with continuity correction; 1 for no data."""
    if not total:
        return 1.0
    distance = max(0.0, abs(hits - total * rate) - 0.5)
    return math.erfc(distance / math.sqrt(2 * total * rate * (1 - rate)))


def uniform_p(counts: list[int]) -> float:
    """p-value of Pearson's chi-square test that all outcomes are equally frequent."""
    expected = sum(counts) / len(counts)
    statistic = sum((count - expected) ** 2 for count in counts) / expected
    return _chi_square_tail(statistic, len(counts) - 1)


def _chi_square_tail(statistic: float, degrees: int) -> float:
    """P(X > statistic) of the chi-square distribution: the recurrence of the incomplete gamma function from 1/2 or 1."""
    half = statistic / 2
    order = 0.5 if degrees % 2 else 1.0
    tail = math.erfc(math.sqrt(half)) if degrees % 2 else math.exp(-half)
    while order < degrees / 2 and half > 0:
        tail += math.exp(order * math.log(half) - half - math.lgamma(order + 1))
        order += 1
    return min(1.0, tail)
