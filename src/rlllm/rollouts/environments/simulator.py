"""The `simulator` environment: a scene with a hidden number that only measuring reveals. Every call but the answer has a price.

Measuring reads the true scene, simulating computes a model of it in which the hidden number is one's own (LLMPhy, arXiv
2411.08027, has a model fit parameters with an engine in the loop). The price and the cap on calls are ours.
"""

from __future__ import annotations

import math
from typing import Any

from rlllm.core.errors import ConfigError
from rlllm.data.procedural.physics.experiments import SUBMITTED, observables
from rlllm.data.procedural.physics.families import setup_of
from rlllm.data.procedural.physics.scene import Scene
from rlllm.parsing.quantities import close, converted, read_quantity, read_unit, same_dimension

_TOLERANCE = 0.05
"""How far an answer may be off, as a share of the true number (Sim2Reason, arXiv 2604.11805)."""


class Simulator:
    """The scene of the row's columns `family`, `level`, `given` and `hidden`; the hidden number is to be submitted.

    Args:
        price: what a measurement or a simulation costs beside a right answer; the answer itself costs nothing.
        calls: measurements and simulations at most.
    """

    def __init__(self, price: float = 0.01, calls: int = 8) -> None:
        if not 0 <= price <= 1:
            raise ConfigError("the environment simulator: price is between 0 and 1", given=f"price={price}")
        if calls < 1:
            raise ConfigError("the environment simulator: calls is at least 1", given=f"calls={calls}")
        self.price, self.calls = price, calls
        self.made = 0
        self.answer: str | None = None

    def reset(self, **row: Any) -> None:
        """Set up the scene of the next row."""
        setup = setup_of(str(row["family"]), int(row["level"]))
        self._truth = Scene(setup, {symbol: float(value) for symbol, value in row["given"].items()})
        self._hidden = str(row["hidden"])
        self._model = {symbol: value for symbol, value in self._truth.given.items() if symbol != self._hidden}
        self.made, self.answer = 0, None

    def measure(self, name: str, t: float | None = None) -> str:
        """Measure a quantity of the scene. Costs.

        Args:
            name: Symbol of the quantity, such as x.
            t: Time after the start in s, for a quantity that moves.

        Returns:
            The reading with its unit, such as `x=6 m`.
        """
        scene = self._truth
        names = [symbol for symbol in observables(scene.setup) if symbol != self._hidden]
        if name not in names:
            raise ValueError(f"{name} cannot be measured; there are {', '.join(names)}")
        moving = {quantity.symbol: quantity for quantity in scene.motion.quantities} if scene.motion else {}
        if name not in moving or (t is None and name in scene.quantities):
            self._pay()
            return f"{name}={scene.stated(name)}"
        time = _number(0.0 if t is None else t)
        self._pay()  # before the time is checked, since when a motion ends is a reading as well
        if not 0 <= time <= scene.duration * (1 + 1e-9):
            raise ValueError("nothing moves at that time")
        return f"{name}={moving[name].stated(scene.state(time)[name])}"

    def simulate(self, param: str, value: float) -> str:
        """Set a quantity of a model of the scene, and read what would be measured. Costs.

        Args:
            param: Symbol of the quantity, such as v.
            value: Its number, in the unit of the text.

        Returns:
            What follows in the model, such as `x=6 m`. What was set before stays set.
        """
        quantities = self._truth.quantities
        if param not in self._truth.given:
            raise ValueError(f"{param} cannot be set; there are {', '.join(self._truth.given)}")
        if param != self._hidden and self._hidden not in self._model:
            raise ValueError(f"set {self._hidden} first: the model does not know it")
        number = _number(value) * quantities[param].factor
        model = Scene(self._truth.setup, {**self._model, param: number})
        self._pay()
        readings = ", ".join(f"{name}={model.stated(name)}" for name in model.setup.symbols_asked)
        self._model = dict(model.given)
        return readings

    def submit(self, answer: str) -> str:
        """Hand in the hidden quantity, once.

        Args:
            answer: The number and its unit, such as 3 m/s.
        """
        if self.answer is not None:
            raise ValueError("an answer was submitted already")
        self.answer = str(answer)
        return SUBMITTED

    def get_reward(self) -> float:
        """1 for an answer within 5 %, in its unit, and the price of every call that was saved; 0 for any other answer or none.

        So a right answer always passes (a reward of 1 or more), a call costs its price beside it, and no reward is below 0.
        """
        if self.answer is None or not self._is_right(self.answer):
            return 0.0
        return 1.0 + self.price * (self.calls - self.made)

    def _pay(self) -> None:
        if self.made >= self.calls:
            raise ValueError(f"all {self.calls} calls are made: submit an answer")
        self.made += 1

    def _is_right(self, answer: str) -> bool:
        """By the rule of the reward `physics`: a unit of the right dimension, and the number in it."""
        quantity, true = self._truth.quantities[self._hidden], self._truth.given[self._hidden]
        reading, unit = read_quantity(answer), read_unit(quantity.unit)
        if reading is None or not same_dimension(reading.unit, unit):
            return False
        value = converted(reading, unit)
        return value is not None and close(value, true / quantity.factor, _TOLERANCE)


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("no finite number")
    return number
