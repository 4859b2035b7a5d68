"""Plans: everything about a run that can be known, checked and printed before torch is imported.

`--dry-run` prints a plan, and the run itself starts from the same object, so that what was checked is what is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Self, TypeGuard, TypeVar

from rlllm.algorithms.registry import METHODS
from rlllm.core import trl_fields
from rlllm.core.config import StageConfig
from rlllm.core.errors import ConfigError
from rlllm.core.processes import launched
from rlllm.core.records import has_images, tools_of
from rlllm.data.inspect.summary import check
from rlllm.data.load import Loaded, load
from rlllm.evals.monitors.dynamics.registry import check_allowed, own_monitors
from rlllm.launch.settings import LaunchConfig
from rlllm.launch.topology import processes_of
from rlllm.policies.model_sources import ModelSource, refuse_scorers, source_of, trusted_code
from rlllm.rewards.composition import Composition
from rlllm.rollouts.engines.choice import engine_text
from rlllm.training.batch_arithmetic import BatchPlan, plan_batches, rows_of_step
from rlllm.training.combinations import check_combinations
from rlllm.training.evaluations import EvaluationPlan, evaluations_of
from rlllm.training.images import check_images
from rlllm.training.precision import check_precision, precision_lines
from rlllm.training.rl_settings import RLSettings
from rlllm.training.settings import TrainingConfig
from rlllm.training.size_defaults import ROLLOUT_NAMES, SizeDefaults, given_rollout, size_defaults
from rlllm.training.trainers.base import Trainer

if TYPE_CHECKING:
    from rlllm.algorithms.methods.base import Method
    from rlllm.training.environment import PlannedEnvironment
    from rlllm.training.equal_methods import Equality
    from rlllm.training.text_positions import PositionCounts

_SHOWN = (
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "max_steps",
    "num_train_epochs",
)
"""TRL settings that every plan shows, whoever sets them."""
_OF_RLLLM = frozenset(
    {*ROLLOUT_NAMES.values(), "temperature", "top_p", "top_k", "reward_weights", "max_tool_calling_iterations"}
)
"""TRL settings with a default or a place of their own in rlllm."""
_ONE_ANSWER = "one answer to each prompt, before and after; a second one is asked for in training alone"
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
        settings: TRL settings: those by the model's size under the method's under the user's.
        sizes: the defaults by the model's size that hold, or why there are none.
        given: names of the TRL settings that recipe or command line gave.
        rewards: what scores completions; None where nothing is scored.
        eval_reward: a further reward that only measures; its measurement comes first.
        cards: one line for each reward that trains and has a card, stale ones included.
        changes: what recipe or command line set otherwise than the method does: name -> the method's value and the given one.
        positions: what became of the positions of a raw text; None where the data is no raw text.
    """

    config: ConfigT
    method: Method
    trainer: Trainer[Any, Any]
    source: ModelSource
    loaded: Loaded
    settings: Mapping[str, Any]
    sizes: SizeDefaults = field(default_factory=SizeDefaults)
    given: frozenset[str] = frozenset()
    rewards: Composition | None = None
    eval_reward: Composition | None = None
    cards: tuple[str, ...] = ()
    changes: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    positions: PositionCounts | None = None

    @property
    def measured_on(self) -> list[Any]:
        """The held-out records that a measurement takes, at most `eval.rows`."""
        return self.loaded.holdout[: self.config.eval.rows]

    @property
    def evaluations(self) -> EvaluationPlan | None:
        """The evaluations during training; None without any. Raises ConfigError for too few held-out rows."""
        return evaluations_of(self)

    @property
    def has_images(self) -> bool:
        """Whether any row has an image, so that rows pass through the model's processor."""
        return has_images((*self.loaded.train, *self.loaded.holdout))

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
        """Steps in a row without any reward difference after which training stops; 0 never stops."""
        return 0

    @property
    def idle_dropout(self) -> str:
        """A sentence where the dropout of the adapters has no effect; empty elsewhere."""
        fields = trl_fields.table(self.trainer.trl_config)
        if not (self.config.lora and self.config.lora.dropout and "disable_dropout" in fields):
            return ""
        if not self.setting("disable_dropout"):
            return ""
        return (
            f"lora.dropout={self.config.lora.dropout:g} has no effect: disable_dropout=true switches all dropout off; "
            "disable_dropout=false keeps it"
        )

    def setting(self, name: str) -> Any:
        """A TRL setting as the trainer will see it: the one given, or else TRL's default."""
        return trl_fields.value(self.trainer.trl_config, self.settings, name)

    def origin(self, name: str) -> str:
        """Where the value of a TRL setting comes from: `given`, `method` (or a component), `size`, `rlllm` or `TRL`."""
        if name in self.sizes.values and self.settings.get(name) == self.sizes.values[name]:
            return "size"
        if name in self.given:
            return "given"
        if name in self.method.settings or name in _trl_names(self.method.defaults.get("rollout", {})):
            return "method"
        if name in self.settings:
            return "rlllm" if name in _OF_RLLLM else "method"
        return "TRL"

    def origins(self) -> dict[str, dict[str, Any]]:
        """Name of a TRL setting -> its value and its origin: all that differ from TRL's, and those that every plan shows."""
        shown = {name: self.setting(name) for name in _SHOWN if name in trl_fields.table(self.trainer.trl_config)}
        shown.pop("num_train_epochs" if shown.get("max_steps", -1) > 0 else "max_steps", None)
        return {
            name: {"value": value, "origin": self.origin(name)} for name, value in {**shown, **self.settings}.items()
        }

    def with_settings(self, settings: Mapping[str, Any]) -> Self:
        """The plan with other TRL settings, and what follows from them."""
        return replace(self, settings=settings)

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
            *self._headline(),
            ("model", f"{self.source.name} ({self.source.kind}) {self.source.reference}"),
            *precision_lines(self.config, self.source, float(self.setting("learning_rate"))),
        ]
        rows += [("data" if number == 0 else "", line) for number, line in enumerate(check(self.loaded).lines())]
        rows += self.positions.lines() if self.positions else ()
        if self.rewards:
            weights = zip(self.rewards.names, self.rewards.weights, strict=True)
            rows.append(("rewards", ", ".join(f"{name} x {weight:g}" for name, weight in weights)))
        rows += [("reward card" if number == 0 else "", line) for number, line in enumerate(self.cards)]
        if self.eval_reward:
            rows.append(("eval reward", ", ".join(self.eval_reward.names)))
        rows += self.evaluations.lines(self) if self.evaluations else []
        rows += self._trainer_lines()
        rows += [("note", text) for text in trusted_code(self.source)]
        if self.idle_dropout:
            rows.append(("note", self.idle_dropout))
        if len(self.loaded.train) < self.rows_needed:
            rows.append(("warning", f"one step takes {self.rows_needed} rows: this data is too small to train on"))
        return [*rows, *self._process_lines(), *self._settings_lines()]

    @property
    def rows_of_step(self) -> int:
        """Rows, or completions in the loop, that one optimizer step takes over all processes."""
        return rows_of_step(self.trainer.trl_config, self.settings, processes_of(self.config.launch))

    def _process_lines(self) -> list[tuple[str, str]]:
        """How several processes share a step; nothing for one."""
        processes = processes_of(self.config.launch)
        if processes == 1:
            return []
        micro, passes = self.setting("per_device_train_batch_size"), self.setting("gradient_accumulation_steps")
        parts = f"per_device_train_batch_size={micro} x {processes} processes x gradient_accumulation_steps={passes}"
        what = "completions" if self.trainer.size_defaults == "loop" else "rows"
        return [("processes", f"{processes}: {parts} = {self.rows_of_step} {what} a step")]

    def _headline(self) -> list[tuple[str, str]]:
        """Stage and method; the method's own summary stands for itself only where nothing of it was changed."""
        name = f"{self.config.stage} with {self.method.name}"
        if not self.changes:
            return [("stage", f"{name}: {self.method.summary}")]
        changed = ", ".join(f"{key}={value}" for key, (_, value) in self.changes.items())
        return [("stage", f"{name}, changed: {changed}"), ("preset", self.method.summary)]

    def _settings_lines(self) -> list[tuple[str, str]]:
        """The TRL settings, by what sets them: the model's size, TRL, and recipe, command line and method."""
        by_origin: dict[str, list[str]] = {}
        for name, setting in self.origins().items():
            label = {"size": "defaults", "TRL": "TRL defaults"}.get(setting["origin"], "trainer")
            by_origin.setdefault(label, []).append(f"{name}={setting['value']}")
        rows: list[tuple[str, str]] = []
        if "defaults" in by_origin:
            rows += [("defaults", ", ".join(by_origin["defaults"])), ("", f"by size: {self.sizes.source}")]
        for label in ("TRL defaults", "trainer"):
            if label in by_origin:
                rows.append((label, ", ".join(by_origin[label])))
        if self.sizes.row is None and self.sizes.reason:
            rows.append(("", f"no defaults by size: {self.sizes.reason}"))
        return rows

    def _trainer_lines(self) -> list[tuple[str, str]]:
        """Rows that only plans of this type have."""
        return []

    def to_json(self) -> dict[str, Any]:
        return {
            "stage": self.config.stage,
            "method": self.method.name,
            "changed": {key: {"preset": preset, "value": value} for key, (preset, value) in self.changes.items()},
            "model": {"name": self.source.name, "kind": self.source.kind, "path": self.source.reference},
            "data": {
                "source": self.loaded.source,
                "train": len(self.loaded.train),
                "holdout": len(self.loaded.holdout),
                "hash": self.loaded.hash,
            },
            **({"positions": self.positions.to_json()} if self.positions else {}),
            "rewards": list(self.rewards.names) if self.rewards else [],
            **({"cards": list(self.cards)} if self.cards else {}),
            **({"during": self.evaluations.to_json(self)} if self.evaluations else {}),
            "trainer": dict(self.settings),
            "defaults": self.sizes.to_json(),
            "settings": self.origins(),
            "rows_needed": self.rows_needed,
            "processes": {"number": processes_of(self.config.launch), "rows_of_step": self.rows_of_step},
        }


