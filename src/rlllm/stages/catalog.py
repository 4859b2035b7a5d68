"""The verbs: which settings each has, and the functions that plan and run it. Read by the command line and the Python API."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from rlllm.algorithms.registry import METHODS
from rlllm.core.config import StageConfig, accepts, resolve
from rlllm.core.errors import ConfigError, unknown
from rlllm.core.registry import load_target
from rlllm.core.runs import Run, RunOptions
from rlllm.training.plan import resolve_method, starts_processes
from rlllm.training.registry import TRAINERS, trainer_of
from rlllm.training.settings import TrainingConfig


@dataclass(frozen=True, slots=True)
class StageEntry:
    """One verb.

    Args:
        verb: its name.
        module: of its functions `plan(config)` and `run(config, options)`.
        method: the method where none is named; the method decides the settings class. Empty for a verb without methods.
        config: "module:attribute" of the settings class of a verb without methods.
        method_keys: keys that name the method.
    """

    verb: str
    module: str
    method: str = ""
    config: str = ""
    method_keys: tuple[str, ...] = ("method",)


STAGES = {
    entry.verb: entry
    for entry in (
        StageEntry("pretrain", "rlllm.stages.pretrain", "rpt"),
        StageEntry("sft", "rlllm.stages.sft", "sft"),
        StageEntry("train-rm", "rlllm.stages.train_rm", "bt", method_keys=("method", "kind")),
        StageEntry("align", "rlllm.stages.align", "dpo"),
        StageEntry("reason", "rlllm.stages.reason", "grpo"),
        StageEntry("eval", "rlllm.stages.evaluate.run", config="rlllm.stages.evaluate.settings:EvalSettings"),
    )
}

Overrides = Iterable[tuple[str, Any]]


class StagePlan(Protocol):
    """What a verb is about to do, as `--dry-run` shows it."""

    @property
    def config(self) -> StageConfig:
        """The settings, with those that the method fills in."""

    def lines(self) -> list[tuple[str, str]]:
        """Label and value rows for a person."""

    def to_json(self) -> dict[str, Any]:
        """The same for a program."""


def config_class(verb: str, method: str | None = None) -> type[StageConfig]:
    """The settings class of a verb with a method; None is the verb's default method.

    Raises:
        UnknownNameError: no such verb or method.
        ConfigError: a method of another verb.
    """
    entry = _entry(verb)
    if not entry.method:
        return load_target(entry.config)
    return trainer_of(resolve_method(method or entry.method, verb)).settings[verb]


def unread_keys(verb: str, method: str) -> frozenset[str]:
    """Keys of a method's settings class that it reads only with other components than its own."""
    cls = config_class(verb, method or None)
    if not issubclass(cls, TrainingConfig):
        return frozenset()
    return cls.unread_keys(resolve_method(method, verb).components)


def settings_classes(verb: str) -> dict[type[StageConfig], list[str]]:
    """Every settings class of a verb -> the methods that ship with rlllm and read it; the default method's class first."""
    entry = _entry(verb)
    if not entry.method:
        return {config_class(verb): []}
    classes: dict[type[StageConfig], list[str]] = {config_class(verb): []}
    for name in METHODS.builtins:
        method = METHODS.load(name)
        if verb in method.stages:
            classes.setdefault(trainer_of(method).settings[verb], []).append(name)
    return classes


def method_of(verb: str, recipe: Mapping[str, Any], overrides: Overrides = ()) -> str | None:
    """The method that a recipe and overrides name, or the verb's default; None for a verb without methods."""
    entry = _entry(verb)
    if not entry.method:
        return None
    named = [value for key, value in (*recipe.items(), *overrides) if key in entry.method_keys]
    return str(named[-1]) if named else entry.method


def resolve_settings(
    verb: str, recipe: Mapping[str, Any], overrides: Overrides = (), *, layered: bool = False
) -> StageConfig:
    """The settings of a verb: its method decides which settings there are, then recipe and overrides are layered.

    Args:
        verb: the verb.
        recipe: settings under their names.
        overrides: settings over them.
        layered: the overrides are several layers, the later one wins; otherwise a setting that is given twice is an error.

    Raises:
        UnknownNameError: no such verb, method or key.
        ConfigError: a key that this method does not read, a setting given twice, or a value that does not fit.
    """
    overrides = list(overrides)
    method = method_of(verb, recipe, overrides)
    if method is None:
        return resolve(config_class(verb), recipe, overrides, layered=layered)
    if not {key for key, _ in (*recipe.items(), *overrides)} & {*_entry(verb).method_keys}:
        recipe = {"method": method, **recipe}
    unread = partial(unread_key, verb, method)
    return resolve(config_class(verb, method), recipe, overrides, unread, layered=layered)


def unread_key(verb: str, method: str, key: str) -> ConfigError | None:
    """The error for a key that other methods of the verb read, but not this one; None where none of them does."""
    readers = readers_of(verb, key)
    if not readers:
        return None
    return ConfigError(
        f"method {method} does not read {key}",
        given=key,
        hint=f"leave it out; it is read by {'; '.join(_methods(*item) for item in readers.items())}",
    )


def readers_of(verb: str, key: str) -> dict[str, list[str]]:
    """Trainer -> the methods of the verb that read a key through it, among those that ship with rlllm."""
    if not _entry(verb).method:
        return {}
    methods: dict[str, list[str]] = {}
    for name in METHODS.builtins:
        method = METHODS.load(name)
        if verb in method.stages:
            methods.setdefault(method.trainer, []).append(name)
    return {trainer: names for trainer, names in methods.items() if accepts(TRAINERS.load(trainer).settings[verb], key)}


def _methods(trainer: str, methods: list[str]) -> str:
    shown = ", ".join(methods[:3])
    return f"methods of the trainer {trainer} ({shown}{', ...' if len(methods) > 3 else ''})"


def plan(config: StageConfig) -> StagePlan:
    """The plan of any verb's settings.

    Raises:
        RlllmError: with exit code 2 for anything that cannot work.
    """
    return load_target(f"{_entry(config.stage).module}:plan")(config)


def stage_function(verb: str) -> Callable[[Any, RunOptions], Run]:
    """`run(config, options) -> Run` of a verb. Settings with a launcher are run by processes of their own."""
    run: Callable[[Any, RunOptions], Run] = load_target(f"{_entry(verb).module}:run")

    def start(config: StageConfig, options: RunOptions) -> Run:
        if not starts_processes(config):
            return run(config, options)
        from rlllm.training.launched import run_launched

        return run_launched(config, options, plan)

    return start


def _entry(verb: str) -> StageEntry:
    if verb not in STAGES:
        raise unknown("stage", verb, STAGES)
    return STAGES[verb]
