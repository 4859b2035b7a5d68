"""`rlllm run` and `rlllm demo`: stages in a row, each starting from what an earlier one made.

A step names its stage, a recipe if it wants one, and settings on top. `@NAME` stands for the run directory of an earlier
step, so `model: "@align"` is the model that step made. A step that does not succeed ends the pipeline.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator, model_validator

from rlllm.core.config import Section, StageConfig
from rlllm.core.errors import ConfigError, RunDirectoryError, unknown
from rlllm.core.recipes import as_given, find_recipe, read_recipe
from rlllm.core.redaction import without_secrets
from rlllm.core.runs import Run, RunOptions, held, is_filled, write_json, write_text
from rlllm.core.stop_signals import like_ctrl_c
from rlllm.report import SummaryRow, render_pipeline
from rlllm.stages.catalog import resolve_settings, stage_function
from rlllm.stages.published import PublishedSpec, compare_published, sentences
from rlllm.training.child_runs import run_child
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
        overrides = [(key, _fill(value, steps, self.name)) for key, value in settings.items()]
        config = resolve_settings(self.stage, {**self.recipe_values(), **(shared or {})}, overrides)
        if fail_on and isinstance(config, TrainingConfig) and "fail_on" not in config.model_fields_set:
            return config.model_copy(update={"fail_on": list(fail_on)})
        return config


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
    steps: list[Step] = Field(min_length=1)
    """What to do, in order."""

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
        """Resolve every step against the steps before it. Raises ConfigError for the first that does not resolve."""
        earlier: dict[str, Path] = {}
        for step in self.steps:
            self.resolve(step, earlier)
            earlier[step.name] = Path(step.name)
        if self.published is not None:
            self.published.read()
            evaluated = [step.name for step in self.steps if step.stage == "eval"]
            for name in (self.published.before, self.published.after):
                if name not in evaluated:
                    raise unknown("step that evaluates", name, evaluated)

    def resolve(self, step: Step, places: Mapping[str, Path]) -> StageConfig:
        """The config of a step; `places` has the run directories of the steps before it."""
        return step.resolve(places, self.seed, self.fail_on, self.shared(step))

    def shared(self, step: Step) -> dict[str, Any]:
        """What the pipeline sets for a step that does not: its model and data."""
        data = self.test if step.stage == "eval" else self.data
        given = {"model": self.model, "data": data}
        return {key: value for key, value in given.items() if value is not None and key not in step.settings}

    def plannable(self) -> Iterator[tuple[str, StageConfig]]:
        """Name and config of the steps that begin with nothing that an earlier one makes."""
        earlier: dict[str, Path] = {}
        for step in self.steps:
            config = self.resolve(step, earlier)
            if "@" not in {str(value)[:1] for value in _leaves({**self.shared(step), **step.settings})}:
                yield step.name, config
            earlier[step.name] = Path(step.name)


@dataclass(frozen=True)
class PipelineRun:
    """Outcome of a pipeline: the steps' runs, in order, as far as they came."""

    path: Path
    runs: dict[str, Run]
    rows: list[SummaryRow]
    complete: bool
    published: list[dict[str, Any]] = field(default_factory=list)
    """Published results beside these; see `stages.published`."""

    @property
    def ok(self) -> bool:
        return self.complete and all(run.ok for run in self.runs.values())

    def to_json(self) -> dict[str, Any]:
        steps = {name: str(run.path) for name, run in self.runs.items()}
        outcomes = {name: run.verdict.get("outcome") for name, run in self.runs.items()}
        found = {"ok": self.ok, "outcomes": outcomes, "steps": steps, "summary": [asdict(row) for row in self.rows]}
        return {**found, "published": self.published} if self.published else found


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


def run_pipeline(pipeline: Pipeline, output_dir: Path, options: RunOptions) -> PipelineRun:
    """Run every step into `output_dir/STEP`; writes `pipeline.json` and `report.html` there.

    When it is resumed, steps that already succeeded with the same settings are kept and an unfinished one continues.

    Raises:
        RlllmError: a step's settings, data or model are wrong.
    """
    _check_output(output_dir, options)
    with like_ctrl_c(), held(output_dir, options.progress.note):
        _check_output(output_dir, options)  # another may have been faster
        return _run_steps(pipeline, output_dir, options)


