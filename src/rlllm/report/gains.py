"""What the gain of each reward is made of: what length and form of the completions explain alone, and the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlllm.report.markup import Html, join, tag
from rlllm.report.tables import Head, cell, row, signed_estimate, table

_PARTS = {"gain": "Gain", "length": "Length alone", "form": "Form alone", "both": "Both", "rest": "Rest"}
_NOTE = (
    "Early completions, weighted to the lengths and forms of late ones, explain a part; the rest is better at the same length "
    "and form. Form is whether an answer is marked, once and at the end, or cut off. 95 % intervals over prompts."
)


def gain_table(gains: Sequence[Mapping[str, Any]]) -> Html | None:
    """The table for `gains` of the verdict's facts; None where there are none."""
    if not gains:
        return None
    heads: list[Head] = [("Reward", ""), *((title, "num") for title in _PARTS.values())]
    rows = [row(str(found["reward"]), _compared(found), [_cell(found, name) for name in _PARTS]) for found in gains]
    return join([table(heads, rows, unit=False), tag("p", _NOTE, class_="note")])


def _compared(found: Mapping[str, Any]) -> str:
    words = f"first and last {found['steps']} steps"
    return (
        words
        if not found["unsupported"]
        else f"{words}; {found['unsupported']:.0%} of late completions look like no early one"
    )


def _cell(found: Mapping[str, Any], name: str) -> Html:
    return cell(_PARTS[name], signed_estimate(found[name], strong=True), "num")
