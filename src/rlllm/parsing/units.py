"""Units behind a number: `m/s^2`, `square feet`, `dollars per hour`, `red apples`.

A unit is read into powers of base units and a factor, so that 5 m is 500 cm and is not 5 feet; a word that names no unit is a
noun. Words that change what the number says ("or more", "less than", "nearest") are no unit, and make the number unreadable.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

_Dimensions = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Unit:
    """Powers of base units, their factor, and the nouns beside them."""

    dimensions: frozenset[tuple[str, int]] = frozenset()
    factor: Fraction = Fraction(1)
    nouns: frozenset[str] = frozenset()

    @property
    def empty(self) -> bool:
        return not self.dimensions and not self.nouns


NO_UNIT = Unit()
_ONE = Fraction(1)


def unit_ratio(first: Unit, second: Unit) -> Fraction | None:
    """How many of `second` one of `first` is; None where the two measure different things. Without a unit on one side, 1."""
    if first.empty or second.empty:
        return _ONE
    if first.dimensions != second.dimensions:
        return None
    if first.nouns and second.nouns and not first.nouns & second.nouns:
        return None
    return first.factor / second.factor


@lru_cache(maxsize=4096)
def read_unit(text: str) -> Unit | None:
    """The unit that a text is, empty for blank text; None for anything that is not a unit or a noun."""
    if not text.strip():
        return NO_UNIT
    text = _FRACTION.sub(r"(\1)/(\2)", text)
    tokens = _TOKEN.findall(text)
    if "".join(tokens) != "".join(text.split()) or len(tokens) > _MOST_TOKENS or tokens[0] in _OPERATORS:
        return None
    if text.count("(") != text.count(")") or tokens[-1] in (*_OPERATORS, "/"):
        return None
    return _Reader(tokens).read()


_MOST_TOKENS = 24
_FRACTION = re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_TOKEN = re.compile(
    r"\^(?:\{-?\d\}|-?\d)|\\?\$|\\(?:degree|cdot|times|circ|Omega|mu|per)(?![a-zA-Z])|\^\s*\{?\\circ\}?[CF]?(?![a-zA-Z])"
    r"|\u00b0[CF]?(?![a-zA-Z])|[\u00a2\u20ac\u00a3\u00a5\u20b9\u5143]|[^\W\d_]+(?:'[^\W\d_]+)?\.?|[/*()\u00b7\u22c5,-]"
)
_PER = ("/", "per", "\\per", "each", "every")
_PREFIX_POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_SUFFIX_POWERS = {"squared": 2, "cubed": 3}
_OPERATORS = ("-", "*", ",", "\u00b7", "\u22c5", "\\cdot", "\\times")
_SKIPPED = {"*", "\u00b7", "\u22c5", "-", ",", "\\cdot", "\\times", "of", "the", "a", "an", "in"}
_NO_NOUN_WORDS = """
or and not no nor non less more least most fewer greater larger smaller higher lower than over under above below
beyond between minus plus to from if but half halves third thirds quarter quarters fourth fourths fifth fifths sixth
sixths eighth eighths tenth tenths hundredth hundredths thousandth thousandths maximum minimum max either neither
except within point base mod modulo choose factorial almost nearly up down off short st nd rd th ish never isn't
aren't don't cannot wrong incorrect instead root inf infinity pi sin cos tan log ln exp sqrt lim otherwise unless
maybe perhaps possibly dozen score hundred thousand million billion trillion lakh crore vs versus percent pct
"""
_NO_NOUNS = frozenset(_NO_NOUN_WORDS.split())
"""Words that compare, negate, choose or calculate: beside them a number is not what the text says."""


def _table(**entries: tuple[str, object, _Dimensions]) -> Iterator[tuple[str, tuple[Fraction, _Dimensions]]]:
    for names, factor, dimensions in entries.values():
        for name in names.split():
            yield name, (Fraction(str(factor)), dimensions)


_METRE, _SECOND, _KILOGRAM = {"m": 1}, {"s": 1}, {"kg": 1}
_UNITS: Mapping[str, tuple[Fraction, _Dimensions]] = dict(
    _table(
        metre=("m meter meters metre metres", 1, _METRE),
        km=("km kms kilometer kilometers kilometre kilometres", 1000, _METRE),
        cm=("cm cms centimeter centimeters centimetre centimetres", "0.01", _METRE),
        mm=("mm millimeter millimeters millimetre millimetres", "0.001", _METRE),
        um=("um \u00b5m \u03bcm micrometer micrometers micron microns", "0.000001", _METRE),
        nm=("nm nanometer nanometers nanometre nanometres", "0.000000001", _METRE),
        inch=("inch inches in.", "0.0254", _METRE),
        foot=("ft ft. foot feet", "0.3048", _METRE),
        yard=("yd yds yard yards", "0.9144", _METRE),
        mile=("mi mile miles", "1609.344", _METRE),
        second=("s sec secs second seconds", 1, _SECOND),
        ms=("ms millisecond milliseconds", "0.001", _SECOND),
        minute=("min mins minute minutes", 60, _SECOND),
        hour=("h hr hrs hour hours", 3600, _SECOND),
        day=("day days", 86400, _SECOND),
        week=("week weeks", 604800, _SECOND),
        month=("month months", 1, {"month": 1}),
        year=("year years yr yrs", 12, {"month": 1}),
        kg=("kg kgs kilogram kilograms kilo kilos", 1, _KILOGRAM),
        g=("g gram grams gm", "0.001", _KILOGRAM),
        mg=("mg milligram milligrams", "0.000001", _KILOGRAM),
        tonne=("tonne tonnes", 1000, _KILOGRAM),
        ton=("ton tons", 1, {"ton": 1}),
        pound=("lb lbs pound pounds", 16, {"ounce": 1}),
        ounce=("oz ounce ounces", 1, {"ounce": 1}),
        litre=("L l liter liters litre litres", "0.001", {"m": 3}),
        ml=("mL ml milliliter milliliters millilitre millilitres cc", "0.000001", {"m": 3}),
        gallon=("gal gallon gallons", 4, {"quart": 1}),
        quart=("qt quart quarts", 1, {"quart": 1}),
        hectare=("ha hectare hectares", 10000, {"m": 2}),
        acre=("acre acres", 1, {"acre": 1}),
        mph=("mph", "0.44704", {"m": 1, "s": -1}),
        kmh=("kph kmh kmph", Fraction(5, 18), {"m": 1, "s": -1}),
        newton=("N newton newtons", 1, {"kg": 1, "m": 1, "s": -2}),
        joule=("J joule joules", 1, {"kg": 1, "m": 2, "s": -2}),
        kilojoule=("kJ kilojoule kilojoules", 1000, {"kg": 1, "m": 2, "s": -2}),
        watt=("W watt watts", 1, {"kg": 1, "m": 2, "s": -3}),
        kilowatt=("kW kilowatt kilowatts", 1000, {"kg": 1, "m": 2, "s": -3}),
        pascal=("Pa pascal pascals", 1, {"kg": 1, "m": -1, "s": -2}),
        kilopascal=("kPa kilopascal kilopascals", 1000, {"kg": 1, "m": -1, "s": -2}),
        hertz=("Hz hertz", 1, {"s": -1}),
        volt=("V volt volts", 1, {"volt": 1}),
        ampere=("amp amps ampere amperes", 1, {"ampere": 1}),
        ohm=("ohm ohms \u03a9 \\Omega", 1, {"ohm": 1}),
        kelvin=("K kelvin kelvins", 1, {"kelvin": 1}),
        celsius=("celsius Celsius \u00b0C ^\\circC", 1, {"celsius": 1}),
        fahrenheit=("fahrenheit Fahrenheit \u00b0F ^\\circF", 1, {"fahrenheit": 1}),
        mole=("mol mole moles", 1, {"mole": 1}),
        degree=("\u00b0 deg degs degree degrees \\degree ^\\circ \\circ", 1, {"degree": 1}),
        radian=("rad rads radian radians", 1, {"radian": 1}),
        dollar=("$ \\$ usd USD dollar dollars Dollars", 100, {"cent": 1}),
        cent=("\u00a2 cent cents", 1, {"cent": 1}),
        euro=("\u20ac eur EUR euro euros", 1, {"euro": 1}),
        sterling=("\u00a3 gbp GBP", 1, {"sterling": 1}),
        yen=("\u00a5 jpy JPY yen", 1, {"yen": 1}),
        rupee=("\u20b9 inr INR rupee rupees Rs Rs.", 1, {"rupee": 1}),
        yuan=("\u5143 rmb RMB CNY cny yuan", 1, {"yuan": 1}),
    )
)


class _Reader:
    """One pass over the tokens of a unit."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._dimensions: dict[str, int] = {}
        self._factor = Fraction(1)
        self._nouns: set[str] = set()
        self._generic = False
        """The last word was "units", of which a power says nothing more."""
        self._last: tuple[Fraction, _Dimensions, int] | None = None

    def read(self) -> Unit | None:
        sign, prefix, depth_sign, inverted = 1, 1, 1, False
        for token, following in zip(self._tokens, [*self._tokens[1:], "^"], strict=True):
            if token == "in" and following.startswith("^"):
                token = "inch"
            word = token if token in _UNITS else token.rstrip(".").lower() if len(token) > 1 else token
            if word in _PER:
                sign, inverted = -1, True
            elif token == "(":
                depth_sign, sign = sign, depth_sign
                sign = depth_sign
            elif token == ")":
                sign = depth_sign = 1
            elif token.startswith("^") and "circ" not in token:
                if not self._raise(int(token.strip("^{}"))):
                    return None
            elif word in _PREFIX_POWERS:
                prefix = _PREFIX_POWERS[word]
            elif word in _SUFFIX_POWERS:
                if not self._raise(_SUFFIX_POWERS[word]):
                    return None
            elif word in ("unit", "units"):
                self._generic = True
            elif word in _SKIPPED and not (word in ("a", "an") and self._dimensions):
                continue
            elif word in ("a", "an"):
                sign, inverted = -1, True
            elif not self._take(token, word, sign * prefix):
                return None
            else:
                prefix = 1
                sign = depth_sign if depth_sign == -1 else 1
        return self._result(unfinished=inverted and self._last is None)

    def _take(self, token: str, word: str, power: int) -> bool:
        name = re.sub(r"[\s{}]", "", token)
        entry = _UNITS.get(name) or _UNITS.get(word)
        if entry is None:
            return self._take_noun(word)
        if "degree" in self._dimensions and name.lower() in ("celsius", "fahrenheit", "c", "f"):
            del self._dimensions["degree"]
        self._multiply(entry, power)
        self._last = (*entry, power)
        return True

    def _take_noun(self, word: str) -> bool:
        if len(word) < 2 or word in _NO_NOUNS or not word[0].isalpha():
            return False
        self._nouns.add(word.removesuffix("s") if len(word) > 3 and not word.endswith("ss") else word)
        self._last = None
        return True

    def _raise(self, power: int) -> bool:
        """Apply an exponent to the unit before it, which has been counted once."""
        if self._last is None:
            return self._generic and power in (2, 3)
        factor, dimensions, sign = self._last
        self._multiply((factor, dimensions), sign * (power - 1))
        self._last = None
        return True

    def _multiply(self, entry: tuple[Fraction, _Dimensions], power: int) -> None:
        factor, dimensions = entry
        self._factor *= factor**power
        for name, exponent in dimensions.items():
            self._dimensions[name] = self._dimensions.get(name, 0) + exponent * power

    def _result(self, *, unfinished: bool) -> Unit | None:
        if not self._nouns and not self._dimensions and (unfinished or not self._generic):
            return None
        dimensions = frozenset((name, power) for name, power in self._dimensions.items() if power)
        return Unit(dimensions, self._factor, frozenset(self._nouns))
