"""Setups of circuits: resistors in series and parallel, and the discharge of capacitors, levels 1 to 4."""

from __future__ import annotations

from collections.abc import Sequence

from rlllm.data.procedural.physics.scene import Given, Motion, Quantity, Setup, Sought

_DIGITS = range(1, 10)
_OHMS = (2, 3, 4, 5, 6, 8, 10, 12, 15, 18, 20, 24, 30)
_VOLTAGE = Given(Quantity("U", "the voltage of the battery", "V"), (3, 4.5, 6, 9, 12, 15, 18, 24))


def _resistance(symbol: str, which: str, numbers: Sequence[float] = _OHMS, unit: str = "ohm") -> Given:
    return Given(Quantity(symbol, f"the resistance of {which}", unit), numbers, absent=0)


def _current(symbol: str, meaning: str) -> Quantity:
    return Quantity(symbol, meaning, "A")


_R = Quantity("R", "the resistance of the whole circuit", "ohm")
_PAIR = "R_1*R_2/(R_1 + R_2)"
RESISTORS = (
    Setup(
        "resistors",
        1,
        "Resistors of {R_1} and {R_2} are in series.",
        (
            _resistance("R_1", "the first resistor", range(1, 50)),
            _resistance("R_2", "the second resistor", range(1, 50)),
        ),
        (Sought(_R, "R_1 + R_2"),),
        ("R - R_1 = R_2",),
        hidden=("R_1", "R_2"),
        whole=True,
        inverses={"R_1": "R - R_2", "R_2": "R - R_1"},
    ),
    Setup(
        "resistors",
        2,
        "Resistors of {R_1} and {R_2} are in parallel on a battery of {U}.",
        (_resistance("R_1", "the first resistor"), _resistance("R_2", "the second resistor"), _VOLTAGE),
        (Sought(_R, _PAIR), Sought(_current("I", "the current through the battery"), "U/R")),
        ("1/R = 1/R_1 + 1/R_2", "I = U/R_1 + U/R_2"),
        hidden=("R_1", "R_2"),
        asked=("I",),
    ),
    Setup(
        "resistors",
        3,
        "A resistor of {R_3} is in series with a pair in parallel, of {R_1} and {R_2}, on a battery of {U}.",
        (
            _resistance("R_1", "the first of the pair"),
            _resistance("R_2", "the second of the pair"),
            _resistance("R_3", "the resistor in series"),
            _VOLTAGE,
        ),
        (
            Sought(_R, f"R_3 + {_PAIR}"),
            Sought(_current("I", "the current through the battery"), "U/R"),
            Sought(Quantity("U_1", "the voltage over the pair", "V"), "U - I*R_3"),
            Sought(_current("I_1", "the current through the first of the pair"), "U_1/R_1"),
        ),
        ("U = I*R_3 + U_1", "I = U_1/R_1 + U_1/R_2", "U_1 = I_1*R_1", "I*R = U"),
        hidden=("U",),
        asked=("I", "U_1", "I_1"),
    ),
    Setup(
        "resistors",
        4,
        "Two branches are in parallel on a battery of {U}: {R_1} in series with {R_2}, and {R_3} in series with {R_4}.",
        (
            _resistance("R_1", "the first resistor"),
            _resistance("R_2", "the second resistor"),
            _resistance("R_3", "the third resistor"),
            _resistance("R_4", "the fourth resistor"),
            _VOLTAGE,
        ),
        (
            Sought(_R, "(R_1 + R_2)*(R_3 + R_4)/(R_1 + R_2 + R_3 + R_4)"),
            Sought(_current("I", "the current through the battery"), "U/R"),
            Sought(Quantity("P", "the power of the whole circuit", "W"), "U*I"),
        ),
        ("1/R = 1/(R_1 + R_2) + 1/(R_3 + R_4)", "I*R = U", "P = U^2/R"),
        hidden=("U",),
        asked=("I", "P"),
    ),
)
_KILOOHMS = (1, 2, 3, 4.7, 5, 6.8, 10, 15, 22)
_MICROFARADS = (10, 22, 33, 47, 68, 100, 150, 220)
_CHARGED = Given(Quantity("U_0", "the voltage at the start", "V"), (5, 6, 9, 10, 12, 15, 20, 24))
_TIMES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
_TIME = Given(Quantity("t", "the time", "s"), _TIMES)


