"""The families of scenes, and their setups by level."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, Literal

from pydantic import field_validator

from rlllm.core.config import Section
from rlllm.core.errors import unknown
from rlllm.data.procedural.physics import circuits, lens_and_gas, mechanics
from rlllm.data.procedural.physics.scene import Scene, Setup

SHORT_LEVEL, HIGHEST_LEVEL = 1, 4


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


class SceneParams(Section):
    """What `data.params` may hold of every data set about scenes."""

    families: tuple[str, ...] = tuple(FAMILIES)
    """Families of scenes."""
    style: Literal["short", "words", "by level"] = "by level"
    """`short`: `a=3 m/s^2, t=2 s. v?`; `words`: the situation in sentences; `by level`: short at level 1, words above it."""

    @field_validator("families", "holdout_families", mode="before", check_fields=False)
    @classmethod
    def _known(cls, value: Any) -> Any:
        names = value.split("+") if isinstance(value, str) else value
        for name in names:
            if name not in FAMILIES:
                raise unknown("family of scenes", str(name), FAMILIES)
        return names

    def is_short(self, level: int) -> bool:
        """Whether texts of a level are short."""
        return level == SHORT_LEVEL if self.style == "by level" else self.style == "short"
