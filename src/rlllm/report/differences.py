"""Tables of what differs between runs, with a column for each run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlllm.report.markup import Html, join, tag
from rlllm.report.provenance import flattened
from rlllm.report.series import Series
from rlllm.report.tables import Head, cell, row, table
from rlllm.report.used_settings import Used, differing, not_recorded
from rlllm.report.wording import DASH, count

_MAX_ROWS = 200


def used_differences(series: Sequence[Series], used: Sequence[Used]) -> Html:
    """What was used and differs between the runs, a table for each group, and what is the same."""
    by_group = differing(used)
    tables = [
        tag("section", tag("h3", group[:1].upper() + group[1:]), _table(series, columns, "setting"), class_="task")
        for group, columns in by_group.items()
    ]
    same = [group for group in used[0] if group not in by_group and all(member[group] for member in used)]
    notes = []
    if same:
        notes.append(f"The same in all {len(series)} runs: {', '.join(same)}.")
    if missing := not_recorded(used):
        notes.append(f"Not recorded by all of them: {', '.join(missing)}.")
    return join([*tables, *(tag("p", note, class_="note") for note in notes)])


def differences(series: Sequence[Series], values: Sequence[Mapping[str, Any]], what: str) -> Html:
    """The keys whose values differ between the runs, and how many are the same.

    Args:
        values: of each run a nested mapping.
        what: name of one value, e.g. "setting".
    """
    flat = [dict(flattened(value)) for value in values]
    keys = list(dict.fromkeys(key for member in flat for key in member))
    columns = {key: [member.get(key) for member in flat] for key in keys}
    columns = {key: column for key, column in columns.items() if len(set(column)) > 1}
    same = tag("p", f"{count(len(keys) - len(columns), what)} the same in all {len(series)} runs.", class_="note")
    return join([_table(series, columns, what), same]) if columns else same


def _table(series: Sequence[Series], columns: Mapping[str, Sequence[str | None]], what: str) -> Html:
    heads: list[Head] = [(what[:1].upper() + what[1:], ""), *((member.label(), "") for member in series)]
    shown = list(columns.items())[:_MAX_ROWS]
    rows = [
        row(
            tag("code", name),
            "",
            [cell(member.title, _value(value)) for member, value in zip(series, column, strict=True)],
        )
        for name, column in shown
    ]
    left_out = len(columns) - len(shown)
    more = tag("p", f"And {count(left_out, what)} more that differ.", class_="note") if left_out else None
    return join([table(heads, rows, unit=False), more])


def _value(shown: str | None) -> Html:
    return tag("code", DASH if shown is None else shown)
