"""The dataset `physics-transitions`: the state of a scene, an action, and the state after it, for the reward `state-change`.

A state is every quantity of a scene as sorted lines of `key=value`. The action sets one given quantity to another number, so
that what depends on it changes and nothing else does, or lets time pass in a scene where something moves. A few actions
change nothing, since a model of the world also has to know that. The numbers of the state before decide the split.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

from pydantic import Field

from rlllm.core.errors import DataError
from rlllm.core.records import Conversation, PromptTask, Record
from rlllm.data.procedural.physics.families import HIGHEST_LEVEL, SHORT_LEVEL, SceneParams, draw_scene
from rlllm.data.procedural.physics.scene import TIME, Quantity, Scene
from rlllm.data.procedural.problems import in_turn, levels_of, stream
from rlllm.data.procedural.procedural_task import parse_params, without_levels
from rlllm.data.request import DataRequest
from rlllm.parsing.states import state_text

_SHARES_OF_MOTION = tuple(number / 10 for number in range(10))
_DRAWS = 200


@dataclass(frozen=True, slots=True)
class Transition:
    """A state, an action in words, and the state after it; states as symbol -> value with its unit."""

    scene: Scene
    before: dict[str, str]
    action: str
    after: dict[str, str]

    @property
    def key(self) -> str:
        """What decides the split: the state before, without the action."""
        return f"physics-transitions {self.scene.family} {self.scene.level} {state_text(self.before)}"


class TransitionParams(SceneParams):
    """What `data.params` may hold."""

    waits: float = Field(0.5, ge=0, le=1)
    """Share of actions that let time pass, of scenes in which something moves."""
    idle: float = Field(0.1, ge=0, le=1)
    """Share of the other actions that set a quantity to the number that it has."""


class _TransitionTask:
    """Dataset callable. `physics-transitions:1-4` takes scenes of levels 1 to 4 in turn."""

    argument: ClassVar[str] = "levels"
    rewards = ("state-change",)

    def __call__(self, request: DataRequest) -> list[Record]:
        """Rows with the columns `task`, `level`, `family`, `action` and `state`; the answer is the state after the action.

        Raises:
            ConfigError: a parameter or a level that does not exist.
            DataError: another record type than prompts or conversations.
        """
        if request.kind not in (PromptTask, Conversation):
            exists = ["PromptTask", "Conversation"]
            raise DataError(f"physics-transitions makes no {request.kind.__name__} records", exists=exists)
        params = parse_params(TransitionParams, without_levels(request.params))
        levels = levels_of(request, "physics-transitions", SHORT_LEVEL, HIGHEST_LEVEL)
        streams = [_stream(params, level, request) for level in levels]
        return [_record(transition, request.kind, params) for transition in islice(in_turn(streams), request.rows)]


def _stream(params: TransitionParams, level: int, request: DataRequest) -> Iterator[Transition]:
    return stream(
        lambda generator: draw_transition(generator.choice(params.families), level, generator, params),
        request.split,
        f"physics-transitions {level} {request.split} {request.seed}",
    )


def draw_transition(family: str, level: int, generator: random.Random, params: TransitionParams) -> Transition:
    """A transition in a scene of a family. Raises ConfigError as `families.setup_of`."""
    scene = draw_scene(family, level, generator)
    if scene.motion is not None and generator.random() < params.waits:
        return _waits(scene, generator)
    return _sets(scene, generator, idle=generator.random() < params.idle)


def _sets(scene: Scene, generator: random.Random, *, idle: bool) -> Transition:
    """Set one given quantity; to its own number if `idle`, or where no other number is possible."""
    before = {symbol: scene.stated(symbol) for symbol in scene.values}
    open_parts = [part for part in scene.setup.given if len(part.numbers) > 1]
    for _ in range(0 if idle else _DRAWS):
        part = generator.choice(open_parts)
        symbol, quantity = part.quantity.symbol, part.quantity
        changed = scene.with_given(**{symbol: generator.choice(part.numbers) * quantity.factor})
        if changed.is_possible and changed.stated(symbol) != before[symbol]:
            after = {symbol: changed.stated(symbol) for symbol in changed.values}
            return Transition(scene, before, f"set {symbol} to {after[symbol]}", after)
    symbol = generator.choice(open_parts).quantity.symbol
    return Transition(scene, before, f"set {symbol} to {before[symbol]}", before)


def _waits(scene: Scene, generator: random.Random) -> Transition:
    """Let time pass in a motion, up to its end at most."""
    first, second = sorted(generator.sample((*_SHARES_OF_MOTION, 1.0), 2))
    clock = Quantity(TIME, "the time", "s")
    start, end = (float(f"{share * scene.duration:.2g}") for share in (first, second))
    before, after = (_moment(scene, time, clock) for time in (start, end))
    return Transition(scene, before, f"wait {clock.stated(end - start)}", after)


def _moment(scene: Scene, time: float, clock: Quantity) -> dict[str, str]:
    assert scene.motion is not None
    constants = {symbol: scene.stated(symbol) for symbol in scene.given if symbol != TIME}
    state = scene.state(time)
    moving = {quantity.symbol: quantity.stated(state[quantity.symbol]) for quantity in scene.motion.quantities}
    return {**constants, **moving, TIME: clock.stated(time)}


def _record(transition: Transition, kind: type[Record], params: TransitionParams) -> Record:
    scene, answer, state = transition.scene, state_text(transition.after), state_text(transition.before)
    prompt = f"{state}\n{transition.action}"
    if not params.is_short(scene.level):
        symbols = scene.story({symbol: symbol for symbol in scene.given})
        meanings = "; ".join(f"{name}: {quantity.meaning}" for name, quantity in _meanings(transition).items())
        prompt = (
            f"{symbols}\nState ({meanings}):\n{state}\nAction: {transition.action}.\n"
            "Write the whole state after the action, one line of key=value for each quantity, and nothing else."
        )
    meta = {"task": "physics-transitions", "level": scene.level, "family": scene.family}
    columns = {**meta, "action": transition.action, "state": state}
    if kind is Conversation:
        return Conversation(prompt, answer, {**columns, "answer": answer})
    return PromptTask(prompt, answer, columns)


def _meanings(transition: Transition) -> dict[str, Quantity]:
    scene = transition.scene
    moving = {quantity.symbol: quantity for quantity in scene.motion.quantities} if scene.motion else {}
    known = {**moving, **scene.quantities, TIME: scene.quantities.get(TIME, Quantity(TIME, "the time", "s"))}
    return {name: known[name] for name in sorted(transition.before)}


transitions = _TransitionTask()