def _capacity(symbol: str, which: str) -> Given:
    return Given(Quantity(symbol, f"the capacitance of {which}", "uF"), _MICROFARADS, absent=0)


def _discharge(rate: str) -> Motion:
    return Motion(
        quantities=(Quantity("u", "the voltage", "V"),),
        states={"u": f"U_0*exp(-t/({rate}))"},
        duration=f"3*{rate}",
        equation=("u", 1, f"-u/({rate})"),
    )


_ONE = _discharge("R*C")
RC = (
    Setup(
        "rc",
        1,
        "A capacitor with {C} is discharged through {R}.",
        (_resistance("R", "the resistor", _DIGITS), Given(Quantity("C", "the capacitance", "F"), _DIGITS)),
        (Sought(Quantity("tau", "the time constant", "s"), "R*C"),),
        ("tau/C = R",),
        hidden=("R", "C"),
        whole=True,
        inverses={"R": "tau/C", "C": "tau/R"},
    ),
    Setup(
        "rc",
        2,
        "A capacitor with {C}, charged to {U_0}, is discharged through {R} for {t}.",
        (_resistance("R", "the resistor", _KILOOHMS, "kohm"), _capacity("C", "the capacitor"), _CHARGED, _TIME),
        (
            Sought(Quantity("tau", "the time constant", "s"), "R*C"),
            Sought(Quantity("U", "the voltage that is left", "V"), "U_0*exp(-t/tau)"),
        ),
        ("tau/C = R", "tau*ln(U_0/U) = t"),
        hidden=("R", "t"),
        asked=("U",),
        positive=("4*R*C - t", "t - 0.2*R*C"),
        motion=_ONE,
    ),
    Setup(
        "rc",
        3,
        "A capacitor with {C}, charged to {U_0}, is discharged through {R} until {U} is left.",
        (
            _resistance("R", "the resistor", _KILOOHMS, "kohm"),
            _capacity("C", "the capacitor"),
            _CHARGED,
            Given(Quantity("U", "the voltage that is left", "V"), (1, 2, 3, 4, 5, 6, 8)),
        ),
        (
            Sought(Quantity("T", "the time that it takes", "s"), "R*C*ln(U_0/U)"),
            Sought(_current("I", "the current at that time"), "U/R"),
            Sought(Quantity("W", "the heat in the resistor", "J"), "C*(U_0^2 - U^2)/2"),
        ),
        ("U = U_0*exp(-T/(R*C))", "I*R = U", "C*U_0^2/2 = C*U^2/2 + W"),
        hidden=("C",),
        asked=("T",),
        positive=("U_0 - 1.2*U",),
        motion=_ONE,
    ),
    Setup(
        "rc",
        4,
        "Two capacitors in parallel, of {C_1} and {C_2}, charged to {U_0}, are discharged through {R_1} and {R_2} in "
        "series, for {t}.",
        (
            _capacity("C_1", "the first capacitor"),
            _capacity("C_2", "the second capacitor"),
            _resistance("R_1", "the first resistor", _KILOOHMS, "kohm"),
            _resistance("R_2", "the second resistor", _KILOOHMS, "kohm"),
            _CHARGED,
            _TIME,
        ),
        (
            Sought(Quantity("tau", "the time constant", "s"), "(C_1 + C_2)*(R_1 + R_2)"),
            Sought(Quantity("U", "the voltage that is left", "V"), "U_0*exp(-t/tau)"),
            Sought(_current("I", "the current at that time"), "U/(R_1 + R_2)"),
            Sought(Quantity("U_1", "the voltage over the first resistor at that time", "V"), "I*R_1"),
        ),
        ("tau/(R_1 + R_2) = C_1 + C_2", "tau*ln(U_0/U) = t", "U = I*R_1 + I*R_2", "U_1/R_1 = I"),
        hidden=("t", "U_0"),
        asked=("U", "I", "U_1"),
        positive=("4*(C_1 + C_2)*(R_1 + R_2) - t", "t - 0.1*(C_1 + C_2)*(R_1 + R_2)"),
        motion=_discharge("(C_1 + C_2)*(R_1 + R_2)"),
    ),
)
