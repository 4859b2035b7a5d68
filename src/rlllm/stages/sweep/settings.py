"""What a sweep is: shared settings, arms, seeds, a baseline, and what is held equal. Nothing is loaded here."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from rlllm.core.config import Section
from rlllm.core.errors import ConfigError
from rlllm.core.recipes import SWEEPS, find_recipe, read_recipe
from rlllm.core.records import fingerprint
from rlllm.stages.pipeline.settings import Step

Equal = Literal["tokens", "steps", "completions", "none"]
_UNSAFE = re.compile(r"[^\w.+,=-]+")
_LONGEST_NAME = 80
_TAKEN = ("before", "tuning", "measured")
"""Folders that a sweep has beside those of its arms."""


class Arm(Section):
    """One thing that is compared: settings over those that all arms share. Every key that is no field here is a setting."""

    reserved: ClassVar[frozenset[str]] = frozenset({"stage", "recipe", "settings", "tune", "compare_with"})
    stage: str | None = None
    """The verb. Default: the sweep's."""
    recipe: str | None = None
    """Recipe of that verb to start from, in the place of the sweep's."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Settings over the shared ones."""
    tune: dict[str, list[Any]] = Field(default_factory=dict)
    """Values to choose from, in the place of the sweep's `tune`."""
    compare_with: list[str] = Field(default_factory=list)
    """Other named arms that it is compared with besides the baseline, such as its controls; with `axes`, at the same point."""

    @field_validator("compare_with", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, value: Any) -> Any:
        value = {} if value is None else value
        if not isinstance(value, Mapping) or not isinstance(value.get("settings", {}), Mapping):
            return value
        own = {key: item for key, item in value.items() if key in cls.reserved}
        extra = {key: item for key, item in value.items() if key not in cls.reserved}
        return {**own, "settings": {**own.get("settings", {}), **extra}}


class Sweep(Section):
    """A sweep recipe. `axes` are multiplied; `arms` are named one by one; with both, every arm is taken at every point."""

    title: str = "sweep"
    """Heading of the page."""
    stage: str
    """The verb that trains the arms: `pretrain`, `sft`, `train-rm`, `align` or `reason`."""
    recipe: str | None = None
    """Recipe of that verb to start from."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Settings that all arms share. An arm whose method does not read one leaves it out, and the plan says so."""
    axes: dict[str, list[Any]] = Field(default_factory=dict)
    """Key -> values; the arms are all combinations."""
    arms: dict[str, Arm] = Field(default_factory=dict)
    """Name -> settings."""
    only: list[str] = Field(default_factory=list)
    """Train these arms and the baseline alone; a named arm stands for all its points of the axes. Default: all arms."""
    before: list[Step] = Field(default_factory=list)
    """Runs to make once for every seed before the arms, such as a reward model. `@NAME` in a setting is the run's directory,
    and `@seed` the seed. One that sets `seed` to a number and refers to neither is made once, for all seeds."""
    seeds: int = Field(5, ge=1)
    """Seeds every arm is trained under, from `seed` on."""
    seed: int = Field(0, ge=0)
    """The first seed."""
    baseline: str | None = None
    """The arm that the others are compared with; a named arm stands for its first point of the axes. Default: the first."""
    equal: Equal = "none"
    """What all arms are given the same amount of: `tokens` (prompts and completions, rejected ones included), `steps`,
    `completions` or `none`."""
    tune: dict[str, list[Any]] = Field(default_factory=dict)
    """Key -> values. For each arm the value is chosen by the main measure under seeds that are not in the table."""
    tune_seeds: int = Field(2, ge=0)
    """Seeds to choose under, from 1000 on; 0 chooses nothing."""
    stop_hopeless: bool = False
    """Give up an arm after three seeds if the intervals of all its runs lie below those of all the baseline's runs; in tuning,
    keep the better half of the values after each seed."""

    @field_validator("axes", "tune")
    @classmethod
    def _check_values(cls, axes: dict[str, list[Any]]) -> dict[str, list[Any]]:
        for key, values in axes.items():
            if not values:
                raise ConfigError(f"{key} has no values", hint=f"{key}=VALUE,VALUE")
            if len({fingerprint(value) for value in values}) < len(values):
                raise ConfigError(f"{key} has one value twice", given=f"{key}={values}")
        return axes

    @model_validator(mode="after")
    def _check(self) -> Sweep:
        for name in self.arms:
            if not name or _UNSAFE.search(name) or name.startswith(".") or name in _TAKEN:
                raise ConfigError(
                    "an arm's name is a folder's name of its own",
                    given=name,
                    hint=f"letters, digits and . + , = - _, but not {' or '.join(_TAKEN)}",
                )
        for name, arm in self.arms.items():
            unknown_arms = [other for other in arm.compare_with if other not in self.arms or other == name]
            if unknown_arms:
                raise ConfigError(
                    f"arm {name} is compared with what is no other arm",
                    given=f"compare_with: {', '.join(unknown_arms)}",
                    exists=[other for other in self.arms if other != name],
                )
        for arm in self.expanded().values():
            for key in ("seed", "output_dir", "controls", "seeds"):
                if key in arm.settings or key in self.settings:
                    raise ConfigError(f"{key} is the sweep's to set, not an arm's", hint=_INSTEAD[key])
        if self.tune_seeds and self.seed + self.seeds > 1000:
            raise ConfigError("seeds from 1000 on are those of tuning", given=f"seed={self.seed}, seeds={self.seeds}")
        return self

    def expanded(self) -> dict[str, Arm]:
        """The arms by name: the named ones at every point of the axes, as far as `only` has them, the baseline first.

        Raises:
            ConfigError: two arms of one name, or a name in `only` or a baseline that is none of them.
        """
        points = [dict(zip(self.axes, values, strict=True)) for values in itertools.product(*self.axes.values())]
        arms: dict[str, Arm] = {}
        names: dict[str, list[str]] = {}
        for own_name, arm in (self.arms or {"": Arm()}).items():
            for point in points:
                name = ",".join(filter(None, (own_name, point_name(point)))) or "run"
                if name in arms:
                    raise ConfigError("two arms have the same name", given=name)
                others = [",".join(filter(None, (other, point_name(point)))) for other in arm.compare_with]
                arms[name] = arm.model_copy(update={"settings": {**arm.settings, **point}, "compare_with": others})
                names.setdefault(own_name, []).append(name)
        chosen = {name for entry in self.only for name in _named(entry, arms, names)} if self.only else {*arms}
        first = self.baseline or next(iter(arms))
        first = first if first in arms else names.get(first, [first])[0]
        if first not in arms:
            raise ConfigError("no arm of this name to be the baseline", given=first, exists=arms)
        return {first: arms[first], **{name: arm for name, arm in arms.items() if name in chosen}}


