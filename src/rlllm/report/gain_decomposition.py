"""Table of the gain of each reward: what length and form of the completions explain alone, and the rest."""

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


def gain_table(decompositions: Sequence[Mapping[str, Any]]) -> Html | None:
    """The table for `gain_decomposition` of the verdict's diagnostics; None where there are none."""
    if not decompositions:
        return None
    heads: list[Head] = [("Reward", ""), *((title, "num") for title in _PARTS.values())]
    rows = [
        row(str(parts["reward"]), _compared(parts), [_cell(parts, name) for name in _PARTS]) for parts in decompositions
    ]
    return join([table(heads, rows, unit=False), tag("p", _NOTE, class_="note")])


def _compared(parts: Mapping[str, Any]) -> str:
    words = f"first and last {parts['steps']} steps"
    return (
        words
        if not parts["unsupported"]
        else f"{words}; {parts['unsupported']:.0%} of late completions look like no early one"
    )


def _cell(parts: Mapping[str, Any], name: str) -> Html:
    return cell(_PARTS[name], signed_estimate(parts[name], strong=True), "num")
