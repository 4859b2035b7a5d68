"""What a pipeline is: its steps, which of them needs which, and what goes on only behind a gate. Nothing is loaded here.

A step names its stage, a recipe if it wants one, and settings on top. `@NAME` stands for the run directory of another step,
so `model: "@align"` is the model that step made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator, model_validator

from rlllm.core.config import Section, StageConfig
from rlllm.core.errors import ConfigError, unknown
from rlllm.core.recipes import as_given, find_recipe, read_recipe
from rlllm.stages.catalog import resolve_settings
from rlllm.stages.pipeline.gates import Gate, check_names
from rlllm.stages.pipeline.measurable import measurable
from rlllm.stages.pipeline.order import before, in_order
from rlllm.stages.published import PublishedSpec
from rlllm.training.plan import refuse_several_processes
from rlllm.training.settings import FailOn, TrainingConfig


class Step(Section):
    """One step; every other key is a setting of its stage."""

    name: str = Field(pattern=r"^[\w-]+$")
    """Name of the step and of its directory."""
    stage: str
    """The verb."""
    recipe: str | None = None
    """Recipe of that verb to start from."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Settings over the recipe's."""

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, value: Any) -> Any:
        if not isinstance(value, Mapping) or not isinstance(value.get("settings", {}), Mapping):
            return value
        own = {key: item for key, item in value.items() if key in cls.model_fields}
        extra = {key: item for key, item in value.items() if key not in cls.model_fields}
        return {**own, "settings": {**own.get("settings", {}), **extra}}

    def recipe_values(self) -> dict[str, Any]:
        return read_recipe(find_recipe(self.recipe, self.stage).path) if self.recipe else {}

    def recipe_text(self) -> str | Mapping[str, Any] | None:
        """The recipe as it is given; None without one."""
        return as_given(find_recipe(self.recipe, self.stage).path) if self.recipe else None

    def resolve(
        self,
        steps: Mapping[str, Path],
        seed: int,
        fail_on: Sequence[str] = (),
        shared: Mapping[str, Any] | None = None,
    ) -> StageConfig:
        """The stage's config, with references to earlier steps filled in.

        Args:
            steps: name of an earlier step -> its run directory.
            seed: of a step that sets none.
            fail_on: outcomes that fail a step that trains and sets none.
            shared: settings of the pipeline, which lie over the recipe and under the step's own.
        """
        settings = {"seed": seed, **self.settings}
        overrides = [(key, fill(value, steps, self.name)) for key, value in settings.items()]
        config = resolve_settings(self.stage, {**self.recipe_values(), **(shared or {})}, overrides)
        if fail_on and isinstance(config, TrainingConfig) and "fail_on" not in config.model_fields_set:
            return config.model_copy(update={"fail_on": list(fail_on)})
        return config


