"""Table of settings and lineage that differ between runs, with a column for each run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlllm.report.markup import Html, join, tag
from rlllm.report.provenance import flattened
from rlllm.report.series import Series
from rlllm.report.tables import Head, cell, row, table
from rlllm.report.wording import DASH, count

_MAX_ROWS = 200
_IRRELEVANT = {"output_dir"}
"""Differs between any two runs and says nothing."""


def differences(series: Sequence[Series], values: Sequence[Mapping[str, Any]], what: str) -> Html:
    """The keys whose values differ between the runs, and how many are the same.

    Args:
        values: of each run a nested mapping.
        what: name of one value, e.g. "setting".
    """
    flat = [dict(flattened(value)) for value in values]
    keys = [key for key in dict.fromkeys(key for member in flat for key in member) if key not in _IRRELEVANT]
    differing = [key for key in keys if len({member.get(key) for member in flat}) > 1]
    same = tag("p", f"{count(len(keys) - len(differing), what)} the same in all {len(series)} runs.", class_="note")
    if not differing:
        return same
    heads: list[Head] = [(what[:1].upper() + what[1:], ""), *((member.label(), "") for member in series)]
    rows = [
        row(
            tag("code", key),
            "",
            [
                cell(member.title, _value(values_of_run.get(key)))
                for member, values_of_run in zip(series, flat, strict=True)
            ],
        )
        for key in differing[:_MAX_ROWS]
    ]
    left_out = len(differing) - len(rows)
    more = tag("p", f"And {count(left_out, what)} more that differ.", class_="note") if left_out else None
    return join([table(heads, rows, unit=False), more, same])


def _value(shown: str | None) -> Html:
    return tag("code", DASH if shown is None else shown)
