r"""Numbers as people write them, read exactly.

Integers and decimals with separators of thousands, fractions, mixed numbers, repeating decimals, powers of ten, percentages,
money, number words, and a unit behind the number. Each is a fraction; nothing is rounded on the way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from rlllm.parsing.answer_text import plain_answer, without_text_macros
from rlllm.parsing.expressions import ExpressionError, evaluate
from rlllm.parsing.units import NO_UNIT, Unit, read_unit, unit_ratio

_LONGEST = 200
_LARGEST_EXPONENT = 4000


@dataclass(frozen=True, slots=True)
class Number:
    """A number as written: of a percentage, the number before the sign."""

    value: Fraction
    percent: bool = False
    unit: Unit = NO_UNIT
    literal: bool = False
    """Written as a decimal with a point, and so possibly rounded."""

    @property
    def share(self) -> Fraction:
        return self.value / 100 if self.percent else self.value


def comparable_values(number: Number, reference: Number) -> list[tuple[Fraction, Fraction]]:
    """Pairs of values one of which must be equal for `number` to be the reference; none where the units differ.

    Units are converted. A percentage beside a plain number counts as the share, and as written: 50 % is 0.5, and 50. Where the
    reference is between -1 and 1, only the share counts: 0.5 % is not 0.5.
    """
    if number.percent == reference.percent and (number.unit is NO_UNIT or reference.unit is NO_UNIT):
        return [(number.value, reference.value)]
    ratio = unit_ratio(number.unit, reference.unit)
    if ratio is None:
        return []
    pairs = [(number.share * ratio, reference.share)]
    if number.percent == reference.percent:
        return pairs
    if reference.percent or abs(reference.value) > 1 or not reference.value:
        pairs.append((number.value * ratio, reference.value))
    return pairs


@lru_cache(maxsize=16384)
def read_number(text: str) -> Number | None:
    """The one number that `text` states, the right side of an equation if it is one; None if there is none, or more."""
    if match := _SIMPLE.fullmatch(text):
        dollars, digits, decimals = match.groups()
        unit = _DOLLARS if dollars else NO_UNIT
        if decimals is None:
            return Number(Fraction(int(digits.replace(",", ""))), unit=unit)
        return Number(_decimal(digits + decimals), unit=unit, literal=True)
    if len(text) > _LONGEST:
        return None
    plain = plain_answer(text)
    if not any(character.isdigit() for character in plain) and not _CAN_BE_WORDS.search(plain):
        return None
    return _read(_spelled(plain))


_SIMPLE = re.compile(r"(\\?\$)?(-?[0-9]{1,40}|[0-9]{1,3}(?:,[0-9]{3})+)(\.[0-9]{1,40})?")
_DOLLARS = read_unit("$") or NO_UNIT
_CAN_BE_WORDS = re.compile(r"[a-zA-Z]{3}|[\u00bc-\u00be\u2150-\u215e]")
_FRACTION_SIGNS = {
    "\u00bd": "1/2", "\u00bc": "1/4", "\u00be": "3/4", "\u2153": "1/3", "\u2154": "2/3", "\u2155": "1/5", "\u2156": "2/5",
    "\u2157": "3/5", "\u2158": "4/5", "\u2159": "1/6", "\u215a": "5/6", "\u215b": "1/8", "\u215c": "3/8", "\u215d": "5/8",
    "\u215e": "7/8", "\u2150": "1/7", "\u2151": "1/9", "\u2152": "1/10",
}  # fmt: skip
_SUPERSCRIPTS = str.maketrans("\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b", "0123456789-")
_SUPERSCRIPT = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207b]+")
_RELATION = re.compile(
    r"[<>\u2260\u2264\u2265\u226a\u226b\u2248]|!=|\\(?:ne|neq|not|lt|gt|le|ge|leq|geq|leqslant|geqslant|pm|mp|in)(?![a-zA-Z])|\u00b1"
)
_FORMULA = re.compile(r"\d\s*[a-zA-Z(\\]|[a-zA-Z)}]\s*[-+*/^]|[-+*/]\s*[a-zA-Z]|=.*[a-zA-Z]")
"""A left side that is more than a name or a sum of numbers: of `2x = 10` the right side is no answer."""


def answer_key(answer: str) -> object:
    """What two final answers have in common exactly where they count as one: the number, or else the text up to blanks.

    For votes: 1/2, 0.5 and \\frac{1}{2} are one answer, 50 % is another.
    """
    number = read_number(answer)
    return (number.value, number.percent) if number else " ".join(plain_answer(answer).split())


def _holds(left: str, right: str) -> bool:
    """Whether an equation of sums of numbers is true; any other is taken as it stands (`x = 5`)."""
    try:
        values = [evaluate(side)[0] for side in (*left.split("="), right)]
    except ExpressionError:
        return True
    return len(set(values)) == 1


_APPROXIMATELY = re.compile(
    r"(?:approximately|approx\.?|about|around|roughly|circa|exactly|\\(?:approx|sim|simeq)(?![a-zA-Z])|[~\u2248\u223c])\s*",
    re.IGNORECASE,
)
_CURRENCY = re.compile(
    r"(?P<sign>[-+]?)\s*(?:(?P<unit>(?:US|A|C|NZ|HK)?\\?\$|[\u20ac\u00a3\u00a5\u20b9]|\\(?:pounds|euro)(?![a-zA-Z])"
    r"|(?:USD|EUR|GBP|JPY|INR|RMB|CNY|Rs\.?)(?=[\s\d]))\s*)(?P<inner>[-+]?)"
)


def _spelled(plain: str) -> str:
    """With signs for fractions, powers and multiplication as ASCII, and text macros as their words with a blank before."""
    if not plain.isascii():
        plain = re.sub(f"[{''.join(_FRACTION_SIGNS)}]", lambda match: f" {_FRACTION_SIGNS[match.group()]}", plain)
        plain = _SUPERSCRIPT.sub(lambda match: f"^{{{match.group().translate(_SUPERSCRIPTS)}}}", plain)
        plain = plain.replace("\u00d7", "\\times ").replace("\u2044", "/")
    text = without_text_macros(plain.replace("\\text", " \\text")) if "\\text" in plain else plain
    return re.sub(r"(\d)\{,\}(?=\d{3}(?!\d))", r"\1,", text).strip(" *")


def leading_number(text: str) -> tuple[Fraction, str] | None:
    """The number that `text` states and what stands behind it, of `v = 3.6 m/s` 18/5 and `m/s`; None where it states none.

    As `read_number`, but the rest may be anything: whether it is a unit is for the caller to say.
    """
    if len(text) > _LONGEST:
        return None
    side = _stated_side(_spelled(plain_answer(text)))
    if side is None:
        return None
    signed = re.match(r"[-+]?\s*", side)
    assert signed is not None
    value = _leading_value(side[signed.end() :])
    if value is None:
        return None
    amount, rest, _ = value
    return (-amount if side.startswith("-") else amount), rest.strip()


def _stated_side(text: str) -> str | None:
    """The text without words such as "about", of an equation the right side; None where it is a relation or a formula."""
    approximate = _APPROXIMATELY.match(text)
    text = text[approximate.end() :] if approximate else text
    if _RELATION.search(text):
        return None
    left, equals, text = text.rpartition("=")
    if equals and _FORMULA.search(re.sub(r"\\(?:times|cdot|div)(?![a-zA-Z])", "*", left)):
        return None
    if equals and not _holds(left, text):
        return None
    text = text.strip(" *")
    approximate = _APPROXIMATELY.match(text)
    return text[approximate.end() :] if approximate else text


def _read(text: str) -> Number | None:
    side = _stated_side(text)
    if side is None:
        return None
    text = side
    money = _CURRENCY.match(text)
    sign, unit = "", NO_UNIT
    if money:
        sign, currency = money["sign"] + money["inner"], money["unit"].strip()
        unit = read_unit(currency.removeprefix("US").lstrip("\\") or currency) or NO_UNIT
        text = text[money.end() :]
    elif signed := re.match(r"[-+]\s*", text):
        sign, text = signed.group().strip(), text[signed.end() :]
    if len(sign) > 1:
        return None
    return _behind_sign(text, sign, unit)


def _behind_sign(text: str, sign: str, unit: Unit) -> Number | None:
    value = _leading_value(text) or _leading_words(text)
    if value is None:
        return None
    amount, rest, literal = value
    amount = -amount if sign == "-" else amount
    if magnitude := _MAGNITUDE.match(rest):
        amount *= _MAGNITUDES[magnitude["word"].lower().removesuffix("s")]
        rest, literal = rest[magnitude.end() :], False
    percent = _PERCENT.match(rest)
    if percent:
        rest = rest[percent.end() :]
    elif rest[:1].isalpha() and not _attached(rest):
        return None
    behind = read_unit(rest)
    if behind is None or (percent and behind.dimensions):
        return None
    if not unit.empty:
        behind = _priced(unit, behind)
        if behind is None:
            return None
    return Number(amount, percent is not None, NO_UNIT if percent else behind, literal)


def _priced(money: Unit, behind: Unit) -> Unit | None:
    """The unit of an amount of money: `$7`, `$7 dollars`, `$7/hour`; None where another unit follows."""
    if not behind.dimensions or behind.dimensions == money.dimensions:
        return money
    if any(power > 0 for _, power in behind.dimensions):
        return None
    return Unit(money.dimensions | behind.dimensions, money.factor * behind.factor, behind.nouns)


_MAGNITUDES = {
    "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12, "k": 1000,
    "mn": 10**6, "bn": 10**9, "lakh": 10**5, "crore": 10**7, "mio": 10**6,
}  # fmt: skip
_MAGNITUDE = re.compile(
    rf"[\s-]*(?P<word>(?:{'|'.join(_MAGNITUDES)})s?)(?![a-zA-Z])(?:\s+of(?![a-zA-Z]))?", re.IGNORECASE
)
_PERCENT = re.compile(r"\s*(?:\\?%|(?:percent|per\s+cent|pct)\b\.?)", re.IGNORECASE)
_ORDINAL = re.compile(r"(?:st|nd|rd|th)(?![a-zA-Z])", re.IGNORECASE)


def _attached(rest: str) -> bool:
    """Whether letters without a blank before them can be a unit (5kg, 5apples); 5x and 2nd are none."""
    word = re.match(r"[^\W\d_]+", rest)
    if word is None or _ORDINAL.match(rest) or len(word.group()) < 2:
        return False
    unit = read_unit(word.group())
    return unit is not None and (not unit.nouns or len(word.group()) > 2)


_GROUPED = r"\d{1,3}(?:,\d{3})+(?!,?\d)(?:\.\d+)?|\d{1,2}(?:,\d{2})+,\d{3}(?!,?\d)(?:\.\d+)?"
_SPACED = r"\d{1,3}(?: \d{3})+(?!\d)(?:\.\d+)?|\d{1,3}(?:'\d{3})+(?!\d)(?:\.\d+)?"
_DOTTED = r"\d{1,3}(?:\.\d{3}){2,}(?![\d.])(?:,\d+)?|\d{1,3}(?:\.\d{3})+,\d+"
_COMMA = r"\d+\{,\}\d+"
_DECIMAL = rf"{_GROUPED}|{_SPACED}|{_DOTTED}|{_COMMA}|\d+(?:\.\d*)?|\.\d+"
_REPEATING = (
    r"(?P<before>\d*)\.(?P<fixed>\d*)(?:\\(?:overline|bar|overbar)\s*\{(?P<bar>\d+)\}|\((?P<round>\d+)\)|\\(?:dot|overline|bar)\s*(?P<one>\d)"
    r"|\\dot\s*\{(?P<dot>\d)\}(?:(?P<mid>\d*)\\dot\s*\{(?P<last>\d)\})?)(?:\s*\\?\.\.\.|\s*\\[lc]?dots)?"
)
_POWER = r"10\s*\^\s*(?:\{\s*(?P<braced>[-+]?\s*\d+)\s*\}|\(\s*(?P<bracketed>[-+]?\d+)\s*\)|(?P<bare>[-+]?\d+))"
_PATTERNS = {
    "repeating": re.compile(_REPEATING),
    "endless": re.compile(
        r"(?P<before>\d*)\.(?P<fixed>\d*?)(?P<digit>\d)(?P=digit){2,}\s*(?:\.\.\.|\u2026|\\[lc]?dots(?![a-zA-Z]))"
    ),
    "mixed": re.compile(
        r"(?P<whole>\d+)(?:\s*\\[dtc]?frac\s*(?:\{\s*(?P<a>\d+)\s*\}\s*\{\s*(?P<b>\d+)\s*\}|(?P<c>\d)\s*(?P<d>\d))"
        r"|(?:\s+|\s*-\s*|\s+and\s+)(?P<e>\d+)\s*/\s*(?P<f>\d+))"
    ),
    "fraction": re.compile(
        rf"\\[dtc]?frac\s*(?:\{{(?P<sa>\s*-?)\s*(?P<a>{_DECIMAL})\s*\}}\s*\{{(?P<sb>\s*-?)\s*(?P<b>{_DECIMAL})\s*\}}|(?P<c>\d)\s*(?P<d>\d)"
        r"|\{\s*(?P<e>\d+)\s*\}\s*(?P<f>\d)|(?P<g>\d)\s*\{\s*(?P<h>\d+)\s*\})"
    ),
    "slash": re.compile(rf"(?P<a>{_DECIMAL})\s*/\s*(?P<b>{_DECIMAL})(?![\d.])"),
    "scientific": re.compile(
        rf"(?P<a>{_DECIMAL})(?:[eE](?P<e>[-+]?\d+)|\s*(?:\\times|\\cdot|\\ast|[xX*\u00b7\u22c5])\s*{_POWER})(?!\d)"
    ),
    "power": re.compile(_POWER + r"(?!\d)"),
    "decimal": re.compile(rf"(?P<a>{_DECIMAL})(?!\d)"),
}


def _leading_value(text: str) -> tuple[Fraction, str, bool] | None:
    """(value, what stands behind it, whether it is a decimal literal) of a text that begins with a number."""
    for form, pattern in _PATTERNS.items():
        match = pattern.match(text)
        if match is None:
            continue
        try:
            value = _VALUES[form](match)
        except (ZeroDivisionError, ValueError):
            return None
        return None if value is None else (value, text[match.end() :], form == "decimal" and "." in match.group())
    return None


def _repeating(match: re.Match[str]) -> Fraction:
    period = (
        match["bar"] or match["round"] or match["one"] or f"{match['dot']}{match['mid'] or ''}{match['last'] or ''}"
    )
    fixed = Fraction(f"{match['before'] or 0}.{match['fixed'] or 0}")
    return fixed + Fraction(int(period), (10 ** len(period) - 1) * 10 ** len(match["fixed"]))


def _endless(match: re.Match[str]) -> Fraction:
    """`0.333...`: the last digit for ever."""
    fixed = Fraction(f"{match['before'] or 0}.{match['fixed'] or 0}")
    return fixed + Fraction(int(match["digit"]), 9 * 10 ** len(match["fixed"]))


def _mixed(match: re.Match[str]) -> Fraction | None:
    top, bottom = (
        int(match[first] or match[second] or match[third])
        for first, second, third in (("a", "c", "e"), ("b", "d", "f"))
    )
    return int(match["whole"]) + Fraction(top, bottom) if top < bottom else None


def _fraction(match: re.Match[str]) -> Fraction:
    top, bottom = (
        match["a"] or match["c"] or match["e"] or match["g"],
        match["b"] or match["d"] or match["f"] or match["h"],
    )
    value = _decimal(top) / _decimal(bottom)
    return -value if ((match["sa"] or "") + (match["sb"] or "")).count("-") == 1 else value


def _slash(match: re.Match[str]) -> Fraction:
    return _decimal(match["a"]) / _decimal(match["b"])


def _scientific(match: re.Match[str]) -> Fraction | None:
    power = _power(match, match["e"])
    return None if power is None else _decimal(match["a"]) * power


def _power(match: re.Match[str], written: str | None = None) -> Fraction | None:
    exponent = int((written or match["braced"] or match["bracketed"] or match["bare"]).replace(" ", ""))
    return Fraction(10) ** exponent if abs(exponent) <= _LARGEST_EXPONENT else None


def _decimal(digits: str) -> Fraction:
    digits = digits.replace(" ", "").replace("'", "")
    if "{,}" in digits:
        return Fraction(digits.replace("{,}", "."))
    if re.fullmatch(r"\d{1,3}(?:\.\d{3}){2,}", digits):
        return Fraction(digits.replace(".", ""))
    if re.fullmatch(r"\d{1,3}(?:\.\d{3})+,\d+", digits):
        return Fraction(digits.replace(".", "").replace(",", "."))
    digits = digits.replace(",", "").rstrip(".")
    return Fraction(int(digits)) if digits.isdigit() else Fraction(digits or "0")


_VALUES = {
    "repeating": _repeating,
    "endless": _endless,
    "mixed": _mixed,
    "fraction": _fraction,
    "slash": _slash,
    "scientific": _scientific,
    "power": _power,
    "decimal": lambda match: _decimal(match["a"]),
}
_SMALL_WORDS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen"""
_TENS_WORDS = "twenty thirty forty fifty sixty seventy eighty ninety"
_SMALL = {word: number for number, word in enumerate(_SMALL_WORDS.split())}
_SMALL |= {word: 10 * number for number, word in enumerate(_TENS_WORDS.split(), start=2)}
_LARGE = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}
_ANY_WORD = "|".join(sorted((*_SMALL, *_LARGE), key=len, reverse=True))
_WORD_NUMBER = re.compile(
    rf"(?:(?:{_ANY_WORD})\b(?:[\s-]+(?:and\s+(?=(?:{'|'.join(_SMALL)})\b))?)?)+",
    re.IGNORECASE,
)


def _leading_words(text: str) -> tuple[Fraction, str, bool] | None:
    """The same of a text that begins with a number in words: "twenty-one", "two hundred and five"."""
    match = _WORD_NUMBER.match(text)
    if match is None or not text[:1].isalpha():
        return None
    total = current = 0
    last = 0
    for word in re.findall(r"[a-z]+", match.group().lower()):
        if word in _LARGE:
            current = max(current, 1) * _LARGE[word]
            if _LARGE[word] >= 1000:
                total, current = total + current, 0
            last = 0
        elif word != "and":
            if last and not (last >= 20 and _SMALL[word] < 10):
                return None  # "three four" are two numbers
            current, last = current + _SMALL[word], _SMALL[word]
    return Fraction(total + current), " " + text[match.end() :], False
