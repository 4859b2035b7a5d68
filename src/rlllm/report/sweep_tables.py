"""The table of a sweep as Markdown, CSV, LaTeX and plain rows; made from its results.json alone."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlllm.core.interval_text import interval_text

_FIXED_ORDER = ("entropy", "completion length", "zero-variance groups", "groups kept", "steps", "tokens", "seconds")
_HIDDEN = {"before", "after", "tokens rejected"}
_WHOLE = {"completion length", "steps", "tokens", "seconds"}
_TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
}


@dataclass(frozen=True, slots=True)
class _Column:
    """A column: its head, and an arm's row -> the text of its cell."""

    head: str
    cell: Callable[[Mapping[str, Any]], str]


def sweep_tables(results: Mapping[str, Any]) -> dict[str, str]:
    """File name -> text of `table.md`, `table.csv` and `table.tex`."""
    return {"table.md": markdown(results), "table.csv": comma_separated(results), "table.tex": latex(results)}


def sweep_rows(results: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the table, as text."""
    columns = _columns(results)
    return [column.head for column in columns], [[column.cell(row) for column in columns] for row in _rows(results)]


def markdown(results: Mapping[str, Any]) -> str:
    """The table in Markdown, and below it what it means."""
    heads, rows = sweep_rows(results)
    lines = [_piped(heads), _piped(["---"] * len(heads)), *map(_piped, rows)]
    return "\n".join([*lines, "", *sweep_notes(results), ""])


def latex(results: Mapping[str, Any]) -> str:
    """The table in LaTeX, for the package booktabs; text is escaped, and below it stands what it means, as comments."""
    heads, rows = sweep_rows(results)
    body = [f"    {' & '.join(map(_tex, row))} \\\\" for row in rows]
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            *(f"% {note}" for note in sweep_notes(results)),
            f"\\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}",
            "    \\toprule",
            f"    {' & '.join(map(_tex, heads))} \\\\",
            "    \\midrule",
            *body,
            "    \\bottomrule",
            "\\end{tabular}",
            "",
        ]
    )


def comma_separated(results: Mapping[str, Any]) -> str:
    """The numbers of the table unrounded, an arm a line: of every metric its mean and the ends of its interval."""
    names = _metric_names(results, hidden=False)
    heads = ["arm", "state", "seeds", *(f"{name}{end}" for name in names for end in ("", " low", " high"))]
    heads += ["difference", "difference low", "difference high", "p", "p Holm", "tokens over baseline"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heads)
    for row in _rows(results):
        compared = row["comparison"] or {}
        intervals = [row["metrics"].get(name) for name in names] + [compared.get("difference")]
        ends = [(value or {}).get(end) for value in intervals for end in ("estimate", "low", "high")]
        last = [compared.get("p_value"), compared.get("p_holm"), row["tokens_ratio"]]
        writer.writerow([row["arm"], row["state"], _seeds(row), *ends, *last])
    return text.getvalue()


def _rows(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every arm with its name and its comparison with the baseline."""
    compared = {row["arm"]: row for row in results["comparisons"] if row["baseline"] == results["baseline"]}
    return [{**arm, "arm": name, "comparison": compared.get(name)} for name, arm in results["arms"].items()]


def _columns(results: Mapping[str, Any]) -> list[_Column]:
    measure = results["measure"] or "measure"
    columns = [
        _Column("arm", lambda row: row["arm"]),
        _Column("seeds", lambda row: str(_seeds(row))),
        _Column(f"{measure} before", lambda row: _mean(row, "before")),
        _Column(f"{measure} after", lambda row: _mean(row, "after")),
    ]
    columns += [_metric_column(name) for name in _metric_names(results, hidden=True)]
    ratios = [arm["tokens_ratio"] for arm in results["arms"].values() if arm["tokens_ratio"]]
    if ratios:
        columns.append(
            _Column("tokens, ratio", lambda row: f"{row['tokens_ratio']:.2f}" if row["tokens_ratio"] else "")
        )
    columns.append(_Column(f"over {results['baseline']}", lambda row: _difference(row["comparison"])))
    columns.append(_Column("p", lambda row: _p_value(row["comparison"], "p_value")))
    columns.append(_Column("p, Holm", lambda row: _p_value(row["comparison"], "p_holm")))
    if any(_remark(row) for row in _rows(results)):
        columns.append(_Column("remarks", _remark))
    return columns


def _metric_names(results: Mapping[str, Any], *, hidden: bool) -> list[str]:
    """Names of all metrics that an arm has: other measures first, then those of the log."""
    names = list(dict.fromkeys(name for arm in results["arms"].values() for name in arm["metrics"]))
    measures = [name for name in names if name not in _FIXED_ORDER]
    ordered = [*measures, *(name for name in _FIXED_ORDER if name in names)]
    return [name for name in ordered if not (hidden and (name in _HIDDEN or name.endswith(" before")))]


def _metric_column(name: str) -> _Column:
    if name in _WHOLE:
        return _Column(name, lambda row: _plain(row, name, ",.0f"))
    if name in ("zero-variance groups", "groups kept"):
        return _Column(name, lambda row: _plain(row, name, ".2f"))
    return _Column(name, lambda row: _mean(row, name))


def _plain(row: Mapping[str, Any], name: str, form: str) -> str:
    value = row["metrics"].get(name)
    return format(value["estimate"], form) if value else ""


def _mean(row: Mapping[str, Any], name: str) -> str:
    value = row["metrics"].get(name)
    return interval_text(value, ".3f") if value else ""


def _difference(comparison: Mapping[str, Any] | None) -> str:
    return interval_text(comparison["difference"], "+.3f") if comparison and comparison["difference"] else ""


def _p_value(comparison: Mapping[str, Any] | None, key: str) -> str:
    value: float | None = comparison[key] if comparison else None
    if value is None:
        return ""
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _seeds(row: Mapping[str, Any]) -> int:
    return sum(seed["numbers"] is not None for seed in row["seeds"])


def _remark(row: Mapping[str, Any]) -> str:
    """What keeps a row from being read like the others: a failure, an early stop, a comparison that cannot be made."""
    failed = [seed for seed in row["seeds"] if seed["failure"]]
    reason = (row["comparison"] or {}).get("reason")
    found = sorted({code for seed in row["seeds"] for code in seed["reasons"]})
    parts = [f"failed under {len(failed)} seeds: {_first_words(failed[0]['failure'])}"] if failed else []
    parts += [row["stopped"]] if row["stopped"] else []
    parts += [reason] if reason and not failed else []
    return "; ".join([*parts, *found])


def _first_words(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def sweep_notes(results: Mapping[str, Any]) -> Iterator[str]:
    """What the numbers are, as sentences."""
    several = len(results["seeds"]) > 1
    over = "over seeds (Student's t)" if several else "of one seed"
    yield (
        f"Means {over}, with 95 % intervals; differences to {results['baseline']} are paired by seed and by held-out problem, "
        f"p-values adjusted by Holm's method over {_count(results['comparisons'])}."
    )
    equal, budget = results["equal"], results.get("budget")
    if equal == "tokens":
        yield (
            f"Equal tokens: every run stops at {budget:,} where its method counts them." if budget else "Equal tokens."
        )
    elif equal != "none":
        yield f"Equal {equal}."


def _count(comparisons: Sequence[Mapping[str, Any]]) -> str:
    number = sum(row["p_value"] is not None for row in comparisons)
    return "1 comparison" if number == 1 else f"{number} comparisons"


def _piped(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '&#124;').replace(chr(10), ' ') for cell in cells)} |"


def _tex(text: str) -> str:
    return "".join(_TEX.get(sign, sign) for sign in text)