class PipelineStep(Step):
    """A step of a pipeline, with its place in the graph."""

    needs: list[str] | None = None
    """Steps that are done before this one begins; default: the step before it in the file. Those that its settings name by `@`
    count as well."""
    gate: list[str] = Field(default_factory=list)
    """Comparisons without which the pipeline ends behind this step, as `sft.pass@1.difference > 0 and sft.pass@1.p < 0.05`."""

    @field_validator("needs", "gate", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @cached_property
    def gates(self) -> list[Gate]:
        """Its gates, read. Raises ConfigError for one that is no comparison."""
        return [Gate.read(text) for text in self.gate]


class Pipeline(Section):
    """A pipeline recipe."""

    title: str = "pipeline"
    """Heading of the report."""
    seed: int = 0
    """Seed of every step that sets none."""
    model: str | None = None
    """Model of every step that sets none."""
    data: Any = None
    """Data of every step that trains and sets none."""
    test: Any = None
    """Data of every step that evaluates and sets none."""
    published: PublishedSpec | None = None
    """Published results that those of the steps are compared with, such as `gsm8k`."""
    fail_on: FailOn = Field(default_factory=list)
    """Outcomes that fail a step that trains, and with it the pipeline, beside a main measure that got worse: `no-gain` (no
    measurable change) and `not-measured`. A step that sets its own keeps it."""
    steps: list[PipelineStep] = Field(min_length=1)
    """What to do. Steps run one at a time, each after those that it needs, else in the order of the file."""

    @field_validator("published", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _names_are_unique(self) -> Pipeline:
        names = [step.name for step in self.steps]
        if len(set(names)) < len(names):
            raise ConfigError("two steps have the same name", given=", ".join(names))
        return self

    def check(self) -> None:
        """Resolve every step and read every gate. Raises ConfigError for the first that cannot be."""
        places = {step.name: Path(step.name) for step in self.steps}
        reached = {step.name: measurable(self.resolve(step, _without(places, step.name))) for step in self.steps}
        for step in self.ordered:
            done = {step.name, *before(step.name, self.needs)}
            for gate in step.gates:
                own = {name: measured for name, measured in reached.items() if name in done}
                check_names(gate, step.name, own, [name for name in reached if name not in done])
        if self.published is not None:
            self.published.read()
            evaluated = [step.name for step in self.steps if step.stage == "eval"]
            for name in (self.published.before, self.published.after):
                if name not in evaluated:
                    raise unknown("step that evaluates", name, evaluated)

    @cached_property
    def needs(self) -> dict[str, list[str]]:
        """Name of a step -> those that it needs, in the order of the file. Raises ConfigError for one that is not there."""
        names = [step.name for step in self.steps]
        needs = {}
        for previous, step in zip([None, *names], self.steps, strict=False):
            given = step.needs if step.needs is not None else [previous] * (previous is not None)
            for name in given:
                if name not in names or name == step.name:
                    others = [other for other in names if other != step.name]
                    raise ConfigError(f"step {step.name} needs {name}, which is no other step", exists=others)
            wanted = {*given, *references(step.settings)}
            needs[step.name] = [name for name in names if name in wanted]
        return needs

    @cached_property
    def ordered(self) -> list[PipelineStep]:
        """The steps in the order in which they run. Raises ConfigError where they need each other in a circle."""
        by_name = {step.name: step for step in self.steps}
        return [by_name[name] for name in in_order(self.needs)]

    def resolve(self, step: Step, places: Mapping[str, Path]) -> StageConfig:
        """The config of a step; `places` has the run directories of the steps before it."""
        return step.resolve(places, self.seed, self.fail_on, self.shared(step))

    def shared(self, step: Step) -> dict[str, Any]:
        """What the pipeline sets for a step that does not: its model and data."""
        data = self.test if step.stage == "eval" else self.data
        given = {"model": self.model, "data": data}
        return {key: value for key, value in given.items() if value is not None and key not in step.settings}

    def plannable(self) -> Iterator[tuple[str, StageConfig]]:
        """Name and config of the steps that begin with nothing that another one makes."""
        for step in self.ordered:
            if not references(step.settings):
                yield step.name, self.resolve(step, {})


def load_pipeline(values: Mapping[str, Any]) -> Pipeline:
    """Validate a pipeline recipe. Raises ConfigError with the first problem."""
    refuse_several_processes("pipelines")
    try:
        pipeline = Pipeline.model_validate(dict(values))
    except ValidationError as error:
        problem = error.errors()[0]
        original = problem.get("ctx", {}).get("error")
        if isinstance(original, ConfigError):
            raise original from error
        place = ".".join(str(part) for part in problem["loc"])
        raise ConfigError(f"{place or 'pipeline'}: {problem['msg']}", given=repr(problem.get("input"))[:200]) from error
    pipeline.check()
    return pipeline


def with_settings(recipe: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """A pipeline recipe with settings over it: `title`, `seed` and `fail_on` of the whole, `STEP.KEY` of a step.

    Raises:
        ConfigError: a key that neither is a field of the pipeline nor begins with the name of a step.
    """
    changed = dict(recipe)
    own = [name for name in Pipeline.model_fields if name != "steps"]
    for key, value in settings.items():
        name, dot, setting = key.partition(".")
        steps = changed["steps"] if isinstance(changed.get("steps"), list) else []
        named = [step.get("name") if isinstance(step, Mapping) else None for step in steps]
        if not dot and name in own:
            changed[name] = value
        elif setting and name in named:
            changed["steps"] = [
                {**step, setting: value} if step_name == name else step
                for step, step_name in zip(steps, named, strict=True)
            ]
        else:
            names = [*own, "output_dir", *(f"{step_name}.KEY" for step_name in named if step_name)]
            raise ConfigError(
                f"a pipeline has no setting {key}", exists=names, hint="STEP.KEY=VALUE sets it for a step"
            )
    return changed


def fill(value: Any, steps: Mapping[str, Path], step: str, config: StageConfig | None = None) -> Any:
    """Replace `@NAME` with the directory of that step, and `@NAME/FILE` with a file in it, at any depth."""
    if isinstance(value, Mapping):
        return {key: fill(item, steps, step, config) for key, item in value.items()}
    if isinstance(value, list):
        return [fill(item, steps, step, config) for item in value]
    if not isinstance(value, str) or not value.startswith("@"):
        return value
    name, slash, inside = value[1:].partition("/")
    if config is not None and config.output_dir is not None:
        return f"{config.output_dir.parent / name}{slash}{inside}"
    if name not in steps:
        raise ConfigError(f"step {step} refers to {value}, which is no other step", exists=[f"@{s}" for s in steps])
    return f"{steps[name]}{slash}{inside}"


def references(settings: Mapping[str, Any]) -> set[str]:
    """Steps that settings name by `@NAME` or `@NAME/FILE`, at any depth."""
    texts = (value for value in _leaves(settings) if isinstance(value, str) and value.startswith("@"))
    return {text[1:].partition("/")[0] for text in texts}


def _leaves(value: Any) -> Iterator[Any]:
    """The values at any depth of mappings and lists."""
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else None
    if parts is None:
        yield value
    else:
        for part in parts:
            yield from _leaves(part)


def _without(places: Mapping[str, Path], name: str) -> dict[str, Path]:
    return {other: path for other, path in places.items() if other != name}