@dataclass(frozen=True, kw_only=True)
class RLPlan(Plan[RLConfigT]):
    """A run that samples completions and learns from their rewards.

    Args:
        rewards: what trains, and with weight 0 what only measures.
        batches: how many prompts and completions a rollout and a step take.
        slots: slot name -> resolved component specification.
        environment: what the model may act on, where rollouts have several turns.
        filter_reward: name of the reward by which the sampler judges groups; None where it judges none.
        equals: the method that gives the same update; None where there is none.
        idle: settings that do nothing, since every importance ratio is 1.
    """

    rewards: Composition = field()
    batches: BatchPlan
    slots: Mapping[str, Any]
    environment: PlannedEnvironment | None = None
    filter_reward: str | None = None
    equals: Equality | None = None
    idle: tuple[str, ...] = ()

    def with_settings(self, settings: Mapping[str, Any]) -> Self:
        return replace(
            self,
            settings=settings,
            batches=plan_batches(settings, self.batches.group_size, processes_of(self.config.launch)),
        )

    @property
    def rows_needed(self) -> int:
        return self.batches.prompts_per_rollout

    @property
    def steps_per_rollout(self) -> int:
        return self.batches.steps_per_rollout

    @property
    def flat_steps_limit(self) -> int:
        return self.config.stop_when_flat

    def _filter_text(self) -> str:
        reward = next(reward for reward in self.rewards.rewards if reward.name == self.filter_reward)
        note = " (it only shapes: no reward here verifies)" if reward.verifies is False else ""
        return f"sampler={self.slots['sampler'].name} judges groups by {reward.name}{note}"

    @property
    def entropy_target_is_measured(self) -> bool:
        """Whether the adaptive entropy bonus holds the policy's own entropy at the start, since no target is given."""
        return bool(self.settings.get("use_adaptive_entropy")) and "entropy_target" not in self.settings

    def _trainer_lines(self) -> list[tuple[str, str]]:
        measured = [("entropy target", "the policy's own entropy on its first rollout")]
        correction = self.config.rollout_correction.correction
        return [
            *self._environment_lines(),
            ("slots", ", ".join(f"{name}={spec.name}" for name, spec in self.slots.items())),
            *([("filter", self._filter_text())] if self.filter_reward else []),
            *([("measured", _ONE_ANSWER)] if "reflect" in self.slots else []),
            ("batch", self.batches.describe()),
            *([("engine", engine)] if (engine := engine_text(self.config.rollout)) else []),
            *([("correction", correction.describe())] if correction else []),
            *self._staleness_lines(),
            *(measured if self.entropy_target_is_measured else []),
            *self._equality_lines(),
        ]

    def _staleness_lines(self) -> list[tuple[str, str]]:
        """How old the sampler's weights get, and what is missing where nothing is done about it."""
        steps = self.config.rollout.staleness
        if not steps:
            return []
        rows = [("staleness", f"completions are sampled with weights that are up to {steps} optimizer steps old")]
        if self.config.rollout_correction.correction is None:
            rows.append(("", "and learned from as if they were new; rollout_correction.rollout_is=token weights them"))
        return rows

    def _environment_lines(self) -> list[tuple[str, str]]:
        if self.environment is None:
            return []
        rows = sum(bool(tools_of(task.meta)) for task in self.loaded.train)
        instead = f"prompts describe its tools, and not what {rows:,} rows have in their column tools"
        return [("environment", self.environment.describe()), *([("", instead)] if rows else [])]

    def _equality_lines(self) -> list[tuple[str, str]]:
        """The method that the run equals; or else what does nothing, with one update a rollout."""
        rows = [("note", str(self.equals))] if self.equals else []
        if self.idle and not self.equals:
            settings = f"{', '.join(self.idle)} {'does' if len(self.idle) == 1 else 'do'} nothing"
            rows = [("note", f"with one update a rollout every importance ratio is 1, and {settings}")]
        if rows and (self.equals is None or self.equals.by_updates):
            steps = 4 * self.setting("gradient_accumulation_steps")
            rows.append(("", f"for several updates: steps_per_generation={steps}, or num_iterations=2"))
        return rows

    def to_json(self) -> dict[str, Any]:
        return {
            **super().to_json(),
            **({"environment": self.environment.describe()} if self.environment else {}),
            "slots": {name: spec.model_dump() for name, spec in self.slots.items()},
            **({"filter_reward": self.filter_reward} if self.filter_reward else {}),
            **({"equals": self.equals.to_json()} if self.equals else {}),
            **({"idle": list(self.idle)} if self.idle else {}),
        }


