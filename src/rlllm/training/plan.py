"""The plan: everything about a run that can be known, checked and printed before torch is imported.

`--dry-run` prints it; the run itself starts from the same object, so that what was checked is what is used.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlllm.algorithms.registry import METHODS
from rlllm.core.errors import ConfigError
from rlllm.core.runs import ENSEMBLE
from rlllm.data.inspect.summary import check
from rlllm.data.load import Loaded, load
from rlllm.policies.model_sources import ModelSource, resolve_model
from rlllm.rewards.composition import Composition, build
from rlllm.rewards.config import RewardSpec
from rlllm.rewards.isolation.sandbox.jobs import Isolation
from rlllm.rewards.models.pretrained import declared
from rlllm.rewards.registry import REWARDS
from rlllm.training.batch_arithmetic import BatchPlan
from rlllm.training.families import Family, family_of

if TYPE_CHECKING:
    from rlllm.algorithms.methods.base import Method
    from rlllm.core.config import StageConfig
    from rlllm.training.environment_runs import PlannedEnvironment
    from rlllm.training.settings import TrainingConfig


@dataclass(frozen=True)
class Plan:
    """What a training run will do."""

    config: TrainingConfig
    """The settings with the method's presets filled in."""
    method: Method
    family: Family
    source: ModelSource
    loaded: Loaded
    settings: Mapping[str, Any]
    """TRL settings: the method's under the user's."""
    rewards: Composition | None = None
    batches: BatchPlan | None = None
    slots: Mapping[str, Any] = field(default_factory=dict)
    """Slot name -> resolved component specification."""
    judge: Composition | None = None
    """What measures the result, where that is not what is trained on."""
    environment: PlannedEnvironment | None = None
    """What the model may act on, where rollouts have several turns."""
    runs: tuple[str, ...] = ()
    """Names of the whole runs that this plan is made for, one after another; none for a plan that is one run."""
    cards: tuple[str, ...] = ()
    """A line for each reward that trains and has a card, stale ones included."""

    @property
    def measured_on(self) -> list[Any]:
        """The held-out records that a measurement takes, at most `eval.rows`."""
        return self.loaded.holdout[: self.config.eval.rows]

    @property
    def rows_needed(self) -> int:
        """Training rows without which not one step can run."""
        return self.batches.prompts_per_rollout if self.batches else 1

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
        if self.judge:
            rows.append(("judge", ", ".join(self.judge.names)))
        if self.environment:
            rows.append(("environment", self.environment.describe()))
        if self.slots:
            rows.append(("slots", ", ".join(f"{name}={spec.name}" for name, spec in self.slots.items())))
        if self.batches:
            rows.append(("batch", self.batches.describe()))
        if len(self.loaded.train) < self.rows_needed:
            rows.append(("warning", f"one step takes {self.rows_needed} rows: this data is too small to train on"))
        rows.append(("trainer", ", ".join(f"{key}={value}" for key, value in self.settings.items()) or "TRL defaults"))
        return rows

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
            **({"environment": self.environment.describe()} if self.environment else {}),
            "slots": {name: spec.model_dump() for name, spec in self.slots.items()},
            "trainer": dict(self.settings),
            "rows_needed": self.rows_needed,
        }


def plan(config: StageConfig) -> Any:
    """The plan of any verb's config.

    Raises:
        RlllmError: with exit code 2 for anything that cannot work.
    """
    return config.plan()  # type: ignore[attr-defined]


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


def resolve_rewards(
    specs: Sequence[RewardSpec], loaded: Loaded, *, monitored_only: bool = False, sandbox: Isolation = "full"
) -> Composition:
    """The composition of the named rewards, or of the data source's own when none is named; `monitored_only` as in `build`."""
    return build(chosen_rewards(specs, loaded, sandbox), monitored_only=monitored_only)


def chosen_rewards(specs: Sequence[RewardSpec], loaded: Loaded, sandbox: Isolation = "full") -> list[RewardSpec]:
    """The named rewards, or the data source's own when none is named, with every reward model as a folder.

    Those that run programs and say nothing of how they are isolated run them as `sandbox` says.
    """
    specs = list(specs) or [RewardSpec(name=name) for name in loaded.rewards]
    if not specs:
        raise ConfigError(
            "no reward: this data brings none of its own",
            given=loaded.source,
            hint="say which with --reward NAME; list them with: rlllm rewards ls",
        )
    return [_with_isolation(spec, sandbox) for spec in named_models(specs)]


def _with_isolation(spec: RewardSpec, sandbox: Isolation) -> RewardSpec:
    if sandbox == "full" or "isolation" in spec.params:
        return spec
    target = REWARDS.load(spec.name)
    if not is_dataclass(target) or "isolation" not in {field.name for field in fields(target)}:
        return spec
    return spec.model_copy(update={"params": {**spec.params, "isolation": sandbox}})


def named_models(specs: Sequence[RewardSpec]) -> list[RewardSpec]:
    """The specs with every reward model given as the folder of its weights."""
    return [_with_model_folder(spec) for spec in specs]


def _with_model_folder(spec: RewardSpec) -> RewardSpec:
    """A reward model may be named like any model: as a run, a folder or a Hub id, alone or as the `path` of its reward."""
    if spec.name not in REWARDS and (Path(spec.name).is_dir() or _HUB_ID.fullmatch(spec.name)):
        name = "process" if reward_of(spec.name) == "process" else "model"
        spec = spec.model_copy(update={"name": name, "params": {**spec.params, "path": spec.name}})
    if spec.name not in _MODEL_REWARDS or "path" not in spec.params:
        return spec
    return spec.model_copy(update={"params": {**spec.params, "path": _model_path(spec)}})


def reward_of(reference: str) -> str:
    """Name of the reward that uses a model: `model` or `process` for one that scores, `judge` for one that writes.

    Raises:
        ModelError: no such model, or its config.json is unreadable.
    """
    folder = resolve_model(reference, ensembles=True).folder
    if folder is None or (folder / ENSEMBLE).is_file():
        return "judge" if folder is None else "model"
    architectures, _ = declared(folder, "model")
    found = (reward for end, reward in _SCORERS.items() if any(name.endswith(end) for name in architectures))
    return next(found, "judge")


_SCORERS = {"ForSequenceClassification": "model", "ForTokenClassification": "process"}
"""End of an architecture's name to the reward that scores with it."""


def _model_path(spec: RewardSpec) -> str:
    return resolve_model(str(spec.params["path"]), ensembles=spec.name == "model").path


_MODEL_REWARDS = ("model", "process", "judge")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def plan_training(config: TrainingConfig, method: str) -> Plan:
    """The part of planning the training verbs share: method, model, data, settings."""
    chosen = resolve_method(method, config.stage)
    family = family_of(chosen)
    family.check_sections(chosen.name, config.model_fields_set)
    family.check_settings(chosen.name, config.trainer)
    source = resolve_model(config.model)
    loaded = load(config.data, family.record)
    return Plan(preset(config, chosen), chosen, family, source, loaded, {**chosen.settings, **config.trainer})


def preset(config: TrainingConfig, method: Method) -> TrainingConfig:
    """The settings with the method's own under those that were given."""
    changed = {}
    for name, values in method.defaults.items():
        section = getattr(config, name)
        changed[name] = type(section).model_validate({**values, **section.model_dump(exclude_unset=True)})
    return config.model_copy(update=changed)


def processes() -> int:
    """Training processes started by a launcher; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))
