"""Scenes: the closed forms obey the laws, and the motions their equations and conserved quantities."""

from __future__ import annotations

import math
import random

import pytest

from rlllm.core.errors import ConfigError, DataError
from rlllm.data.procedural.physics.families import FAMILIES, draw_scene
from rlllm.data.procedural.physics.scene import Scene, Setup
from rlllm.parsing.formulas import read_formula

SETUPS = [setup for levels in FAMILIES.values() for setup in levels.values()]
MOVING = [setup for setup in SETUPS if setup.motion is not None]


def scenes(setup: Setup, count: int = 20) -> list[Scene]:
    generator = random.Random(f"{setup.family} {setup.level}")
    return [setup.draw(generator) for _ in range(count)]


def name(setup: Setup) -> str:
    return f"{setup.family}-{setup.level}"


def test_the_ten_families_have_every_level() -> None:
    assert list(FAMILIES) == [
        "projectile", "incline", "collision", "atwood", "pendulum", "resistors", "rc", "lens", "gas", "drag",
    ]  # fmt: skip
    assert all(list(levels) == [1, 2, 3, 4] for levels in FAMILIES.values())


@pytest.mark.parametrize("setup", SETUPS, ids=name)
def test_the_closed_forms_obey_every_law(setup: Setup) -> None:
    for scene in scenes(setup, 3 if (setup.family, setup.level) == ("drag", 4) else 20):
        assert scene.residual() < 1e-9


@pytest.mark.parametrize("setup", SETUPS, ids=name)
def test_a_value_that_is_off_breaks_a_law(setup: Setup) -> None:
    (scene,) = scenes(setup, 1)
    for symbol in setup.symbols_asked:
        assert scene.residual(**{symbol: 1.06 * scene.values[symbol]}) > 1e-3


@pytest.mark.parametrize("setup", SETUPS, ids=name)
def test_a_closed_form_over_what_is_given_has_the_same_value(setup: Setup) -> None:
    for scene in scenes(setup, 3):
        for symbol in setup.symbols_asked:
            form = scene.closed_form(symbol)
            if form is not None:
                assert form.names <= set(scene.given)
                assert form.value(scene.given) == pytest.approx(scene.values[symbol], rel=1e-12)


@pytest.mark.parametrize("setup", [setup for setup in MOVING if setup.motion and setup.motion.conserved], ids=name)
def test_a_motion_conserves_what_it_says(setup: Setup) -> None:
    for scene in scenes(setup, 3):
        assert scene.motion is not None
        conserved = read_formula(scene.motion.conserved or "")
        values = [
            conserved.value({**scene.given, **state})
            for state in scene.trajectory(scene.duration * step / 7 for step in range(8))
        ]
        scale = max(1.0, max(map(abs, values)))
        assert max(values) - min(values) < 1e-9 * scale


@pytest.mark.parametrize("setup", MOVING, ids=name)
def test_a_motion_obeys_its_equation(setup: Setup) -> None:
    (scene,) = scenes(setup, 1)
    if scene.motion is None or scene.motion.equation is None:
        return
    symbol, order, right = scene.motion.equation
    time, step = 0.4 * scene.duration, 1e-3 * scene.duration
    before, at, after = (scene.state(time + shift) for shift in (-step, 0.0, step))
    if order == 1:
        left = (after[symbol] - before[symbol]) / (2 * step)
    else:
        left = (after[symbol] - 2 * at[symbol] + before[symbol]) / step**2
    assert left == pytest.approx(read_formula(right).value({**scene.given, **at, "t": time}), rel=1e-4)


def test_runge_kutta_gives_the_closed_form_where_there_is_one() -> None:
    scene = draw_scene("drag", 4, random.Random(3))
    mass, drag, gravity = 5.0, 2.0, 9.8
    linear = Scene(scene.setup, {**scene.given, "m": mass, "k": drag, "c": 0.0, "g": gravity})
    for time in (0.5, 1.0, 3.0):
        expected = mass * gravity / drag * (1 - math.exp(-drag * time / mass))
        assert linear.state(time)["u"] == pytest.approx(expected, rel=1e-11)


def test_a_scene_by_hand() -> None:
    scene = draw_scene("projectile", 2, random.Random(0)).with_given(v=20.0, theta=math.pi / 6, g=10.0)
    assert scene.stated("T") == "2 s"
    assert scene.values["R"] == pytest.approx(34.64101615)
    assert scene.state(1.0) == pytest.approx({"x": 17.32050808, "y": 5.0, "v_x": 17.32050808, "v_y": 0.0}, abs=1e-8)
    assert scene.story({"v": "v = ?"}) == (
        "A ball is thrown over level ground with v = ? at theta = 30 deg above the horizontal; g = 10 m/s^2."
    )


def test_what_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="pendulm"):
        draw_scene("pendulm", 1, random.Random(0))
    with pytest.raises(DataError, match="is given no T"):
        draw_scene("pendulum", 2, random.Random(0)).with_given(T=1.0)
    with pytest.raises(DataError, match="nothing moves"):
        draw_scene("lens", 2, random.Random(0)).state(1.0)
