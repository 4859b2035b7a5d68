"""The dataset `world`: a mixture of tasks and levels by weight. The model `nano` was trained on its default weights."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping

from pydantic import model_validator

from rlllm.core.errors import ConfigError, unknown
from rlllm.core.records import Record
from rlllm.data.procedural.arithmetic import arithmetic
from rlllm.data.procedural.countdown import countdown
from rlllm.data.procedural.lists import lists
from rlllm.data.procedural.problems import Problem, stream
from rlllm.data.procedural.procedural_task import ProceduralParams, ProceduralTask, make_records, parse_params
from rlllm.data.request import DataRequest

TASKS: Mapping[str, ProceduralTask] = {task.name: task for task in (arithmetic, countdown, lists)}
TIERS = {f"{task.name}:{level}": draw for task in TASKS.values() for level, draw in task.tiers.items()}

_WEIGHTS: Mapping[str, float] = {
    "arithmetic:1": 0.1,
    "arithmetic:2": 0.6,
    "countdown:1": 0.05,
    "countdown:2": 0.1,
    "lists:1": 0.15,
}


class _WorldParams(ProceduralParams):
    """Parameters of the mixture."""

    weights: Mapping[str, float] = _WEIGHTS
    """Share of rows of each TASK:LEVEL; the sum need not be 1."""

    @model_validator(mode="after")
    def _known_tiers(self) -> _WorldParams:
        for tier, weight in self.weights.items():
            if tier not in TIERS:
                raise unknown("task and level", tier, TIERS)
            if weight < 0:
                raise ConfigError("a weight is never negative", given=f"{tier}: {weight}")
        if not sum(self.weights.values()):
            raise ConfigError("the weights of a mixture must not all be zero", given=self.weights)
        return self


class _World:
    """Dataset callable of the mixture. Its default reward is the gold utility, which fits every task in it."""

    rewards = ("gold",)

    def __call__(self, request: DataRequest) -> list[Record]:
        if request.level is not None:
            raise ConfigError(
                "world mixes levels", given=f"level={request.level}", hint="set params.weights, e.g. {arithmetic:2: 1}"
            )
        params = parse_params(_WorldParams, request.params)
        return make_records(_mixture(params.weights, request), request, params)


def _mixture(weights: Mapping[str, float], request: DataRequest) -> Iterator[Problem]:
    """Problems of all tiers by weight; a tier whose held-out problems are used up drops out."""
    generator = random.Random(f"world {request.split} {request.seed}")
    streams = {
        tier: stream(TIERS[tier], request.split, f"{tier} {request.split} {request.seed}")
        for tier, weight in weights.items()
        if weight
    }
    while streams:
        tier = generator.choices(tuple(streams), [weights[name] for name in streams])[0]
        problem = next(streams[tier], None)
        if problem is None:
            del streams[tier]
        else:
            yield problem


world = _World()
