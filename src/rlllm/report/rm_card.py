"""Table of a reward model's card: each value with its definition, of a trained model or of every `rm` task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlllm.report.markup import Html, join, tag
from rlllm.report.tables import Head, cell, drawn_head, row, single_cells, table
from rlllm.report.wording import DASH, number


def card_tables(card: Mapping[str, Any], results: Mapping[str, Any]) -> Html | None:
    """Tables for card.json and for the card of each task of an evaluation; None if there is neither."""
    tasks = results.get("tasks") or {}
    cards = [(name, task["card"]) for name, task in tasks.items() if task.get("card")]
    tables = [_table(card["rows"])] if card.get("rows") else []
    for name, task_card in cards:
        tables += [*([tag("p", name, class_="note")] if len(cards) > 1 else []), _table(task_card["rows"])]
    return join(tables) if tables else None


def _table(rows: Sequence[Mapping[str, Any]]) -> Html:
    interval_head, unit = drawn_head(
        [(None, entry["value"]) for entry in rows if _bounded(entry["value"])], paired=False
    )
    heads: list[Head] = [("Property", ""), ("Estimate", "num"), interval_head]
    return table(heads, [row(entry["name"], entry["definition"], _cells(entry["value"])) for entry in rows], unit=unit)


def _cells(value: Mapping[str, Any] | None) -> list[Html]:
    """A value without an interval (the largest of a few, say) is a plain number."""
    if value is not None and _bounded(value):
        return single_cells(value)
    shown = tag("b", number(value["estimate"], 2)) if value else DASH
    return [cell("Estimate", shown, "num"), cell("95 % interval", None, "drawn")]


def _bounded(value: Mapping[str, Any] | None) -> bool:
    return bool(value) and all((value or {}).get(end) is not None for end in ("low", "high"))
