r"""A number with its unit: read from an answer, and compared with the right one by dimension and value.

Units are pint's, which knows how the units of electricity and heat hang together (V = J/C, ohm = V/A, K and degrees Celsius);
`parsing.units` reads the units of word problems, where dollars and apples count and a missing unit is no mistake.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from rlllm.parsing.answer_text import plain_characters, without_text_macros
from rlllm.parsing.numbers import leading_number

ABSOLUTE_FLOOR = 1e-9
"""What a value may differ by where the right one is 0, in the unit of the right one."""
_LONGEST_UNIT = 60
_UNIT = re.compile(r"[(A-Za-z%][A-Za-z0-9%*/^()_. -]*|1\s*/\s*[A-Za-z][A-Za-z0-9*/^() -]*")
_LARGE_POWER = re.compile(r"\d{2}|\*\*|\.\d|\^.?.?\^|\)\s*\^")
"""Exponents with more than one digit, broken ones and powers of powers: pint would work on some of them for ever."""
_SPELLINGS = (
    (re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}"), r"(\1)/(\2)"),
    (re.compile(r"\\(?:mathrm|textrm|rm|operatorname|si|unit)\b\s*"), ""),
    (
        re.compile(
            r"\^\s*\{?\\circ\}?\s*(?:\\?(?:mathrm|text)\s*)?\{?C\}?|\u00b0\s*C|\bdegrees? Celsius\b|\bcelsius\b"
        ),
        "degC",
    ),
    (re.compile(r"\^\s*\{?\\circ\}?|\\degree(?![a-zA-Z])|\u00b0"), "deg"),
    (re.compile(r"\\(?:cdot|times)(?![a-zA-Z])|[\u00b7\u22c5\u00d7]"), "*"),
    (re.compile(r"\\(?:Omega|ohm)(?![a-zA-Z])|[\u03a9\u2126]"), "ohm"),
    (re.compile(r"\\mu(?![a-zA-Z])\s*|[\u00b5\u03bc]"), "u"),
    (re.compile(r"\\[,;:! ]|~|[{}$]"), " "),
    (re.compile(r"\bper\b"), "/"),
    (re.compile(r"\s*\^\s*\(?\s*(-?)\s*(\d)\s*\)?"), r"^\1\2"),
    (re.compile(r"(?<=[A-Za-z])(-?\d)(?![\d^])"), r"^\1"),
)
"""LaTeX, signs and words -> the spelling that pint reads. Braces fall away last, so that `s^{-1}` keeps its exponent."""
_SUPERSCRIPTS = str.maketrans("\u2070\u00b9\u00b2\u00b3\u2074\u207b", "01234-")
_SUPERSCRIPT = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074\u207b]+")


@dataclass(frozen=True, slots=True)
class Reading:
    """A number as an answer states it, and its unit: None where it has none that can be read, 1 where it has none."""

    value: float
    unit: Any


def read_quantity(text: str) -> Reading | None:
    """The number and the unit that an answer states; None where it states no finite number."""
    found = leading_number(text)
    if found is None:
        return None
    number, rest = found
    try:
        value = float(number)
    except OverflowError:
        return None
    return Reading(value, read_unit(rest)) if math.isfinite(value) else None


@lru_cache(maxsize=4096)
def read_unit(text: str) -> Any:
    """pint's unit of a text, without one (blank) the dimensionless unit; None for anything else."""
    spelled = without_text_macros(plain_characters(text).strip())
    spelled = _SUPERSCRIPT.sub(lambda match: f"^{match.group().translate(_SUPERSCRIPTS)}", spelled)
    for pattern, replacement in _SPELLINGS:
        spelled = pattern.sub(replacement, spelled)
    spelled = " ".join(spelled.split()).rstrip(". ")
    if not spelled:
        return _registry().dimensionless
    if len(spelled) > _LONGEST_UNIT or not _UNIT.fullmatch(spelled) or _LARGE_POWER.search(spelled):
        return None
    try:
        return _registry().parse_units(spelled)
    except Exception:  # pint raises errors of its tokenizer and of Python's beside its own
        return None


@cache
def _registry() -> Any:
    """pint's units, read once; the import and the definitions take most of a second."""
    from pint import UnitRegistry

    return UnitRegistry(cache_folder=None)


def same_dimension(first: Any, second: Any) -> bool:
    """Whether two units have equal exponents of SI base units. None has none."""
    return first is not None and second is not None and first.dimensionality == second.dimensionality


def converted(reading: Reading, unit: Any) -> float | None:
    """The number in another unit of its dimension; None where it has none there."""
    try:
        value = float(_registry().Quantity(reading.value, reading.unit).to(unit).magnitude)
    except Exception:  # an offset unit in a product, or a number that overflows
        return None
    return value if math.isfinite(value) else None


def close(value: float, right: float, tolerance: float) -> bool:
    """|x - x*| <= tolerance |x*|, and within 1e-9 where x* is 0 (Sim2Reason, arXiv 2604.11805; the floor is ours)."""
    # The last bits of a conversion must not decide a number that is exactly at the limit.
    return abs(value - right) <= (tolerance * abs(right) * (1 + 1e-9) if right else ABSOLUTE_FLOOR)
