"""`Scene`: numbers for a setup of a family, and what follows from them by its laws.

A setup is text: what is given, what can be asked with its closed form, and the laws that tie both together. All values are in
SI base and derived units; texts state them in the setup's units (degrees, cm). A closed form comes from solving, a law is
written down as it stands in a textbook, so that the one can be checked against the other.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from rlllm.core.errors import DataError
from rlllm.parsing.formulas import Formula, read_formula

SI_FACTORS: Mapping[str, float] = {
    "deg": math.pi / 180, "cm": 0.01, "uF": 1e-6, "mF": 1e-3, "kohm": 1e3, "kPa": 1e3, "L": 1e-3,
}  # fmt: skip
"""Units of texts that are not 1 in SI; every other unit is."""
TIME = "t"
"""The name of the time in formulas of a motion."""
_DRAWS = 10_000
_STEPS = 400
"""Runge-Kutta steps from the start to any time; the error is below 1e-9 of the value for the scenes here."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a symbol stands for.

    Args:
        symbol: as written in texts and formulas, such as `v_0` or `theta`.
        meaning: in words, with an article.
        unit: as written in texts; empty for a bare number.
    """

    symbol: str
    meaning: str
    unit: str

    @property
    def factor(self) -> float:
        """SI units in one `unit`."""
        return SI_FACTORS.get(self.unit, 1.0)

    def stated(self, value: float, digits: int = 4) -> str:
        """An SI value as texts write it: `3 m/s`, with that many significant digits."""
        number = f"{value / self.factor:.{digits}g}"
        if "e" in number:
            number = f"{float(number):f}".rstrip("0").rstrip(".") if 1e-6 <= abs(float(number)) < 1e9 else number
        return f"{number} {self.unit}".rstrip()


@dataclass(frozen=True, slots=True)
class Given:
    """A quantity that a scene draws.

    Args:
        numbers: what is drawn from, in the unit of texts.
        absent: the number without the thing that has it (a body's mass, a resistor, friction); None where it is no thing.
    """

    quantity: Quantity
    numbers: Sequence[float]
    absent: float | None = None


@dataclass(frozen=True, slots=True)
class Sought:
    """A quantity that follows: `formula` over what is given and over what is sought before it.

    Args:
        formula: the closed form; None where `Motion.rates` has to be integrated up to the given time `t`.
    """

    quantity: Quantity
    formula: str | None


@dataclass(frozen=True, slots=True)
class Motion:
    """How the state changes with the time `t`.

    Args:
        quantities: what a state is made of.
        states: symbol -> closed form over the given and `t`; or, without one,
        rates: symbol -> its time derivative over the given and the state, for Runge-Kutta of order four,
        start: symbol -> formula at t = 0, with `rates`.
        duration: formula of the time that the motion lasts.
        conserved: formula over the given and a state that does not change.
        equation: (symbol, order, formula): that time derivative of the symbol, over the given, `t`, and the symbol itself.
        begin: a sentence about the start, where the story leaves it open.
    """

    quantities: Sequence[Quantity]
    states: Mapping[str, str] = field(default_factory=dict)
    rates: Mapping[str, str] = field(default_factory=dict)
    start: Mapping[str, str] = field(default_factory=dict)
    duration: str = "1"
    conserved: str | None = None
    equation: tuple[str, int, str] | None = None
    begin: str = ""


@dataclass(frozen=True, eq=False)
class Setup:
    """One kind of scene.

    Args:
        family, level: where it belongs.
        story: the situation; `{v}` stands where the text states a given quantity.
        given, sought: its quantities.
        laws: equations, `left = right`, over what is given and sought.
        hidden: given quantities that a reverse question may hide: what is asked determines each of them.
        asked: what may be asked; everything sought where None.
        positive: formulas that have to be above 0, or the numbers are drawn again.
        whole: every number sought is a whole one, or the numbers are drawn again.
        inverses: hidden quantity -> its formula over the others, where a solution shows it.
    """

    family: str
    level: int
    story: str
    given: Sequence[Given]
    sought: Sequence[Sought]
    laws: Sequence[str]
    hidden: Sequence[str]
    asked: Sequence[str] | None = None
    positive: Sequence[str] = ()
    whole: bool = False
    motion: Motion | None = None
    inverses: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def quantities(self) -> dict[str, Quantity]:
        """Symbol -> what it stands for: what is given, then what is sought."""
        quantities = [*(part.quantity for part in self.given), *(part.quantity for part in self.sought)]
        return {quantity.symbol: quantity for quantity in quantities}

    @cached_property
    def closed_forms(self) -> dict[str, Formula]:
        """What is sought -> its formula over what is given alone, where it has one."""
        forms: dict[str, Formula] = {}
        for part in self.sought:
            if part.formula is not None:
                forms[part.quantity.symbol] = read_formula(part.formula).with_replaced(forms)
        return forms

    @property
    def symbols_asked(self) -> tuple[str, ...]:
        """What may be asked."""
        return tuple(part.quantity.symbol for part in self.sought) if self.asked is None else tuple(self.asked)

    def draw(self, generator: random.Random) -> Scene:
        """A scene with numbers that fit. Raises DataError where none are found."""
        for _ in range(_DRAWS):
            values = {
                part.quantity.symbol: generator.choice(part.numbers) * part.quantity.factor for part in self.given
            }
            scene = Scene(self, values)
            if scene.is_possible:
                return scene
        raise DataError(f"no numbers fit a scene of {self.family}, level {self.level}", given=list(self.positive))


@dataclass(frozen=True)
class Scene:
    """A setup with numbers.

    Args:
        setup: the kind of scene.
        given: symbol -> value in SI units.
    """

    setup: Setup
    given: Mapping[str, float]

    @property
    def family(self) -> str:
        return self.setup.family

    @property
    def level(self) -> int:
        return self.setup.level

    @property
    def quantities(self) -> dict[str, Quantity]:
        """Symbol -> what it stands for: what is given, then what is sought."""
        return self.setup.quantities

    @property
    def laws(self) -> tuple[str, ...]:
        """Equations, `left = right`, that the scene obeys."""
        return tuple(self.setup.laws)

    @cached_property
    def values(self) -> dict[str, float]:
        """Symbol -> value in SI units, of all quantities.

        Raises:
            FormulaError: a closed form has no value for these numbers (the body does not move, there is no image).
        """
        values = dict(self.given)
        for part in self.setup.sought:
            symbol = part.quantity.symbol
            if part.formula is None:
                values[symbol] = self.state(values[TIME])[symbol]
            else:
                values[symbol] = read_formula(part.formula).value(values)
        return values

    @property
    def is_possible(self) -> bool:
        """Whether the numbers fit the setup."""
        try:
            if any(read_formula(text).value(self.given) <= 0 for text in self.setup.positive):
                return False
            sought = [(part.quantity, self.values[part.quantity.symbol]) for part in self.setup.sought]
        except ValueError:
            return False
        return not self.setup.whole or all(
            (value / quantity.factor).is_integer() and value > 0 for quantity, value in sought
        )

    def with_given(self, **values: float) -> Scene:
        """The same scene with other SI values of what is given. Raises DataError for a symbol that is not given."""
        for symbol in values:
            if symbol not in self.given:
                raise DataError(f"{self.family} is given no {symbol}", exists=list(self.given))
        return replace(self, given={**self.given, **values})

    def stated(self, symbol: str, digits: int = 4) -> str:
        """A quantity as texts write it: `3 m/s`."""
        return self.quantities[symbol].stated(self.values[symbol], digits)

    def closed_form(self, symbol: str) -> Formula | None:
        """What is sought as a formula over what is given alone; None where the motion has to be integrated."""
        return self.setup.closed_forms.get(symbol)

    def residual(self, **values: float) -> float:
        """The largest gap between the two sides of a law, relative to its largest term; `values` replace the scene's own."""
        known = {**self.values, **values}
        return max(law_gap(law, known) for law in self.laws)

    @property
    def motion(self) -> Motion | None:
        """How the scene's state changes with time; None where nothing moves."""
        return self.setup.motion

    @property
    def duration(self) -> float:
        """Seconds that the motion lasts; 0 where nothing moves."""
        return read_formula(self.motion.duration).value(self.values) if self.motion else 0.0

    def state(self, time: float) -> dict[str, float]:
        """Symbol -> SI value at a time in seconds after the start. Raises DataError where nothing moves."""
        motion = self.motion
        if motion is None:
            raise DataError(f"nothing moves in a scene of {self.family}, level {self.level}")
        if motion.states:
            known = {**self.given, TIME: time}
            return {symbol: read_formula(form).value(known) for symbol, form in motion.states.items()}
        start = {symbol: read_formula(form).value(self.given) for symbol, form in motion.start.items()}
        return _runge_kutta(motion.rates, self.given, start, time)

    def trajectory(self, times: Iterable[float]) -> list[dict[str, float]]:
        """The states at these times, each with its time under `t`."""
        return [{TIME: time, **self.state(time)} for time in times]

    def story(self, shown: Mapping[str, str]) -> str:
        """The situation; each given quantity as `shown` has it, else as `v = 3 m/s`."""
        texts = {symbol: f"{symbol} = {self.stated(symbol)}" for symbol in self.given}
        return self.setup.story.format(**{**texts, **shown})


def law_gap(law: str, values: Mapping[str, float]) -> float:
    """|left - right| of an equation over its largest term; 0 where all terms are 0. Raises FormulaError."""
    left, right = (read_formula(side) for side in law.split(" = "))
    # A side that is a difference of equals has rounding errors of the size of its terms, not of its own.
    scale = max(abs(term.value(values)) for term in (*left.terms(), *right.terms()))
    return abs(left.value(values) - right.value(values)) / scale if scale else 0.0


def _runge_kutta(
    rates: Mapping[str, str], given: Mapping[str, float], start: Mapping[str, float], time: float
) -> dict[str, float]:
    """The state at a time by the classical Runge-Kutta method of order four."""
    formulas = {symbol: read_formula(text) for symbol, text in rates.items()}
    step, state = time / _STEPS, dict(start)

    def slope(at: Mapping[str, float]) -> dict[str, float]:
        known = {**given, **at}
        return {symbol: formula.value(known) for symbol, formula in formulas.items()}

    def moved(by: float, slopes: Mapping[str, float]) -> dict[str, float]:
        return {symbol: value + by * slopes[symbol] for symbol, value in state.items()}

    for _ in range(_STEPS):
        first = slope(state)
        second = slope(moved(step / 2, first))
        third = slope(moved(step / 2, second))
        fourth = slope(moved(step, third))
        mean = {name: (first[name] + 2 * second[name] + 2 * third[name] + fourth[name]) / 6 for name in state}
        state = moved(step, mean)
    return state
