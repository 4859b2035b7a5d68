"""Setups of a thin lens and of an ideal gas, levels 1 to 4: one lens, then two; one change of state, then two."""

from __future__ import annotations

from collections.abc import Sequence

from rlllm.data.procedural.physics.scene import Given, Quantity, Setup, Sought

_DIGITS = range(1, 10)


def _length(symbol: str, meaning: str) -> Quantity:
    return Quantity(symbol, meaning, "cm")


_FOCUS = Given(_length("f", "the focal length"), tuple(range(5, 31)))
_OBJECT = Given(_length("a", "the distance of the object"), tuple(range(10, 91)))
_HEIGHT = Given(_length("G", "the height of the object"), tuple(range(1, 11)))
_IMAGE = Sought(_length("b", "the distance of the image"), "a*f/(a - f)")
LENS = (
    Setup(
        "lens",
        1,
        "A lens enlarges an object with {G} by {M}.",
        (
            Given(Quantity("M", "the magnification", ""), _DIGITS),
            Given(_length("G", "the height of the object"), _DIGITS),
        ),
        (Sought(_length("B", "the height of the image"), "M*G"),),
        ("B/G = M",),
        hidden=("M", "G"),
        inverses={"M": "B/G", "G": "B/M"},
    ),
    Setup(
        "lens",
        2,
        "An object stands at {a} before a thin lens with {f}.",
        (_FOCUS, _OBJECT),
        (_IMAGE,),
        ("1/f = 1/a + 1/b",),
        hidden=("f", "a"),
        positive=("a - 1.2*f",),
    ),
    Setup(
        "lens",
        3,
        "An object with {G} stands at {a} before a thin lens with {f}; the image is real.",
        (_FOCUS, _OBJECT, _HEIGHT),
        (_IMAGE, Sought(_length("B", "the height of the image"), "G*b/a")),
        ("1/f = 1/a + 1/b", "B/b = G/a"),
        hidden=("G", "f"),
        asked=("B",),
        positive=("a - 1.2*f",),
    ),
    Setup(
        "lens",
        4,
        "An object stands at {a} before a thin lens with {f_1}; a second lens with {f_2} stands {d} behind the first.",
        (
            Given(_length("f_1", "the focal length of the first lens"), tuple(range(5, 21))),
            Given(_length("f_2", "the focal length of the second lens"), tuple(range(5, 21))),
            _OBJECT,
            Given(_length("d", "the distance between the lenses"), tuple(range(40, 101, 5))),
        ),
        (
            Sought(_length("b_1", "the distance of the first image from the first lens"), "a*f_1/(a - f_1)"),
            Sought(_length("a_2", "the distance of the first image from the second lens"), "d - b_1"),
            Sought(_length("b_2", "the distance of the last image from the second lens"), "a_2*f_2/(a_2 - f_2)"),
        ),
        ("1/f_1 = 1/a + 1/b_1", "b_1 + a_2 = d", "1/f_2 = 1/a_2 + 1/b_2"),
        hidden=("f_2",),
        asked=("b_2",),
        positive=("a - 1.2*f_1", "d - a*f_1/(a - f_1) - 1.2*f_2"),
    ),
)
_KILOPASCALS = tuple(range(80, 401, 20))
_LITRES = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)
_KELVINS = tuple(range(250, 601, 10))


def _pressure(symbol: str, meaning: str, numbers: Sequence[float] = _KILOPASCALS) -> Given:
    return Given(Quantity(symbol, meaning, "kPa"), numbers)


def _volume(symbol: str, meaning: str) -> Given:
    return Given(Quantity(symbol, meaning, "L"), _LITRES)


def _temperature(symbol: str, meaning: str) -> Given:
    return Given(Quantity(symbol, meaning, "K"), _KELVINS)


_START = (
    _pressure("p_1", "the pressure at the start"),
    _volume("V_1", "the volume at the start"),
    _temperature("T_1", "the temperature at the start"),
)
GAS = (
    Setup(
        "gas",
        1,
        "A gas under {p} expands by {V}.",
        (
            Given(Quantity("p", "the pressure", "Pa"), _DIGITS),
            Given(Quantity("V", "the growth of the volume", "m^3"), _DIGITS),
        ),
        (Sought(Quantity("W", "the work", "J"), "p*V"),),
        ("W/V = p",),
        hidden=("p", "V"),
        inverses={"p": "W/V", "V": "W/p"},
        whole=True,
    ),
    Setup(
        "gas",
        2,
        "An ideal gas at {p_1}, {V_1}, {T_1} is brought to {V_2} and {T_2}.",
        (*_START, _volume("V_2", "the volume at the end"), _temperature("T_2", "the temperature at the end")),
        (Sought(Quantity("p_2", "the pressure at the end", "kPa"), "p_1*V_1*T_2/(T_1*V_2)"),),
        ("p_1*V_1/T_1 = p_2*V_2/T_2",),
        hidden=("V_2", "T_2", "p_1"),
        positive=("abs(V_1 - V_2)", "abs(T_1 - T_2) - 20"),
    ),
    Setup(
        "gas",
        3,
        "An ideal gas at {p_1}, {V_1}, {T_1} expands at this temperature to {V_2}, and is then heated to {T_2} at this volume.",
        (*_START, _volume("V_2", "the volume at the end"), _temperature("T_2", "the temperature at the end")),
        (
            Sought(Quantity("p_2", "the pressure after the expansion", "kPa"), "p_1*V_1/V_2"),
            Sought(Quantity("p_3", "the pressure at the end", "kPa"), "p_2*T_2/T_1"),
            Sought(Quantity("W", "the work that the gas does", "J"), "p_1*V_1*ln(V_2/V_1)"),
        ),
        ("p_1*V_1 = p_2*V_2", "p_2/T_1 = p_3/T_2", "V_2 = V_1*exp(W/(p_1*V_1))"),
        hidden=("V_2", "p_1"),
        asked=("p_3",),
        positive=("V_2 - 1.2*V_1", "T_2 - T_1 - 20"),
    ),
    Setup(
        "gas",
        4,
        "An ideal gas with {gamma}, at {V_1} and {T_1}, expands to {V_2} without exchange of heat, and is then heated under "
        "the pressure that it has then, up to {V_3}.",
        (
            Given(Quantity("gamma", "the heat capacity ratio", ""), (1.4, 1.3, 1.67)),
            *_START[1:],
            _volume("V_2", "the volume between"),
            _volume("V_3", "the volume at the end"),
        ),
        (
            Sought(Quantity("T_2", "the temperature after the expansion", "K"), "T_1*(V_1/V_2)^(gamma - 1)"),
            Sought(Quantity("T_3", "the temperature at the end", "K"), "T_2*V_3/V_2"),
        ),
        ("(gamma - 1)*ln(V_2/V_1) = ln(T_1/T_2)", "V_2/T_2 = V_3/T_3"),
        hidden=("T_1", "V_3"),
        asked=("T_3",),
        positive=("V_2 - 1.2*V_1", "1 - V_2/(5*V_1)", "V_3 - 1.2*V_2"),
    ),
)
