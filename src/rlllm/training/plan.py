"""Plans: everything about a run that can be known, checked and printed before torch is imported.

`--dry-run` prints a plan, and the run itself starts from the same object, so that what was checked is what is used.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from rlllm.algorithms.registry import METHODS
from rlllm.core import trl_fields
from rlllm.core.errors import ConfigError
from rlllm.data.inspect.summary import check
from rlllm.data.load import Loaded, load
from rlllm.policies.model_sources import ModelSource, resolve_model
from rlllm.rewards.composition import Composition
from rlllm.training.batch_arithmetic import BatchPlan
from rlllm.training.rl_settings import RLSettings
from rlllm.training.settings import TrainingConfig
from rlllm.training.trainers.base import Trainer

if TYPE_CHECKING:
    from rlllm.algorithms.methods.base import Method
    from rlllm.training.environment import PlannedEnvironment

ConfigT = TypeVar("ConfigT", bound=TrainingConfig)
RLConfigT = TypeVar("RLConfigT", bound=RLSettings)


@dataclass(frozen=True, kw_only=True)
class Plan(Generic[ConfigT]):
    """A run that learns from recorded rows.

    Args:
        config: the settings, with the method's defaults under those that were given.
        method: the preset.
        trainer: what trains.
        source: the model to start from.
        loaded: the data, as records of the trainer's type.
        settings: TRL settings: the method's under the user's.
        rewards: what scores completions; None where nothing is scored.
        eval_reward: a further reward that only measures; its measurement comes first.
        cards: one line for each reward that trains and has a card, stale ones included.
    """

    config: ConfigT
    method: Method
    trainer: Trainer[Any, Any]
    source: ModelSource
    loaded: Loaded
    settings: Mapping[str, Any]
    rewards: Composition | None = None
    eval_reward: Composition | None = None
    cards: tuple[str, ...] = ()

    @property
    def measured_on(self) -> list[Any]:
        """The held-out records that a measurement takes, at most `eval.rows`."""
        return self.loaded.holdout[: self.config.eval.rows]

    @property
    def rows_needed(self) -> int:
        """Training rows without which not one step can run."""
        return 1

    @property
    def steps_per_rollout(self) -> int:
        """Optimizer steps between two points at which a checkpoint resumes exactly."""
        return 1

    @property
    def flat_steps_limit(self) -> int:
        """Steps without any reward difference after which training stops; 0 never stops."""
        return 0

    def setting(self, name: str) -> Any:
        """A TRL setting as the trainer will see it: the one given, or else TRL's default."""
        return trl_fields.value(self.trainer.trl_config, self.settings, name)

    def quarantined(self, folder: Path) -> Self:
        """The plan whose rewards write what they fail on into a run's directory."""
        return replace(
            self,
            rewards=self.rewards and self.rewards.quarantined(folder),
            eval_reward=self.eval_reward and self.eval_reward.quarantined(folder),
        )

    def lines(self) -> list[tuple[str, str]]:
        """Label and value rows for a person."""
        rows = [
            ("stage", f"{self.config.stage} with {self.method.name}: {self.method.summary}"),
            ("model", f"{self.source.name} ({self.source.kind}) {self.source.path}"),
        ]
        rows += [("data" if number == 0 else "", line) for number, line in enumerate(check(self.loaded).lines())]
        if self.rewards:
            weights = zip(self.rewards.names, self.rewards.weights, strict=True)
            rows.append(("rewards", ", ".join(f"{name} x {weight:g}" for name, weight in weights)))
        rows += [("reward card" if number == 0 else "", line) for number, line in enumerate(self.cards)]
        if self.eval_reward:
            rows.append(("eval reward", ", ".join(self.eval_reward.names)))
        rows += self._trainer_lines()
        if len(self.loaded.train) < self.rows_needed:
            rows.append(("warning", f"one step takes {self.rows_needed} rows: this data is too small to train on"))
        rows.append(("trainer", ", ".join(f"{key}={value}" for key, value in self.settings.items()) or "TRL defaults"))
        return rows

    def _trainer_lines(self) -> list[tuple[str, str]]:
        """Rows that only plans of this type have."""
        return []

    def to_json(self) -> dict[str, Any]:
        return {
            "stage": self.config.stage,
            "method": self.method.name,
            "model": {"name": self.source.name, "kind": self.source.kind, "path": self.source.path},
            "data": {
                "source": self.loaded.source,
                "train": len(self.loaded.train),
                "holdout": len(self.loaded.holdout),
                "hash": self.loaded.hash,
            },
            "rewards": list(self.rewards.names) if self.rewards else [],
            **({"cards": list(self.cards)} if self.cards else {}),
            "trainer": dict(self.settings),
            "rows_needed": self.rows_needed,
        }


