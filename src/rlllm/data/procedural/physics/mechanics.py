"""Setups of mechanics: projectile, incline, collision, Atwood machine, pendulum and fall with drag, levels 1 to 4.

Level 1 is one step with small whole numbers. Above it the level counts steps and bodies: a flight over level ground, from a
height, with a bounce; two bodies in a collision, then three.
"""

from __future__ import annotations

from collections.abc import Sequence

from rlllm.data.procedural.physics.scene import Given, Motion, Quantity, Setup, Sought

_DIGITS = range(1, 10)
_MASSES = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)
_SPEEDS = tuple(range(4, 31))
_ANGLES = tuple(range(20, 71, 5))
_GRAVITY = Given(Quantity("g", "the acceleration of gravity", "m/s^2"), (9.8,))
_TEN = Given(Quantity("g", "the acceleration of gravity", "m/s^2"), (10,))


def _mass(symbol: str, whose: str, numbers: Sequence[float] = _MASSES) -> Given:
    return Given(Quantity(symbol, f"the mass of {whose}", "kg"), numbers, absent=0)


def _speed(symbol: str, meaning: str) -> Quantity:
    return Quantity(symbol, meaning, "m/s")


def _length(symbol: str, meaning: str) -> Quantity:
    return Quantity(symbol, meaning, "m")


def _time(symbol: str, meaning: str) -> Quantity:
    return Quantity(symbol, meaning, "s")


def _angle(meaning: str, numbers: Sequence[float]) -> Given:
    return Given(Quantity("theta", meaning, "deg"), numbers)


