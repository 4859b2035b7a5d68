"""The families of scenes, and their setups by level."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import chain

from rlllm.core.errors import unknown
from rlllm.data.procedural.physics import circuits, lens_and_gas, mechanics
from rlllm.data.procedural.physics.scene import Scene, Setup

HIGHEST_LEVEL = 4


def _by_level(*families: Sequence[Setup]) -> dict[str, dict[int, Setup]]:
    table: dict[str, dict[int, Setup]] = {}
    for setup in chain.from_iterable(families):
        table.setdefault(setup.family, {})[setup.level] = setup
    return table


FAMILIES: Mapping[str, Mapping[int, Setup]] = _by_level(
    mechanics.PROJECTILE,
    mechanics.INCLINE,
    mechanics.COLLISION,
    mechanics.ATWOOD,
    mechanics.PENDULUM,
    circuits.RESISTORS,
    circuits.RC,
    lens_and_gas.LENS,
    lens_and_gas.GAS,
    mechanics.DRAG,
)
"""Name of a family -> level -> setup. Each family has every level."""


def setup_of(family: str, level: int) -> Setup:
    """The setup of a family at a level, 1 to 4. Raises ConfigError for a family or a level that does not exist."""
    if family not in FAMILIES:
        raise unknown("family of scenes", family, FAMILIES)
    if level not in FAMILIES[family]:
        raise unknown(f"level of {family}", str(level), [str(number) for number in FAMILIES[family]])
    return FAMILIES[family][level]


def draw_scene(family: str, level: int, generator: random.Random) -> Scene:
    """A scene with numbers from this generator. Raises ConfigError as `setup_of`."""
    return setup_of(family, level).draw(generator)
