"""Facts about preference pairs that decide whether training on them can teach anything."""

from __future__ import annotations

from collections.abc import Sequence

from rlllm.core.records import PreferencePair
from rlllm.core.verdict import Facts


def note_pairs(pairs: Sequence[PreferencePair], facts: Facts) -> None:
    """Count the pairs whose two completions are one text."""
    facts.pairs = len(pairs)
    facts.identical_pairs = sum(pair.chosen == pair.rejected for pair in pairs)
