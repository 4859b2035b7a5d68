"""Numbers, durations and settings as plain text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"


def is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def number(value: float | None, digits: int = 3) -> str:
    """Three significant digits at most, thousands separated; very large and very small ones as powers of ten."""
    if value is None:
        return DASH
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("∞" if value > 0 else f"{MINUS}∞")
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e6 or size < 1e-3:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return _minus(f"{_trimmed(mantissa)}e{int(exponent)}")
    if float(value).is_integer() or size >= 10**digits:
        return _minus(f"{value:,.0f}")
    decimals = max(0, digits - 1 - math.floor(math.log10(size)))
    return _minus(_trimmed(f"{value:,.{decimals}f}"))


def fixed(value: float | None, decimals: int = 2, *, signed: bool = False) -> str:
    """With a fixed number of decimals, so that a column lines up."""
    if value is None or not math.isfinite(value):
        return number(value)
    shown = f"{value:+.{decimals}f}" if signed else f"{value:.{decimals}f}"
    return _minus(shown if float(shown) != 0 else f"{0:.{decimals}f}")


def labels(marks: Sequence[float]) -> list[str]:
    """Tick marks with one common number of decimals, as few as tell them apart."""
    step = marks[1] - marks[0] if len(marks) > 1 else 1.0
    if max(abs(marks[0]), abs(marks[-1])) >= 1e6 or step < 1e-3:
        return [number(mark) for mark in marks]
    decimals = len(f"{step:.6f}".rstrip("0").partition(".")[2])
    return [_minus(f"{mark:,.{decimals}f}") for mark in marks]


def change(first: float, last: float) -> tuple[str, str]:
    """Two values of one quantity with the same number of decimals, three significant digits for the larger."""
    largest = max(abs(first), abs(last))
    if not 1e-3 <= largest < 1e6:
        return number(first), number(last)
    decimals = max(0, 2 - math.floor(math.log10(largest)))
    return _minus(f"{first:,.{decimals}f}"), _minus(f"{last:,.{decimals}f}")


def p_value(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def crossover(value: Mapping[str, Any] | None) -> str | None:
    """From how many samples on the first model overtakes the second: `8 [4, 16]`, `none up to 32`; None where unknown."""
    if not value:
        return None
    if value.get("estimate") is None:
        return f"none up to {value.get('up_to')}"
    low, high = (value.get(bound) or "?" for bound in ("low", "high"))
    return f"{value['estimate']} [{low}, {high}]"


def duration(seconds: float | None) -> str:
    """`8.2 s`, `3 min 05 s`, `2 h 14 min`."""
    if seconds is None or not math.isfinite(seconds):
        return DASH
    if seconds < 59.95:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def count(amount: int, singular: str, plural: str = "") -> str:
    return f"{amount:,} {singular if amount == 1 else plural or singular + 's'}"


def shortened(value: str, limit: int = 1600) -> str:
    """At most `limit` characters, and how many more there were."""
    if len(value) <= limit:
        return value
    return f"{value[:limit].rstrip()}\n… and {len(value) - limit:,} more characters"


def named(value: Any) -> str:
    """A setting that may be a name, a mapping with a name, or a list of either: `exact, format` (with weights)."""
    if isinstance(value, list | tuple):
        return ", ".join(named(part) for part in value)
    if not isinstance(value, Mapping):
        return str(value)
    shown = str(value.get("name", "")) or ", ".join(f"{key} {part}" for key, part in value.items())
    weight, level, rows = value.get("weight"), value.get("level"), value.get("rows")
    if is_number(weight) and weight != 1:
        shown += f" {TIMES} {number(weight)}"
    if level is not None:
        shown += f", level {level}"
    if is_number(rows):
        shown += f", {count(int(rows), 'row')}"
    return shown


def _trimmed(shown: str) -> str:
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def _minus(shown: str) -> str:
    return shown.replace("-", MINUS)
