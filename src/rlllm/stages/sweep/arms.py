"""Arms with their settings resolved: what each trains, what it leaves out, and whether it can work. Loads no model."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rlllm.core.config import StageConfig, accepts
from rlllm.core.errors import ConfigError, RlllmError
from rlllm.core.recipes import find_recipe, read_recipe
from rlllm.stages.catalog import STAGES, config_class, method_of, plan, resolve_settings
from rlllm.stages.sweep.settings import Arm, Sweep
from rlllm.training.cost import Cost, cost_of
from rlllm.training.plan import ExperimentPlan, Plan, RLPlan, refuse_several_processes, resolve_method
from rlllm.training.registry import trainer_of
from rlllm.training.settings import TrainingConfig

Overrides = tuple[tuple[str, Any], ...]
SEED = "@seed"
"""In a setting: the seed of the run."""
_BUDGET_STEPS = 20
"""Times the baseline's steps after which a run stops that has not reached the budget of tokens."""


@dataclass(frozen=True, slots=True)
class PlannedArm:
    """An arm that has been checked.

    Args:
        name: of the arm and of its folder.
        stage: the verb.
        overrides: settings in the order they are laid over the verb's defaults, references not yet filled in.
        left_out: shared keys that its method does not read.
        tune: key -> values to choose from.
        plan: of its first seed; None where settings refer to runs that are not made yet.
        cost: of one run, where it samples.
        counts_tokens: whether its method takes `max_tokens`.
        notes: what a reader has to know, such as a learning-rate schedule that ends elsewhere.
        planned_with: models of the plan that stand for those of runs still to be made, in words.
    """

    name: str
    stage: str
    overrides: Overrides
    left_out: tuple[str, ...] = ()
    tune: Mapping[str, Sequence[Any]] | None = None
    plan: Plan[Any] | None = None
    cost: Cost | None = None
    counts_tokens: bool = False
    notes: tuple[str, ...] = ()
    planned_with: tuple[str, ...] = ()

    def config(self, seed: int, folder: Path, runs: Mapping[str, Path], more: Overrides = ()) -> TrainingConfig:
        """The settings of one run.

        Args:
            seed: of the run.
            folder: its directory.
            runs: directories of the runs that were made before the arms, by name.
            more: settings over all others.
        """
        filled = [(key, fill(value, seed, runs, self.name)) for key, value in (*self.overrides, *more)]
        config = resolve_settings(self.stage, {}, [*filled, ("seed", seed), ("output_dir", folder)], layered=True)
        assert isinstance(config, TrainingConfig)
        return config

    def with_settings(self, more: Overrides, notes: Sequence[str] = ()) -> PlannedArm:
        """The arm with settings over its own."""
        return replace(self, overrides=(*self.overrides, *more), notes=(*self.notes, *notes))

    def command(self, seed: int, runs: Mapping[str, Path], more: Overrides = ()) -> str:
        """The line that repeats one run alone."""
        words = {key: fill(value, seed, runs, self.name) for key, value in (*self.overrides, *more)} | {"seed": seed}
        return " ".join(["rlllm", self.stage, *(f"{key}={_shell(value)}" for key, value in words.items())])


def plan_arms(sweep: Sweep) -> list[PlannedArm]:
    """Every arm, resolved, checked and given the same amount of what the sweep holds equal; the baseline first.

    Raises:
        ConfigError: an arm that cannot work (the message names it), or amounts that cannot be made equal.
        DataError, ModelError: its data or model cannot be read.
    """
    refuse_several_processes("sweeps")
    arms = sweep.expanded()
    classes = {name: _class_of(name, arm, sweep) for name, arm in arms.items()}
    shared = list(_flat(_recipe(sweep.recipe, sweep.stage)))
    starts = _checked_before(sweep)
    planned = []
    for name, arm in arms.items():
        base = list(_flat(_recipe(arm.recipe, arm.stage or sweep.stage))) if arm.recipe else shared
        common = [*base, *_flat(sweep.settings)]
        read, left_out = _readable(common, classes[name], classes.values())
        own = PlannedArm(
            name=name,
            stage=arm.stage or sweep.stage,
            overrides=(*read, *_flat(arm.settings)),
            left_out=tuple(left_out),
            counts_tokens=accepts(classes[name], "max_tokens"),
            tune=arm.tune or {key: values for key, values in sweep.tune.items() if key not in arm.settings},
        )
        planned.append(_checked(own, sweep, starts))
    return _made_equal(planned, sweep)