@dataclass(frozen=True, kw_only=True)
class ExperimentPlan(RLPlan[RLConfigT]):
    """Several whole runs, one after another, and their comparison.

    Args:
        runs: names of the runs' directories.
    """

    runs: tuple[str, ...]


def start_plan(config: ConfigT, method: Method, trainer: Trainer[Any, Any]) -> Plan[ConfigT]:
    """The part of planning that all trainers share: defaults of size and method, model, data, TRL settings.

    Raises:
        ConfigError: a TRL setting that this trainer does not take.
        ModelError, DataError: the model or the data do not exist or cannot be read.
    """
    source, loaded = source_of(config.model), load(config.data, trainer.record)
    return plan_of(config, method, trainer, source, loaded)


def plan_of(
    config: ConfigT, method: Method, trainer: Trainer[Any, Any], source: ModelSource, loaded: Loaded
) -> Plan[ConfigT]:
    """A plan of a model and of data that are at hand: the defaults of size and method under the settings that were given.

    Raises:
        ConfigError: settings that do not go together.

    The defaults by size leave out what the method sets; they only scale its `steps_per_generation` to the passes of a step.
    """
    if not loaded.train:
        raise ConfigError("there are no rows to train on", given=loaded.source, hint="data.rows=1000, or leave it out")
    if trainer.task == "CAUSAL_LM":
        refuse_scorers(source)
    check_images(source, method.name, trainer.reads_images, [*loaded.train, *loaded.holdout])
    sizes = size_defaults(
        config,
        method,
        trainer.size_defaults,
        trainer.trl_config,
        source,
        loaded.train,
        processes=processes_of(config.launch),
    )
    plan = Plan(
        config=with_defaults(config, method, sizes),
        method=method,
        trainer=trainer,
        source=source,
        loaded=loaded,
        settings={**method.settings, **sizes.settings, **config.trainer},
        sizes=sizes,
        given=frozenset(config.trainer) | _trl_names(given_rollout(config)),
        changes=preset_changes(config, method),
    )
    check_combinations(trainer.trl_config, trainer.task, plan.settings, config.lora)
    check_precision(config, source)
    check_allowed(config.allow, own_monitors(config.monitors))
    return plan