@dataclass(frozen=True, kw_only=True)
class RLPlan(Plan[RLConfigT]):
    """A run that samples completions and learns from their rewards.

    Args:
        rewards: what trains, and with weight 0 what only measures.
        batches: how many prompts and completions a rollout and a step take.
        slots: slot name -> resolved component specification.
        environment: what the model may act on, where rollouts have several turns.
    """

    rewards: Composition = field()
    batches: BatchPlan
    slots: Mapping[str, Any]
    environment: PlannedEnvironment | None = None

    @property
    def rows_needed(self) -> int:
        return self.batches.prompts_per_rollout

    @property
    def steps_per_rollout(self) -> int:
        return self.batches.steps_per_rollout

    @property
    def flat_steps_limit(self) -> int:
        return self.config.stop_when_flat

    def _trainer_lines(self) -> list[tuple[str, str]]:
        return [
            *([("environment", self.environment.describe())] if self.environment else []),
            ("slots", ", ".join(f"{name}={spec.name}" for name, spec in self.slots.items())),
            ("batch", self.batches.describe()),
        ]

    def to_json(self) -> dict[str, Any]:
        return {
            **super().to_json(),
            **({"environment": self.environment.describe()} if self.environment else {}),
            "slots": {name: spec.model_dump() for name, spec in self.slots.items()},
        }


@dataclass(frozen=True, kw_only=True)
class ExperimentPlan(RLPlan[RLConfigT]):
    """Several whole runs, one after another, and their comparison.

    Args:
        runs: names of the runs' directories.
    """

    runs: tuple[str, ...]


def start_plan(config: ConfigT, method: Method, trainer: Trainer[Any, Any]) -> Plan[ConfigT]:
    """The part of planning that all trainers share: method defaults, model, data, TRL settings.

    Raises:
        ConfigError: a TRL setting that this trainer does not take.
        ModelError, DataError: the model or the data do not exist or cannot be read.
    """
    return Plan(
        config=with_defaults(config, method),
        method=method,
        trainer=trainer,
        source=resolve_model(config.model),
        loaded=load(config.data, trainer.record),
        settings={**method.settings, **config.trainer},
    )


def resolve_method(name: str, stage: str) -> Method:
    """A method by name, checked to belong to the stage."""
    from rlllm.algorithms.methods.base import Method

    method = METHODS.load(name)
    if not isinstance(method, Method):
        raise ConfigError(f"{name} is not a method", given=repr(method), hint="a method is an rlllm.Method")
    if stage not in method.stages:
        raise ConfigError(
            f"{name} is a method of {method.stages[0]}, not of {stage}", hint=f"rlllm methods ls --stage {stage}"
        )
    return method


def with_defaults(config: ConfigT, method: Method) -> ConfigT:
    """The settings with the method's own under those that were given."""
    changed = {}
    for name, values in method.defaults.items():
        section = getattr(config, name)
        changed[name] = type(section).model_validate({**values, **section.model_dump(exclude_unset=True)})
    return config.model_copy(update=changed)


def processes() -> int:
    """Training processes started by a launcher; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def refuse_several_processes(what: str) -> None:
    """Raise ConfigError under a launcher: `what` is made of whole runs, and is started in one process."""
    if processes() > 1:
        raise ConfigError(
            f"{what} run in one process", given=f"{processes()} processes", hint="start without a launcher"
        )
