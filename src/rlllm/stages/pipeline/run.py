"""`rlllm run` and `rlllm demo`: the steps of a pipeline, one after another.

A step that does not succeed, or whose gate does not hold, ends the pipeline.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rlllm.core.config import StageConfig
from rlllm.core.errors import RunDirectoryError
from rlllm.core.redaction import without_secrets
from rlllm.core.runs import Run, RunOptions, held, is_filled, write_json, write_text
from rlllm.core.stop_signals import like_ctrl_c
from rlllm.report import SummaryRow, render_pipeline
from rlllm.stages.catalog import stage_function
from rlllm.stages.pipeline.gates import GateResult
from rlllm.stages.pipeline.measurable import numbers_of, spelled
from rlllm.stages.pipeline.settings import Pipeline, PipelineStep, fill
from rlllm.stages.published import compare_published, sentences
from rlllm.training.child_runs import run_child


@dataclass(frozen=True)
class PipelineRun:
    """Outcome of a pipeline: the steps' runs, in order, as far as they came."""

    path: Path
    runs: dict[str, Run]
    rows: list[SummaryRow]
    complete: bool
    published: list[dict[str, Any]] = field(default_factory=list)
    """Published results beside these; see `stages.published`."""
    gates: list[GateResult] = field(default_factory=list)
    """What became of the gates, in the order in which they were asked."""

    @property
    def ok(self) -> bool:
        return self.complete and all(run.ok for run in self.runs.values()) and self.closed is None

    @property
    def closed(self) -> GateResult | None:
        """The gate that did not hold."""
        return next((gate for gate in self.gates if not gate.holds), None)

    def to_json(self) -> dict[str, Any]:
        steps = {name: str(run.path) for name, run in self.runs.items()}
        outcomes = {name: run.verdict.get("outcome") for name, run in self.runs.items()}
        found = {"ok": self.ok, "outcomes": outcomes, "steps": steps, "summary": [asdict(row) for row in self.rows]}
        gates = [asdict(gate) for gate in self.gates]
        return {**found, "gates": gates, **({"published": self.published} if self.published else {})}


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
    for step in pipeline.ordered:
        places = {name: run.path for name, run in outcome.runs.items()}
        config = pipeline.resolve(step, places).model_copy(update={"output_dir": output_dir / step.name})
        run = _run_step(pipeline, step, config, options)
        outcome.runs[step.name] = run
        outcome.rows.extend(_summary(step, run))
        if run.ok:
            outcome.gates.extend(_gates(step, outcome.runs))
        if not run.ok or outcome.closed is not None:
            break
    complete = len(outcome.runs) == len(pipeline.steps)
    beside = compare_published(pipeline.published, outcome.runs) if pipeline.published and complete else []
    outcome = PipelineRun(output_dir, outcome.runs, outcome.rows, complete, beside, outcome.gates)
    write_json(output_dir / "pipeline.json", outcome.to_json())
    commands = [without_secrets(options.command or "rlllm run")] + [
        str(run.config["command"]) for run in outcome.runs.values()
    ]
    page = render_pipeline(pipeline.title, outcome.rows, list(outcome.runs.values()), commands, sentences(beside))
    write_text(output_dir / "report.html", page)
    return outcome


def _gates(step: PipelineStep, runs: Mapping[str, Run]) -> Iterator[GateResult]:
    """The gates behind a step, as far as they hold, and the first that does not."""
    for gate in step.gates:
        of = {name.partition(".")[0] for name in gate.names}
        numbers = {f"{name}.{key}": number for name in of for key, number in numbers_of(runs[name].results).items()}
        result = gate.result(step.name, {name: numbers.get(_spelled(name)) for name in gate.names})
        yield result
        if not result.holds:
            return


def _spelled(name: str) -> str:
    step, dot, measure = name.partition(".")
    return f"{step}{dot}{spelled(measure)}"


def _run_step(pipeline: Pipeline, step: PipelineStep, config: StageConfig, options: RunOptions) -> Run:
    own = replace(options, recipe=step.recipe_text(), command=_command(pipeline, step, config))
    return run_child(config, lambda given: stage_function(step.stage)(config, given), own)


def _command(pipeline: Pipeline, step: PipelineStep, config: StageConfig) -> str:
    """The line that repeats this step alone."""
    shared = {
        key: {part: item for part, item in value.items() if f"{key}.{part}" not in step.settings}
        if isinstance(value, Mapping)
        else value
        for key, value in pipeline.shared(step).items()
    }
    settings = {"seed": config.seed, **shared, **step.settings}
    shown = [f"{key}={_shell(fill(value, {}, step.name, config))}" for key, value in settings.items()]
    return " ".join(["rlllm", step.stage, *([step.recipe] if step.recipe else []), *shown])


def _shell(value: Any) -> str:
    import json
    import shlex

    return shlex.quote(value if isinstance(value, str) else json.dumps(value))


def _summary(step: PipelineStep, run: Run) -> list[SummaryRow]:
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


def _check_output(path: Path, options: RunOptions) -> None:
    if is_filled(path) and not (options.resume or options.overwrite):
        raise RunDirectoryError(
            "the output directory is not empty",
            given=path,
            hint="add --resume to continue, --overwrite to replace it, or choose another --output-dir",
        )
