"""Diagnostics about preference pairs that decide whether training on them can teach anything."""

from __future__ import annotations

from typing import Any

from rlllm.core.verdict import Diagnostics
from rlllm.training.plan import Plan


def note_pairs(plan: Plan[Any], diagnostics: Diagnostics) -> None:
    """Count the training pairs whose two completions are one text, but for white space."""
    pairs = plan.loaded.train
    diagnostics.pairs = len(pairs)
    diagnostics.identical_pairs = sum(pair.identical for pair in pairs)
