"""The dataset `simulator`: scenes with a hidden number, to be found by measuring, for the environment of that name.

As `PromptTask` a row is one scene. As `Conversation` it is one turn of an experiment: the prompt holds all turns so far, the
completion is the next call in the syntax of the model `nano`. Some experimenters submit a guess without measuring anything, so
that reinforcement learning can improve on them. What is told of a scene decides the split; the hidden number does not, so that
no prompt is in both.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

from pydantic import Field

from rlllm.core.errors import ConfigError
from rlllm.core.records import Conversation, Message, PromptTask, Record
from rlllm.data.procedural.physics.families import (
    FAMILIES,
    HIGHEST_LEVEL,
    SHORT_LEVEL,
    SceneParams,
    draw_scene,
    setup_of,
)
from rlllm.data.procedural.physics.scene import TIME, Scene, Setup
from rlllm.data.procedural.problems import in_turn, levels_of, split_of
from rlllm.data.procedural.procedural_task import parse_params, without_levels
from rlllm.data.procedural.tool_tasks import player
from rlllm.data.request import DataRequest, Split

SUBMITTED = "submitted"
"""What is said to an answer that was handed in; whether it is right is not."""
_PATIENCE = 60
"""Draws of known experiments in a row after which all are taken for used."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """A scene, the given quantity that is hidden, and one that determines it."""

    scene: Scene
    hidden: str
    measured: str

    @property
    def told(self) -> str:
        """What decides the split: the numbers that are told, and which one is not."""
        numbers = (self.scene.stated(symbol) if symbol != self.hidden else "?" for symbol in self.scene.given)
        return f"simulator {self.scene.family} {self.scene.level} {' '.join(numbers)}"


class SimulatorParams(SceneParams):
    """What `data.params` may hold."""

    measures: float = Field(0.5, ge=0, le=1)
    """Share of the played experiments that measure before they submit; the others guess."""


class _SimulatorTask:
    """Dataset callable. `simulator:1-4` takes scenes of levels 1 to 4 in turn."""

    argument: ClassVar[str] = "levels"
    rewards = ("environment",)

    def __call__(self, request: DataRequest) -> list[Record]:
        """Rows with the columns `task`, `level`, `family`, `given` (in SI units) and `hidden`, which the environment reads.

        Raises:
            ConfigError: a parameter or a level that does not exist, or families without anything to hide.
            DataError: another record type than prompts or conversations.
        """
        params = parse_params(SimulatorParams, without_levels(request.params))
        levels = levels_of(request, "simulator", SHORT_LEVEL, HIGHEST_LEVEL)
        experiments = in_turn([_stream(params, level, request) for level in levels])
        if request.kind is PromptTask:
            return [_task(experiment, params) for experiment in islice(experiments, request.rows)]
        generator = player("simulator", request)
        turns = (turn for experiment in experiments for turn in _played(experiment, generator, params))
        return list(islice(turns, request.rows))


def _stream(params: SimulatorParams, level: int, request: DataRequest) -> Iterator[Experiment]:
    families = [name for name in params.families if hidable(setup_of(name, level))]
    if not families:
        raise ConfigError(
            f"no scene of these families hides a number at level {level}",
            given=", ".join(params.families),
            exists=[name for name in FAMILIES if hidable(setup_of(name, level))],
        )

    return _experiments(families, level, request.split, f"simulator {level} {request.split} {request.seed}")


def _experiments(families: Sequence[str], level: int, split: Split, seed: str) -> Iterator[Experiment]:
    """Different experiments of a split; once all are used, train starts over and the held-out split ends."""
    generator, misses = random.Random(seed), 0
    seen: set[tuple[str, str, float]] = set()
    while misses < _PATIENCE:
        scene = draw_scene(generator.choice(families), level, generator)
        setup = scene.setup
        experiment = Experiment(scene, generator.choice(hidable(setup)), generator.choice(setup.symbols_asked))
        if split_of(experiment.told) != split:
            continue
        identity = (experiment.told, experiment.measured, scene.given[experiment.hidden])
        misses = misses + 1 if identity in seen else 0
        if misses and (misses < _PATIENCE or split == "holdout"):
            continue
        if misses:
            seen.clear()
            misses = 0
        seen.add(identity)
        yield experiment


def hidable(setup: Setup) -> list[str]:
    """What can be hidden in a scene. Not the time where something moves: how long it moves would give it away."""
    return [symbol for symbol in setup.hidden if symbol != TIME or setup.motion is None]


def observables(setup: Setup) -> tuple[str, ...]:
    """What can be measured in a scene: what follows from the given numbers, and what moves."""
    moving = [quantity.symbol for quantity in setup.motion.quantities] if setup.motion else []
    return tuple(dict.fromkeys((*setup.symbols_asked, *moving)))


def _task(experiment: Experiment, params: SimulatorParams) -> PromptTask:
    scene, hidden = experiment.scene, experiment.hidden
    columns = {"family": scene.family, "given": dict(scene.given), "hidden": hidden}
    meta = {"task": "simulator", "level": scene.level, **columns}
    return PromptTask(_prompt(experiment, params), scene.stated(hidden), meta)


def _prompt(experiment: Experiment, params: SimulatorParams) -> str:
    scene, hidden = experiment.scene, experiment.hidden
    quantity = scene.quantities[hidden]
    if params.is_short(scene.level):
        told = ", ".join(f"{symbol}={scene.stated(symbol)}" for symbol in scene.given if symbol != hidden)
        return f"{told}. Measure {experiment.measured}. {hidden}?"
    unit = "the number and its unit" if quantity.unit else "the number"
    moving = {part.symbol: part for part in scene.motion.quantities} if scene.motion else {}
    known = {**moving, **scene.quantities}
    can = "; ".join(f"{name}: {known[name].meaning}" for name in observables(scene.setup) if name != hidden)
    late = ", at a time t after the start where something moves" if scene.motion else ""
    return (
        f"{scene.story({hidden: f'{hidden} = ?'})} Find {hidden}, {quantity.meaning}. You can measure ({can}){late}, and "
        f"simulate the scene with {hidden} set to any number; each such call costs. Then submit {unit}."
    )


def _played(experiment: Experiment, generator: random.Random, params: SimulatorParams) -> Iterator[Conversation]:
    """The turns of one experiment, and a last word."""
    task, scene, hidden = _task(experiment, params), experiment.scene, experiment.hidden
    turns: list[Message] = [{"role": "user", "content": str(task.prompt)}]
    if generator.random() < params.measures:
        call = f"<<measure name={experiment.measured}>>"
        yield Conversation(list(turns), call, dict(task.meta))
        reading = f"{experiment.measured}={scene.stated(experiment.measured)}"
        turns += [{"role": "assistant", "content": call}, {"role": "tool", "content": reading}]
        answer = scene.stated(hidden)
    else:
        part = next(part for part in scene.setup.given if part.quantity.symbol == hidden)
        answer = part.quantity.stated(generator.choice(part.numbers) * part.quantity.factor)
    call = f"<<submit answer={answer}>>"
    yield Conversation(list(turns), call, dict(task.meta))
    turns += [{"role": "assistant", "content": call}, {"role": "tool", "content": SUBMITTED}]
    yield Conversation(turns, "done", dict(task.meta))


simulator = _SimulatorTask()
