"""Facts about preference pairs that decide whether training on them can teach anything."""

from __future__ import annotations

from rlllm.core.verdict import Facts
from rlllm.training.plan import Plan


def note_pairs(plan: Plan, facts: Facts) -> None:
    """Count the training pairs whose two completions are one text."""
    pairs = plan.loaded.train
    facts.pairs = len(pairs)
    facts.identical_pairs = sum(pair.chosen == pair.rejected for pair in pairs)