_INSTEAD = {
    "seed": "--seed N is the first seed, --seeds N how many there are",
    "output_dir": "--output-dir DIR",
    "controls": "an arm with other rewards, such as rewards=random",
    "seeds": "--seeds N, for all arms",
}


def _named(entry: str, arms: Mapping[str, Any], points: Mapping[str, list[str]]) -> list[str]:
    """Names of the arms that an entry of `only` means: one arm, a named arm at all its points, or several with commas between.

    Raises:
        ConfigError: there is none of this name.
    """
    if entry in arms:
        return [entry]
    if entry and entry in points:
        return points[entry]
    if "," not in entry:
        raise ConfigError("no arm of this name", given=entry, exists=arms)
    return [name for part in entry.split(",") if part for name in _named(part, arms, points)]


def load_sweep(values: Mapping[str, Any]) -> Sweep:
    """Validate a sweep recipe. Raises ConfigError with the first problem."""
    return Sweep.checked(dict(values))


def compose(reference: str | None, stage: str | None, given: Mapping[str, Any]) -> Sweep:
    """The sweep of a recipe and of what is given over it.

    Args:
        reference: name or file of a sweep's recipe, or of a verb's, whose sweep has what is given; None for no recipe.
        stage: the verb, where no recipe says it.
        given: fields of `Sweep`; `settings`, `axes` and `tune` are laid over the recipe's, others replace them.

    Raises:
        ConfigError: the recipe does not say which verb it is for, or a value does not fit.
        UnknownNameError: no such recipe.
    """
    entry = find_recipe(reference, stage) if reference else None
    verb = stage or (entry.stage if entry else "")
    if entry and verb == SWEEPS:
        values = read_recipe(entry.path)
    elif entry and not verb and "stage" in (values := read_recipe(entry.path)):
        pass
    elif verb:
        values = {"stage": verb, **({"recipe": reference} if reference else {})}
    else:
        raise ConfigError(
            "which stage is this recipe for?",
            given=reference,
            hint="add --stage STAGE, or begin the file with a comment: # rlllm STAGE FILE",
        )
    merged = {key: {**(values.get(key) or {}), **given.get(key, {})} for key in ("settings", "axes", "tune")}
    title = {"title": Path(entry.path).stem} if entry else {}
    return load_sweep({**title, **values, **given, **merged})


def point_name(point: Mapping[str, Any]) -> str:
    """A name for settings: `dapo` for a method, `learning_rate=0.0001` for the rest; safe as a folder's name."""
    parts = [_text(value) if key == "method" else f"{key}={_text(value)}" for key, value in point.items()]
    name = _UNSAFE.sub("-", ",".join(parts)).strip("-.")
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 9]}-{fingerprint(point)[:8]}"


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value, default=str)
