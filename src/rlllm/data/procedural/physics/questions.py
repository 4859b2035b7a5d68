"""Questions about a scene: forward, reverse, symbolic, and what a motion is like (its trajectory, or its formula).

Every question carries the columns that the reward `physics` reads. A forward question asks what follows, a reverse one hides a
given number and tells what follows instead, a symbolic one asks for the formula. These three are the kinds of Sim2Reason
(arXiv 2604.11805); the two about a motion are ours.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rlllm.data.procedural.physics.scene import TIME, Quantity, Scene, Setup
from rlllm.data.procedural.physics.shortcuts import recovered, shortcut
from rlllm.parsing.formulas import Formula, formula_of, read_formula

_HIDDEN_TOLERANCE = 0.01
"""How far, as a share, the hidden number may be from what the rounded number of the question gives."""
_MOMENTS = 4
"""Times of a trajectory that are asked for, the start included."""
_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Question:
    """One question: its text, the right answer, and a solution that ends in it.

    Args:
        key: decides the split; holds the numbers of the scene and no wording, so that all questions about it are in one split.
        meta: the columns that the reward reads.
    """

    key: str
    prompt: str
    answer: str
    solution: str
    meta: Mapping[str, Any] = field(default_factory=dict)


def forward(scene: Scene, generator: random.Random, *, short: bool) -> Question | None:
    """What follows from the numbers; None where a shortcut answers it."""
    asked = generator.choice(scene.setup.symbols_asked)
    if shortcut(scene, asked):
        return None
    quantity, value = scene.quantities[asked], scene.values[asked]
    told = {symbol: scene.stated(symbol) for symbol in scene.given}
    return Question(
        key=_key(scene),
        prompt=_short(told, asked) if short else f"{scene.story({})} {_find(quantity)}",
        answer=quantity.stated(value),
        solution=f"{_steps(scene, asked, short=short)}\n\\boxed{{{quantity.stated(value)}}}",
        meta=_columns(scene, asked, quantity, value, "forward"),
    )


def reverse(scene: Scene, generator: random.Random, *, short: bool) -> Question | None:
    """What a hidden number was; None where a shortcut answers it, or the number told leaves it open."""
    setup = scene.setup
    hidden, known = generator.choice(setup.hidden), generator.choice(setup.symbols_asked)
    quantity, told = scene.quantities[known], scene.stated(known)
    rounded = float(told.split(" ")[0]) * quantity.factor
    value = scene.given[hidden]
    found = recovered(scene, hidden, known, rounded) if value else None
    if found is None or abs(found - value) > _HIDDEN_TOLERANCE * abs(value) or shortcut(scene, known, hidden):
        return None
    rest = {symbol: scene.stated(symbol) for symbol in scene.given if symbol != hidden}
    asked = scene.quantities[hidden]
    result = f"It is found that {known}, {quantity.meaning}, is {told}."
    inverse = setup.inverses.get(hidden)
    steps = (
        _worked(scene, hidden, read_formula(inverse), short=short) if inverse else "; ".join(setup.laws) + f": {hidden}"
    )
    return Question(
        key=_key(scene),
        prompt=_short({known: told, **rest}, hidden)
        if short
        else f"{scene.story({hidden: f'{hidden} = ?'})} {result} {_find(asked)}",
        answer=asked.stated(value),
        solution=f"{steps}\n\\boxed{{{asked.stated(value)}}}",
        meta=_columns(scene, hidden, asked, value, "reverse"),
    )


def symbolic(setup: Setup, asked: str, *, short: bool) -> Question:
    """What follows, as a formula of what is given."""
    form = setup.closed_forms[asked]
    symbols = [part.quantity.symbol for part in setup.given if part.quantity.symbol in form.names]
    request = f"Give {asked}, {setup.quantities[asked].meaning}, as a formula of {', '.join(symbols)}, in \\boxed{{}}."
    return Question(
        key=f"physics {setup.family} {setup.level} symbolic {asked}",
        prompt=f"{', '.join(symbols)}. {asked}=?" if short else f"{_without_numbers(setup)} {request}",
        answer=str(form),
        solution=f"\\boxed{{{form}}}",
        meta={
            "family": setup.family,
            "kind": "symbolic",
            "expr": str(form),
            "symbols": symbols,
            "laws": list(setup.laws),
        },
    )


def trajectory(scene: Scene, _: random.Random, *, short: bool) -> Question | None:
    """The states at some times; None where nothing moves, or nothing is conserved that would check it."""
    motion = scene.motion
    if motion is None or motion.conserved is None:
        return None
    times = [round(scene.duration * step / (_MOMENTS + 0.5), 3) for step in range(_MOMENTS)]
    symbols = [quantity.symbol for quantity in motion.quantities]
    states = scene.trajectory(times)
    lines = "\n".join(
        ", ".join(f"{state[symbol] + 0.0:.{_DIGITS}g}" for symbol in (TIME, *symbols)) for state in states
    )
    named = [f"{quantity.symbol} ({quantity.meaning})" for quantity in motion.quantities]
    request = (
        f"Give {', '.join(named)} at {', '.join(f'{time:g} s' for time in times)}: in \\boxed{{}}, one line for each time, "
        f"with the numbers of {', '.join((TIME, *symbols))} in SI units and commas between them."
    )
    columns = {
        "columns": [TIME, *symbols],
        "given": dict(scene.given),
        "conserved": motion.conserved,
        "states": states,
    }
    return Question(
        key=_key(scene),
        prompt=" ".join(filter(None, (scene.story({}), motion.begin, request))),
        answer=lines,
        solution=f"\\boxed{{{lines}}}",
        meta={"family": scene.family, "kind": "trajectory", "laws": list(scene.laws), "trajectory": columns},
    )


def motion(setup: Setup) -> Question | None:
    """The formula of a motion in time; None where there is no equation of motion, or no closed form of it."""
    if setup.motion is None or setup.motion.equation is None or not setup.motion.states:
        return None
    symbol, order, right = setup.motion.equation
    form = read_formula(setup.motion.states[symbol])
    given = [part.quantity.symbol for part in setup.given if part.quantity.symbol != TIME]
    symbols = [name for name in (*given, TIME) if name in form.names]
    quantity = next(part for part in setup.motion.quantities if part.symbol == symbol)
    request = (
        f"Give {symbol}, {quantity.meaning}, as a formula of {', '.join(symbols)}, with t for the time, in \\boxed{{}}."
    )
    return Question(
        key=f"physics {setup.family} {setup.level} motion {symbol}",
        prompt=" ".join(filter(None, (_without_numbers(setup), setup.motion.begin, request))),
        answer=str(form),
        solution=f"\\boxed{{{form}}}",
        meta={
            "family": setup.family,
            "kind": "motion",
            "expr": str(form),
            "symbols": symbols,
            "laws": list(setup.laws),
            "equation": {"symbol": symbol, "order": order, "right": right},
        },
    )


MAKERS: Mapping[str, Callable[..., Question | None]] = {
    "forward": forward,
    "reverse": reverse,
    "trajectory": trajectory,
}
"""Kind of question about a scene with numbers -> its maker from the scene, a generator and whether the text is short."""


def _columns(scene: Scene, symbol: str, quantity: Quantity, value: float, kind: str) -> dict[str, Any]:
    form = scene.closed_form(symbol)
    return {
        "family": scene.family,
        "kind": kind,
        "gold": value / quantity.factor,
        "unit": quantity.unit,
        "expr": None if form is None else str(form),
        "symbols": list(scene.given),
        "laws": list(scene.laws),
    }


def _key(scene: Scene) -> str:
    numbers = " ".join(f"{symbol}={scene.stated(symbol)}" for symbol in scene.given)
    return f"physics {scene.family} {scene.level} {numbers}"


def _without_numbers(setup: Setup) -> str:
    return setup.story.format(**{part.quantity.symbol: part.quantity.symbol for part in setup.given})


def _short(told: Mapping[str, str], asked: str) -> str:
    """`a=3 m/s^2, t=2 s. v?`"""
    return f"{', '.join(f'{symbol}={text}' for symbol, text in told.items())}. {asked}?"


def _find(quantity: Quantity) -> str:
    unit = "the number and its unit" if quantity.unit else "the number"
    return f"Find {quantity.symbol}, {quantity.meaning}. Give {unit} in \\boxed{{}}."


def _steps(scene: Scene, asked: str, *, short: bool) -> str:
    """One line for each closed form on the way to what is asked."""
    needed = {asked}
    lines: list[str] = []
    for part in reversed(scene.setup.sought):
        symbol = part.quantity.symbol
        if symbol in needed:
            if part.formula is None:
                return f"By steps of the Runge-Kutta method: {'; '.join(_rates(scene))}"
            form = read_formula(part.formula)
            needed |= form.names
            lines.insert(0, _worked(scene, symbol, form, short=short))
    return "\n".join(lines)


def _rates(scene: Scene) -> list[str]:
    assert scene.motion is not None
    return [f"d{symbol}/dt = {read_formula(rate)}" for symbol, rate in scene.motion.rates.items()]


def _worked(scene: Scene, symbol: str, form: Formula, *, short: bool) -> str:
    """The formula, with numbers in place of names where the text is short, and its value: `v=a*t=3*2=6`."""
    quantity = scene.quantities[symbol]
    number = quantity.stated(scene.values[symbol]).split(" ")[0]
    if not short:
        return f"{symbol} = {form} = {number} {quantity.unit}".rstrip()
    numbers = {name: read_formula(scene.stated(name).split(" ")[0]) for name in form.names}
    filled = formula_of(form.with_replaced(numbers).tree)
    return f"{symbol}={form}={filled}={number}".replace(" ", "")