def references(value: Any) -> set[str]:
    """The name in every `@NAME` at any depth, `@seed` apart."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return set().union(*map(references, value))
    return {value[1:]} if isinstance(value, str) and value.startswith("@") and value != SEED else set()


def fill(value: Any, seed: int, runs: Mapping[str, Path], name: str) -> Any:
    """A setting with `@seed` and the directories of earlier runs in their places, at any depth.

    Raises:
        ConfigError: a reference to a run that the sweep does not make.
    """
    if isinstance(value, Mapping):
        return {key: fill(item, seed, runs, name) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [fill(item, seed, runs, name) for item in value]
    if value == SEED:
        return seed
    if not isinstance(value, str) or not value.startswith("@"):
        return value
    if value[1:] not in runs:
        exists = [SEED, *(f"@{run}" for run in runs)]
        raise ConfigError(f"arm {name} refers to {value}, which the sweep does not make before it", exists=exists)
    return str(runs[value[1:]])


def _class_of(name: str, arm: Arm, sweep: Sweep) -> type[StageConfig]:
    """The settings class of an arm. Raises ConfigError for a verb that trains nothing, or an unknown method."""
    stage = arm.stage or sweep.stage
    if stage in STAGES and not STAGES[stage].method:
        trains = [verb for verb, entry in STAGES.items() if entry.method]
        raise ConfigError("a sweep compares training runs", given=f"stage {stage} in arm {name}", exists=trains)
    recipe = _recipe(arm.recipe or (sweep.recipe if stage == sweep.stage else None), stage)
    shared = sweep.settings if stage == sweep.stage else {}
    try:
        return config_class(stage, method_of(stage, {**recipe, **shared, **arm.settings}))
    except RlllmError as error:
        raise _of_arm(error, name) from error


def _recipe(reference: str | None, stage: str) -> dict[str, Any]:
    return read_recipe(find_recipe(reference, stage).path) if reference else {}


def _flat(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Settings with the keys of TRL and of sections one by one, so that an arm can leave out the ones it does not read."""
    for key, value in settings.items():
        if isinstance(value, Mapping) and key in ("trainer", "rollout", "eval", "kl", "critic"):
            yield from ((f"{key}.{part}", item) for part, item in value.items())
        else:
            yield key, value


def _readable(
    common: Sequence[tuple[str, Any]], own: type[StageConfig], every: Any
) -> tuple[list[tuple[str, Any]], list[str]]:
    """The shared settings that a class reads, and the keys of those that only other arms read.

    What no arm reads stays, so that it is refused like any unknown key. The method of another verb is not taken over.
    """
    read, left_out = [], []
    for key, value in common:
        foreign_method = key == "method" and not _is_method_of(str(value), own)
        if (accepts(own, key) and not foreign_method) or not any(accepts(cls, key) for cls in every):
            read.append((key, value))
        elif not foreign_method:
            left_out.append(key)
    return read, list(dict.fromkeys(left_out))


def _is_method_of(name: str, cls: type[StageConfig]) -> bool:
    try:
        return trainer_of(resolve_method(name, cls.stage)).settings[cls.stage] is cls
    except ConfigError:
        return False


def _checked_before(sweep: Sweep) -> dict[str, str]:
    """Name of each run that comes before the arms -> the model that it starts from.

    A run that starts from an earlier one is checked with the model which that one starts from.

    Raises:
        RlllmError: such a run cannot work. The message names it.
    """
    starts: dict[str, str] = {}
    for step in sweep.before:
        runs = {name: Path(name) for name in starts}
        try:
            settings = {
                key: fill(_stand_in(key, value, starts), sweep.seed, runs, step.name)
                for key, value in step.settings.items()
            }
            config = step.model_copy(update={"settings": settings}).resolve({}, sweep.seed)
            plan(config)
        except RlllmError as error:
            raise _with_name(error, step.name) from error
        if isinstance(config, TrainingConfig):
            starts[step.name] = config.model.reference
    return starts


def _checked(arm: PlannedArm, sweep: Sweep, starts: Mapping[str, str]) -> PlannedArm:
    """The arm with the plan of its first seed. Raises the plan's error under the arm's name."""
    runs = {step.name: Path(step.name) for step in sweep.before}
    try:
        config = arm.config(sweep.seed, Path(arm.name), runs)
        known = replace(arm, overrides=tuple((key, _stand_in(key, value, starts)) for key, value in arm.overrides))
        if any(references(value) for _, value in known.overrides):
            return arm  # it needs more of runs that are not there yet than a model or a reward
        planned = plan(known.config(sweep.seed, Path(arm.name), runs))
    except RlllmError as error:
        raise _of_arm(error, arm.name) from error
    assert isinstance(planned, Plan)
    if isinstance(planned, ExperimentPlan) or not planned.measured_on:
        raise _of_arm(
            ConfigError(
                "arms are compared on held-out rows, and there are none",
                given=f"eval.rows={config.eval.rows}, {len(planned.loaded.holdout)} rows held out",
                hint="data.holdout=128 eval.rows=128",
            ),
            arm.name,
        )
    equals = [str(planned.equals)] if isinstance(planned, RLPlan) and planned.equals else []
    assumed = [
        f"{stand_in} in the place of {value}"
        for (key, value), (_, stand_in) in zip(arm.overrides, known.overrides, strict=True)
        if key == "model" and references(value)
    ]
    return replace(arm, plan=planned, cost=cost_of(planned), notes=(*arm.notes, *equals), planned_with=tuple(assumed))