def _run_steps(pipeline: Pipeline, output_dir: Path, options: RunOptions) -> PipelineRun:
    outcome = PipelineRun(output_dir, {}, [], complete=False)
    for step in pipeline.steps:
        places = {name: run.path for name, run in outcome.runs.items()}
        config = pipeline.resolve(step, places).model_copy(update={"output_dir": output_dir / step.name})
        run = _run_step(pipeline, step, config, options)
        outcome.runs[step.name] = run
        outcome.rows.extend(_summary(step, run))
        if not run.ok:
            break
    complete = len(outcome.runs) == len(pipeline.steps)
    beside = compare_published(pipeline.published, outcome.runs) if pipeline.published and complete else []
    outcome = PipelineRun(output_dir, outcome.runs, outcome.rows, complete, beside)
    write_json(output_dir / "pipeline.json", outcome.to_json())
    commands = [without_secrets(options.command or "rlllm run")] + [
        str(run.config["command"]) for run in outcome.runs.values()
    ]
    page = render_pipeline(pipeline.title, outcome.rows, list(outcome.runs.values()), commands, sentences(beside))
    write_text(output_dir / "report.html", page)
    return outcome


def _run_step(pipeline: Pipeline, step: Step, config: StageConfig, options: RunOptions) -> Run:
    own = replace(options, recipe=step.recipe_text(), command=_command(pipeline, step, config))
    return run_child(config, lambda given: stage_function(step.stage)(config, given), own)


def _command(pipeline: Pipeline, step: Step, config: StageConfig) -> str:
    """The line that repeats this step alone."""
    shared = {
        key: {part: item for part, item in value.items() if f"{key}.{part}" not in step.settings}
        if isinstance(value, Mapping)
        else value
        for key, value in pipeline.shared(step).items()
    }
    settings = {"seed": config.seed, **shared, **step.settings}
    shown = [f"{key}={_shell(_fill(value, {}, step.name, config))}" for key, value in settings.items()]
    return " ".join(["rlllm", step.stage, *([step.recipe] if step.recipe else []), *shown])


def _shell(value: Any) -> str:
    import json
    import shlex

    return shlex.quote(value if isinstance(value, str) else json.dumps(value))


def _summary(step: Step, run: Run) -> list[SummaryRow]:
    """One row for each thing the step measured, with the wall time of its run; one row where nothing was measured."""
    results, seconds = run.results, float(run.status.get("seconds", 0.0))
    state = run.outcome.state if run.outcome else ""
    rows = [
        SummaryRow(
            step.name,
            measure["name"],
            measure["after"],
            measure["before"],
            measure["difference"],
            _p_value(measure),
            seconds,
            run.ok,
            state if number == 0 else "",
        )
        for number, measure in enumerate(results.get("measures", []))
    ]
    for name, task in results.get("tasks", {}).items():
        rows += [
            SummaryRow(step.name, f"{name} {measure}", interval, seconds=seconds, ok=run.ok)
            for measure, interval in task["values"].items()
        ]
    return rows or [SummaryRow(step.name, "", seconds=seconds, ok=run.ok, outcome=state)]


def _p_value(measure: Mapping[str, Any]) -> float | None:
    return (measure["difference"] or {}).get("p_value")


def _fill(value: Any, steps: Mapping[str, Path], step: str, config: StageConfig | None = None) -> Any:
    """Replace `@NAME` with the directory of that step, at any depth."""
    if isinstance(value, Mapping):
        return {key: _fill(item, steps, step, config) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, steps, step, config) for item in value]
    if not isinstance(value, str) or not value.startswith("@"):
        return value
    name = value[1:]
    if config is not None and config.output_dir is not None:
        return str(config.output_dir.parent / name)
    if name not in steps:
        raise ConfigError(f"step {step} refers to {value}, which is no earlier step", exists=[f"@{s}" for s in steps])
    return str(steps[name])


def _leaves(value: Any) -> Iterator[Any]:
    """The values at any depth of mappings and lists."""
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else None
    if parts is None:
        yield value
    else:
        for part in parts:
            yield from _leaves(part)


def _check_output(path: Path, options: RunOptions) -> None:
    if is_filled(path) and not (options.resume or options.overwrite):
        raise RunDirectoryError(
            "the output directory is not empty",
            given=path,
            hint="add --resume to continue, --overwrite to replace it, or choose another --output-dir",
        )
