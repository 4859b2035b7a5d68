"""Rows that do not fit: the first one stops the reading (`fail`), or each one is counted and left out (`skip`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from rlllm.core.errors import DataError

OnBadRow = Literal["fail", "skip"]

_EXAMPLES = 20


@dataclass(slots=True)
class BadRows:
    """The policy for rows that do not fit, and their counts; one object for each reading of a data set."""

    policy: OnBadRow = "fail"
    good: int = 0
    """Rows that became records."""
    count: int = 0
    """Rows that were skipped."""
    examples: list[str] = field(default_factory=list)
    """Place and reason of the first 20 of them."""
    undecided: int = 0
    """Rows that fit but prefer neither answer (a tie), and so make no pair. They are not bad rows."""
    first: DataError | None = None
    """The error of the first skipped row."""

    def add(self, error: DataError) -> None:
        """Count a row that does not fit. Raises `error` itself under the policy `fail`."""
        if self.policy == "fail":
            raise error
        self.count += 1
        self.first = self.first or error
        if len(self.examples) < _EXAMPLES:
            self.examples.append(error.what)

    def include(self, other: BadRows) -> None:
        """Add the counts of another reading."""
        self.good += other.good
        self.count += other.count
        self.undecided += other.undecided
        self.examples = [*self.examples, *other.examples][:_EXAMPLES]

    def settle(self, source: str) -> None:
        """Check the counts at the end of a reading.

        Raises:
            DataError: more than half of the rows were skipped. That is a wrong map or another kind of file, not damage.
        """
        rows = self.good + self.undecided + self.count
        if self.first is not None and 2 * self.count > rows:
            raise DataError(
                f"{self.count:,} of {rows:,} rows do not fit; the first: {self.first.what}",
                given=source,
                exists=self.first.exists,
                hint=self.first.hint
                or "say which column is which with --columns; at most half of the rows may be skipped",
            ) from self.first

    def words(self) -> str:
        """The rows that were left out, as a sentence; empty where there are none."""
        parts = [f"{self.count:,} bad rows skipped"] if self.count else []
        parts += [f"{self.undecided:,} rows without a preference left out"] if self.undecided else []
        return ", ".join(parts)