def preset_changes(config: TrainingConfig, method: Method) -> dict[str, tuple[Any, Any]]:
    """What was given otherwise than the method has it: name -> the method's value and the given one."""
    changes = {
        name: (preset, config.trainer[name])
        for name, preset in method.settings.items()
        if name in config.trainer and config.trainer[name] != preset
    }
    for section, presets in method.defaults.items():
        own = getattr(config, section)
        given = own.model_dump(exclude_unset=True) if section in config.model_fields_set else {}
        changes |= {
            f"{section}.{key}": (preset, given[key])
            for key, preset in presets.items()
            if key in given and given[key] != preset
        }
    return changes


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


def with_defaults(config: ConfigT, method: Method, sizes: SizeDefaults) -> ConfigT:
    """The settings with the method's own under those that were given, and those of the model's size under both."""
    by_size = {"rollout": sizes.rollout} if sizes.rollout else {}
    changed = {}
    for name in dict.fromkeys([*by_size, *method.defaults]):
        section = getattr(config, name)
        set_before = section.model_dump(exclude_unset=True)
        lowest, given = ({}, set_before) if name in config.model_fields_set else (set_before, {})
        layers = {**lowest, **by_size.get(name, {}), **method.defaults.get(name, {}), **given}
        changed[name] = type(section).model_validate(layers)
    return config.model_copy(update=changed)


def _trl_names(rollout: Mapping[str, Any]) -> frozenset[str]:
    """Names of a rollout's settings as TRL has them."""
    return frozenset(ROLLOUT_NAMES.get(name, name) for name in rollout)


def starts_processes(config: StageConfig) -> TypeGuard[TrainingConfig]:
    """Whether this process is to start others, and not to train itself."""
    return isinstance(config, TrainingConfig) and config.launch.name != "local" and not launched()


def refuse_several_processes(what: str, launch: LaunchConfig | None = None) -> None:
    """Raise ConfigError under a launcher: `what` is made of whole runs, and is started in one process.

    Args:
        what: the noun of the message.
        launch: the setting of these runs, where it would start processes for all of them.
    """
    number = processes_of(launch or LaunchConfig())
    if number > 1:
        raise ConfigError(f"{what} run in one process", given=f"{number} processes", hint="start without a launcher")