_THROWN = Given(_speed("v", "the speed at the start"), _SPEEDS)
_FLIGHT = Motion(
    quantities=(
        _length("x", "the distance covered over the ground"),
        _length("y", "the height"),
        _speed("v_x", "the horizontal part of the velocity"),
        _speed("v_y", "the upward part of the velocity"),
    ),
    states={
        "x": "v*cos(theta)*t",
        "y": "v*sin(theta)*t - g*t^2/2",
        "v_x": "v*cos(theta)",
        "v_y": "v*sin(theta) - g*t",
    },
    duration="2*v*sin(theta)/g",
    conserved="(v_x^2 + v_y^2)/2 + g*y",
    equation=("y", 2, "-g"),
)
PROJECTILE = (
    Setup(
        "projectile",
        1,
        "A ball is thrown level with {v} and flies for {t}.",
        (Given(_THROWN.quantity, _DIGITS), Given(_time("t", "the time"), _DIGITS)),
        (Sought(_length("x", "the distance covered over the ground"), "v*t"),),
        ("x/t = v",),
        hidden=("v", "t"),
        whole=True,
        inverses={"v": "x/t", "t": "x/v"},
    ),
    Setup(
        "projectile",
        2,
        "A ball is thrown over level ground with {v} at {theta} above the horizontal; {g}.",
        (_THROWN, _angle("the angle above the horizontal", _ANGLES), _GRAVITY),
        (
            Sought(_time("T", "the time until it lands"), "2*v*sin(theta)/g"),
            Sought(_length("R", "the distance at which it lands"), "v*cos(theta)*T"),
            Sought(_length("H", "the greatest height"), "(v*sin(theta))^2/(2*g)"),
        ),
        ("v*sin(theta)*T = g*T^2/2", "R/T = v*cos(theta)", "g*H = (v*sin(theta))^2/2"),
        hidden=("v",),
        motion=_FLIGHT,
    ),
    Setup(
        "projectile",
        3,
        "A ball is thrown from a roof of {h} with {v} at {theta} above the horizontal; {g}.",
        (
            _THROWN,
            _angle("the angle above the horizontal", _ANGLES),
            Given(_length("h", "the height of the roof"), tuple(range(5, 41)), absent=0),
            _GRAVITY,
        ),
        (
            Sought(
                _time("T", "the time until it reaches the ground"),
                "(v*sin(theta) + sqrt((v*sin(theta))^2 + 2*g*h))/g",
            ),
            Sought(_length("R", "the horizontal distance from the roof's foot at which it lands"), "v*cos(theta)*T"),
            Sought(_speed("u", "the speed with which it lands"), "sqrt(v^2 + 2*g*h)"),
        ),
        ("h + v*sin(theta)*T = g*T^2/2", "R/T = v*cos(theta)", "u^2/2 = v^2/2 + g*h"),
        hidden=("v", "h"),
        asked=("T", "R"),
        motion=Motion(
            quantities=_FLIGHT.quantities,
            states={**_FLIGHT.states, "y": "h + v*sin(theta)*t - g*t^2/2"},
            duration="T",
            conserved=_FLIGHT.conserved,
            equation=_FLIGHT.equation,
        ),
    ),
    Setup(
        "projectile",
        4,
        "A ball is thrown over level ground with {v} at {theta} above the horizontal and bounces without friction: {epsilon} "
        "is the share of its upward speed that it keeps; {g}.",
        (
            _THROWN,
            _angle("the angle above the horizontal", _ANGLES),
            Given(Quantity("epsilon", "the elasticity of the bounce", ""), (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)),
            _GRAVITY,
        ),
        (
            Sought(_time("T_1", "the time until the first landing"), "2*v*sin(theta)/g"),
            Sought(_time("T_2", "the time between the first and the second landing"), "epsilon*T_1"),
            Sought(_length("R", "the distance of the second landing"), "v*cos(theta)*(T_1 + T_2)"),
            Sought(_length("H_2", "the greatest height after the first landing"), "(epsilon*v*sin(theta))^2/(2*g)"),
        ),
        (
            "v*sin(theta)*T_1 = g*T_1^2/2",
            "epsilon*v*sin(theta)*T_2 = g*T_2^2/2",
            "R/(T_1 + T_2) = v*cos(theta)",
            "2*g*H_2 = (epsilon*v*sin(theta))^2",
        ),
        hidden=("v", "epsilon"),
        asked=("T_2", "R", "H_2"),
    ),
)
_SLOPE = _angle("the angle of the slope", range(20, 61, 5))
_FRICTION = Given(Quantity("mu", "the coefficient of friction", ""), (0.1, 0.15, 0.2, 0.25, 0.3, 0.35), absent=0)
_WAY = Given(_length("s", "the way down the slope"), tuple(range(2, 21)))
_SLIDING = "g*(sin(theta) - mu*cos(theta))"
_ACCELERATION = Quantity("a", "the acceleration", "m/s^2")
_SLIDE = Motion(
    quantities=(_length("x", "the way covered"), _speed("u", "the speed")),
    states={"x": f"{_SLIDING}*t^2/2", "u": f"{_SLIDING}*t"},
    duration="v/a",
    conserved=f"u^2/2 - {_SLIDING}*x",
    equation=("x", 2, _SLIDING),
)
INCLINE = (
    Setup(
        "incline",
        1,
        "A block slides from rest with {a} for {t}.",
        (Given(_ACCELERATION, _DIGITS), Given(_time("t", "the time"), _DIGITS)),
        (Sought(_speed("v", "the speed"), "a*t"),),
        ("v/t = a",),
        hidden=("a", "t"),
        whole=True,
        inverses={"a": "v/t", "t": "v/a"},
    ),
    Setup(
        "incline",
        2,
        "A block slides from rest down a slope of {theta} with friction {mu}, for {s}; {g}.",
        (_SLOPE, _FRICTION, _WAY, _GRAVITY),
        (Sought(_ACCELERATION, _SLIDING), Sought(_speed("v", "the speed at the end"), "sqrt(2*a*s)")),
        ("a/g = sin(theta) - mu*cos(theta)", "v^2/2 = a*s"),
        hidden=("mu", "theta"),
        asked=("v",),
        positive=(_SLIDING,),
        motion=_SLIDE,
    ),
    Setup(
        "incline",
        3,
        "A block slides from rest down a slope of {theta}, for {s}, and then over level ground until it rests; everywhere the "
        "friction is {mu}; {g}.",
        (_SLOPE, _FRICTION, _WAY, _GRAVITY),
        (
            Sought(_ACCELERATION, _SLIDING),
            Sought(_speed("v", "the speed at the foot of the slope"), "sqrt(2*a*s)"),
            Sought(_time("T", "the time on the slope"), "v/a"),
            Sought(_length("d", "the way over level ground"), "v^2/(2*mu*g)"),
            Sought(_time("T_2", "the time over level ground"), "v/(mu*g)"),
        ),
        (
            "a/g = sin(theta) - mu*cos(theta)",
            "v^2/2 = a*s",
            "s = a*T^2/2",
            "s*sin(theta) = mu*(s*cos(theta) + d)",
            "d = v*T_2/2",
        ),
        hidden=("s",),
        asked=("T_2",),
        positive=(_SLIDING,),
        motion=_SLIDE,
    ),
    Setup(
        "incline",
        4,
        "A block with {m_1} on a slope of {theta} with friction {mu} is pulled up by a rope over a light pulley, on which "
        "a body with {m_2} hangs. It starts at rest and moves for {s}; {g}.",
        (_SLOPE, _FRICTION, _WAY, _mass("m_1", "the block"), _mass("m_2", "the hanging body"), _GRAVITY),
        (
            Sought(_ACCELERATION, "g*(m_2 - m_1*(sin(theta) + mu*cos(theta)))/(m_1 + m_2)"),
            Sought(Quantity("F", "the force in the rope", "N"), "m_2*(g - a)"),
            Sought(_speed("v", "the speed at the end"), "sqrt(2*a*s)"),
        ),
        ("m_1*a = F - m_1*g*(sin(theta) + mu*cos(theta))", "m_2*a + F = m_2*g", "v^2/2 = a*s"),
        hidden=("mu", "m_2"),
        asked=("v",),
        positive=("m_2 - m_1*(sin(theta) + mu*cos(theta)) - 0.2*m_1",),
    ),
)
_ELASTICITY = Given(Quantity("epsilon", "the elasticity", ""), (0, 0.2, 0.25, 0.4, 0.5, 0.6, 0.75, 0.8, 1))
_AFTER = "(m_1*v_1 + m_2*v_2 - m_2*epsilon*(v_1 - v_2))/(m_1 + m_2)"
COLLISION = (
    Setup(
        "collision",
        1,
        "A body with {m} moves with {v}.",
        (_mass("m", "the body", _DIGITS), Given(_speed("v", "the speed"), _DIGITS)),
        (Sought(Quantity("p", "the momentum", "kg m/s"), "m*v"),),
        ("p/m = v",),
        hidden=("m", "v"),
        whole=True,
        inverses={"m": "p/v", "v": "p/m"},
    ),
    Setup(
        "collision",
        2,
        "On a straight track a body with {m_1} and {v_1} hits a body at rest with {m_2}; the elasticity is {epsilon}.",
        (
            _mass("m_1", "the first body"),
            _mass("m_2", "the second body"),
            Given(_speed("v_1", "the velocity of the first body before"), _SPEEDS),
            _ELASTICITY,
        ),
        (
            Sought(_speed("u_1", "the velocity of the first body after"), "v_1*(m_1 - epsilon*m_2)/(m_1 + m_2)"),
            Sought(_speed("u_2", "the velocity of the second body after"), "v_1*m_1*(1 + epsilon)/(m_1 + m_2)"),
        ),
        ("m_1*v_1 = m_1*u_1 + m_2*u_2", "u_2 - u_1 = epsilon*v_1"),
        hidden=("v_1", "m_1"),
        asked=("u_2",),
    ),
    Setup(
        "collision",
        3,
        "On a straight track a body with {m_1} and {v_1} hits a body ahead of it with {m_2} and {v_2}; the elasticity is "
        "{epsilon}.",
        (
            _mass("m_1", "the first body"),
            _mass("m_2", "the second body"),
            Given(_speed("v_1", "the velocity of the first body before"), _SPEEDS),
            Given(_speed("v_2", "the velocity of the second body before"), tuple(n for n in range(-15, 16) if n)),
            Given(_ELASTICITY.quantity, (0, 0.2, 0.25, 0.4, 0.5, 0.6, 0.75, 0.8)),
        ),
        (
            Sought(_speed("u_1", "the velocity of the first body after"), _AFTER),
            Sought(_speed("u_2", "the velocity of the second body after"), "u_1 + epsilon*(v_1 - v_2)"),
            Sought(
                Quantity("W", "the kinetic energy that is lost", "J"),
                "m_1*m_2*(v_1 - v_2)^2*(1 - epsilon^2)/(2*(m_1 + m_2))",
            ),
        ),
        (
            "m_1*v_1 + m_2*v_2 = m_1*u_1 + m_2*u_2",
            "u_2 - u_1 = epsilon*(v_1 - v_2)",
            "m_1*v_1^2/2 + m_2*v_2^2/2 = m_1*u_1^2/2 + m_2*u_2^2/2 + W",
        ),
        hidden=("v_1",),
        positive=("v_1 - v_2", f"abs({_AFTER}) - 0.1"),
    ),
    Setup(
        "collision",
        4,
        "On a straight track a body with {m_1} and {v_1} hits a body at rest with {m_2}, which then hits a third, at rest, "
        "with {m_3}; the elasticity is {epsilon} each time.",
        (
            _mass("m_1", "the first body"),
            _mass("m_2", "the second body"),
            _mass("m_3", "the third body"),
            Given(_speed("v_1", "the velocity of the first body before"), _SPEEDS),
            _ELASTICITY,
        ),
        (
            Sought(
                _speed("u_2", "the velocity of the second body between the collisions"),
                "v_1*m_1*(1 + epsilon)/(m_1 + m_2)",
            ),
            Sought(_speed("u_3", "the velocity of the third body"), "u_2*m_2*(1 + epsilon)/(m_2 + m_3)"),
            Sought(Quantity("K", "the kinetic energy of the third body", "J"), "m_3*u_3^2/2"),
        ),
        ("u_2*(m_1 + m_2) = m_1*v_1*(1 + epsilon)", "u_3*(m_2 + m_3) = m_2*u_2*(1 + epsilon)", "K/m_3 = u_3^2/2"),
        hidden=("v_1", "m_1"),
        asked=("u_3", "K"),
    ),
)
_TWO_MASSES = (_mass("m_1", "the heavier body"), _mass("m_2", "the lighter body"))
_FALLING = "g*(m_1 - m_2)/(m_1 + m_2)"
ATWOOD = (
    Setup(
        "atwood",
        1,
        "Over a light pulley hang bodies with {m_1} and {m_2}; {g}.",
        (_mass("m_1", "the heavier body", range(2, 10)), _mass("m_2", "the lighter body", _DIGITS), _TEN),
        (Sought(Quantity("F", "the driving force", "N"), "(m_1 - m_2)*g"),),
        ("F/g + m_2 = m_1",),
        hidden=("m_1", "m_2"),
        positive=("m_1 - m_2",),
        whole=True,
        inverses={"m_1": "F/g + m_2", "m_2": "m_1 - F/g"},
    ),
    Setup(
        "atwood",
        2,
        "Over a light pulley hang bodies with {m_1} and {m_2}, at rest at first; {g}.",
        (*_TWO_MASSES, _GRAVITY),
        (
            Sought(_ACCELERATION, _FALLING),
            Sought(Quantity("F", "the force in the rope", "N"), "2*m_1*m_2*g/(m_1 + m_2)"),
        ),
        ("m_1*a + F = m_1*g", "F = m_2*(g + a)"),
        hidden=("m_1", "m_2"),
        positive=("m_1 - m_2",),
        motion=Motion(
            quantities=(_length("x", "the way of the heavier body"), _speed("u", "its speed")),
            states={"x": f"{_FALLING}*t^2/2", "u": f"{_FALLING}*t"},
            duration="2",
            conserved="(m_1 + m_2)*u^2/2 - (m_1 - m_2)*g*x",
            equation=("x", 2, _FALLING),
        ),
    ),
    Setup(
        "atwood",
        3,
        "Over a light pulley hang bodies with {m_1} and {m_2}. They are let go at rest and move for {s}; {g}.",
        (*_TWO_MASSES, Given(_length("s", "the way of each body"), tuple(range(1, 11))), _GRAVITY),
        (
            Sought(_ACCELERATION, _FALLING),
            Sought(_time("T", "the time that it takes"), "sqrt(2*s/a)"),
            Sought(_speed("v", "the speed at the end"), "a*T"),
        ),
        ("a*(m_1 + m_2) = g*(m_1 - m_2)", "s = a*T^2/2", "(m_1 + m_2)*v^2/2 = (m_1 - m_2)*g*s"),
        hidden=("s", "m_1"),
        asked=("T", "v"),
        positive=("m_1 - m_2",),
    ),
    Setup(
        "atwood",
        4,
        "Over a pulley, a solid disc with {m_3}, hang bodies with {m_1} and {m_2}; the rope does not slip. They are let go at "
        "rest and move for {s}; {g}.",
        (
            *_TWO_MASSES,
            _mass("m_3", "the pulley"),
            Given(_length("s", "the way of each body"), tuple(range(1, 11))),
            _GRAVITY,
        ),
        (
            Sought(_ACCELERATION, "g*(m_1 - m_2)/(m_1 + m_2 + m_3/2)"),
            Sought(Quantity("F_1", "the force in the rope on the heavier side", "N"), "m_1*(g - a)"),
            Sought(Quantity("F_2", "the force in the rope on the lighter side", "N"), "m_2*(g + a)"),
            Sought(_speed("v", "the speed at the end"), "sqrt(2*a*s)"),
        ),
        (
            "m_1*g - F_1 = m_1*a",
            "F_2 - m_2*g = m_2*a",
            "F_1 - F_2 = m_3*a/2",
            "(m_1 + m_2 + m_3/2)*v^2/2 = (m_1 - m_2)*g*s",
        ),
        hidden=("m_3",),
        asked=("v",),
        positive=("m_1 - m_2",),
    ),
)
_LENGTHS = tuple(n / 10 for n in range(3, 41))
PENDULUM = (
    Setup(
        "pendulum",
        1,
        "A pendulum swings to and fro as often as {n} in {t}.",
        (Given(Quantity("n", "the number of swings", ""), range(2, 10)), Given(_time("t", "the time"), range(2, 82))),
        (Sought(_time("T", "the period"), "t/n"),),
        ("n*T = t",),
        hidden=("n", "t"),
        positive=("9.5 - t/n",),
        whole=True,
        inverses={"n": "t/T", "t": "T*n"},
    ),
    Setup(
        "pendulum",
        2,
        "A pendulum with {l} swings with small angles; {g}.",
        (Given(_length("l", "the length"), _LENGTHS), _GRAVITY),
        (Sought(_time("T", "the period"), "2*pi*sqrt(l/g)"),),
        ("g*T^2 = 4*pi^2*l",),
        hidden=("l",),
        motion=Motion(
            quantities=(
                Quantity("phi", "the angle", "rad"),
                Quantity("omega", "the angular velocity", "rad/s"),
            ),
            states={"phi": "0.1*cos(sqrt(g/l)*t)", "omega": "-0.1*sqrt(g/l)*sin(sqrt(g/l)*t)"},
            duration="T",
            conserved="l^2*omega^2/2 + g*l*phi^2/2",
            equation=("phi", 2, "-g/l*phi"),
            begin="It is let go at phi = 0.1 rad.",
        ),
    ),
    Setup(
        "pendulum",
        3,
        "A pendulum with {l} is let go at rest at {theta} from the vertical; {g}.",
        (
            Given(_length("l", "the length"), _LENGTHS),
            Given(Quantity("theta", "the angle at the start", "deg"), tuple(range(15, 81, 5))),
            _GRAVITY,
        ),
        (
            Sought(_length("h", "the height of the start above the lowest point"), "l*(1 - cos(theta))"),
            Sought(_speed("v", "the speed at the lowest point"), "sqrt(2*g*h)"),
        ),
        ("l*cos(theta) + h = l", "v^2/2 = g*h"),
        hidden=("theta",),
        asked=("v",),
    ),
    Setup(
        "pendulum",
        4,
        "Two pendulums with {l_1} and {l_2} start together at small angles; {g}.",
        (
            Given(_length("l_1", "the length of the longer one"), _LENGTHS),
            Given(_length("l_2", "the length of the shorter one"), _LENGTHS),
            _GRAVITY,
        ),
        (
            Sought(_time("T_1", "the period of the longer one"), "2*pi*sqrt(l_1/g)"),
            Sought(_time("T_2", "the period of the shorter one"), "2*pi*sqrt(l_2/g)"),
            Sought(_time("T", "the time until they are in step again"), "T_1*T_2/(T_1 - T_2)"),
        ),
        ("g*T_1^2 = 4*pi^2*l_1", "g*T_2^2 = 4*pi^2*l_2", "1/T_2 = 1/T_1 + 1/T"),
        hidden=("l_1",),
        asked=("T",),
        positive=("l_1 - 1.15*l_2",),
    ),
)
_COEFFICIENT = Quantity("k", "the coefficient of drag", "N s/m")
_LINEAR = "m*g/k*(1 - exp(-k*t/m))"
_FALL = Motion(
    quantities=(_length("y", "the way fallen"), _speed("u", "the speed")),
    states={"y": f"m*g/k*t - m/k*({_LINEAR})", "u": _LINEAR},
    duration="t",
    conserved="m*u + k*y - m*g*t",
    equation=("u", 1, "g - k*u/m"),
)
_FALL_GIVEN = (
    _mass("m", "the body"),
    Given(_COEFFICIENT, (0.5, 1, 1.5, 2, 2.5, 3, 4, 5)),
    Given(_time("t", "the time"), (0.5, 1, 1.5, 2, 2.5, 3)),
    _GRAVITY,
)
DRAG = (
    Setup(
        "drag",
        1,
        "A drag of {k} holds back a body that falls with {v}.",
        (Given(_COEFFICIENT, _DIGITS), Given(_speed("v", "the speed"), _DIGITS)),
        (Sought(Quantity("F", "the force of the drag", "N"), "k*v"),),
        ("F/v = k",),
        hidden=("k", "v"),
        whole=True,
        inverses={"k": "F/v", "v": "F/k"},
    ),
    Setup(
        "drag",
        2,
        "A body with {m} falls from rest against a drag of {k} times its speed, for {t}; {g}.",
        _FALL_GIVEN,
        (
            Sought(_speed("v_e", "the speed that it would reach in the end"), "m*g/k"),
            Sought(_speed("v", "the speed at that time"), "v_e*(1 - exp(-k*t/m))"),
        ),
        ("k*v_e = m*g", "k*t/m = -ln(1 - v/v_e)"),
        hidden=("t",),
        asked=("v",),
        motion=_FALL,
    ),
    Setup(
        "drag",
        3,
        "A body with {m} falls from rest against a drag of {k} times its speed, for {t}; {g}.",
        _FALL_GIVEN,
        (
            Sought(_speed("v", "the speed at that time"), _LINEAR),
            Sought(_length("y", "the way fallen"), "m*g*t/k - m*v/k"),
            Sought(Quantity("W", "the energy lost to the drag", "J"), "m*g*y - m*v^2/2"),
        ),
        ("k*t/m = -ln(1 - k*v/(m*g))", "m*v + k*y = m*g*t", "W + m*v^2/2 = m*g*y"),
        hidden=("t",),
        asked=("y", "W"),
        motion=_FALL,
    ),
    Setup(
        "drag",
        4,
        "A body with {m} falls from rest against a drag of {k} times its speed and {c} times the square of its speed, for "
        "{t}; {g}.",
        (
            _mass("m", "the body", _MASSES[2:]),
            _FALL_GIVEN[1],
            Given(Quantity("c", "the coefficient of quadratic drag", "kg/m"), (0.05, 0.1, 0.15, 0.2, 0.25), absent=0),
            *_FALL_GIVEN[2:],
        ),
        (Sought(_speed("u", "the speed at that time"), None), Sought(_length("y", "the way fallen"), None)),
        (
            "t*sqrt(k^2 + 4*c*m*g)/m = ln(1 + 2*c*u/(k + sqrt(k^2 + 4*c*m*g)))"
            " - ln(1 - 2*c*u/(sqrt(k^2 + 4*c*m*g) - k))",
            "(2*c*y + k*t)/m = -ln(1 - (k*u + c*u^2)/(m*g))",
        ),
        hidden=(),
        motion=Motion(
            quantities=_FALL.quantities,
            rates={"y": "u", "u": "g - k*u/m - c*u^2/m"},
            start={"y": "0", "u": "0"},
            duration="t",
            equation=("u", 1, "g - k*u/m - c*u^2/m"),
        ),
    ),
)