def _stand_in(key: str, value: Any, starts: Mapping[str, str]) -> Any:
    """A setting without references to runs that are not made yet, so that the rest can be checked.

    The model of a run is replaced by the one which that run starts from, a reward by another one.
    """
    if key == "model" and isinstance(value, str):
        return starts.get(value.removeprefix("@"), value) if value.startswith("@") else value
    if key not in ("rewards", "eval_reward") or not references(value):
        return value
    if isinstance(value, list):
        return [_stand_in(key, item, starts) for item in value]
    weight = value.get("weight", 1.0) if isinstance(value, Mapping) else 1.0
    return {"name": "random", "weight": weight}


def _of_arm(error: RlllmError, name: str) -> RlllmError:
    return _with_name(error, f"arm {name}")


def _with_name(error: RlllmError, name: str) -> RlllmError:
    kind = ConfigError if isinstance(error, ConfigError) else type(error)
    return kind(f"{name}: {error.what}", given=error.given, exists=error.exists, hint=error.hint)


def _made_equal(arms: list[PlannedArm], sweep: Sweep) -> list[PlannedArm]:
    if sweep.equal == "steps":
        return _equal_steps(arms)
    if sweep.equal == "completions":
        return _equal_completions(arms)
    if sweep.equal == "tokens" and not arms[0].counts_tokens:
        raise ConfigError(
            "equal tokens need a baseline whose method takes max_tokens", given=arms[0].name, hint="--equal steps"
        )
    return arms


def _equal_steps(arms: list[PlannedArm]) -> list[PlannedArm]:
    """Raises ConfigError where arms were given different numbers of steps."""
    steps = {arm.name: _steps(arm) for arm in arms}
    first = next(iter(steps.values()), 0)
    other = next((name for name, number in steps.items() if number != first), None)
    if other is not None or first <= 0:
        raise ConfigError(
            "equal steps need the same max_steps in all arms",
            given=", ".join(f"{name}: {number}" for name, number in steps.items()),
            hint="--set max_steps=100",
        )
    return arms


def _steps(arm: PlannedArm) -> int:
    """Optimizer steps of an arm's runs; 0 where nothing says how many, before the runs that it starts from are made."""
    if arm.plan is not None:
        return int(arm.plan.setting("max_steps"))
    given = [value for key, value in arm.overrides if key in ("max_steps", "trainer.max_steps")]
    return int(given[-1]) if given else 0


def _equal_completions(arms: list[PlannedArm]) -> list[PlannedArm]:
    """Steps such that all arms that sample draw the baseline's number of completions, resampled ones not counted."""
    first = arms[0].cost
    if first is None:
        raise ConfigError("equal completions need a baseline that samples", given=arms[0].name, hint="--equal steps")
    equal = []
    for arm in arms:
        if arm.cost is None:
            equal.append(arm.with_settings((), ["it does not sample: its steps are as given"]))
            continue
        steps = max(1, round(arm.cost.steps * first.completions / arm.cost.completions))
        equal.append(arm.with_settings((("max_steps", steps),) if steps != arm.cost.steps else ()))
    return equal


def with_budget(arm: PlannedArm, tokens: int, steps: int) -> PlannedArm:
    """The arm that stops at a number of tokens, or as given where its method does not count them.

    Args:
        arm: without a budget of its own.
        tokens: the budget.
        steps: of the run that the budget is from; an arm gets many times as many, so that tokens and not steps end it.
    """
    if not arm.counts_tokens:
        return arm.with_settings((), ["its method has no budget of tokens: its steps are as given"])
    return arm.with_settings((("max_tokens", tokens), ("max_steps", _BUDGET_STEPS * steps)))


def with_constant_rate(arm: PlannedArm) -> PlannedArm:
    """The arm with a constant learning rate unless it has a schedule: that would fall to 0 at a step which is not reached."""
    plan = arm.plan
    if plan is None or not arm.counts_tokens:
        return arm
    if "lr_scheduler_type" in plan.given or "lr_scheduler_type" in plan.method.settings:
        return arm.with_settings(
            (), [f"its schedule {plan.setting('lr_scheduler_type')} runs over steps, not over tokens"]
        )
    return arm.with_settings((("lr_scheduler_type", "constant"),))


def _shell(value: Any) -> str:
    return shlex.quote(value if isinstance(value, str) else json.dumps(value, default=str))
