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
from rlllm.stages.pipeline.cards import step_cards
from rlllm.stages.pipeline.gates import GateResult
from rlllm.stages.pipeline.measurable import numbers_of, spelled
from rlllm.stages.pipeline.reuse import AGAIN, CONTINUED, EVERYTHING, LEFT_OUT, NEW, TAKEN, Decision, Selection, Steps
from rlllm.stages.pipeline.settings import Pipeline, PipelineStep, fill, references
from rlllm.stages.published import compare_published, sentences


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
    decisions: dict[str, Decision] = field(default_factory=dict)
    """What was done with each step: run, continued, run again, or taken from before."""

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
        made = {name: asdict(decision) for name, decision in self.decisions.items()}
        return {**found, "gates": gates, "made": made, **({"published": self.published} if self.published else {})}


def run_pipeline(
    pipeline: Pipeline, output_dir: Path, options: RunOptions, selection: Selection = EVERYTHING
) -> PipelineRun:
    """Run every step into `output_dir/STEP`; writes `pipeline.json` and `report.html` there.

    When it is resumed, steps that are done are taken as they are unless something that they depend on has changed, and an
    unfinished one continues.

    Args:
        pipeline: what to do.
        output_dir: of the pipeline.
        options: how it is started; `resume` is True where only some steps are asked for.
        selection: the steps that are asked for.

    Raises:
        RlllmError: a step's settings, data or model are wrong.
    """
    selection.check(pipeline)
    _check_output(output_dir, options)
    with like_ctrl_c(), held(output_dir, options.progress.note):
        _check_output(output_dir, options)  # another may have been faster
        return _run_steps(pipeline, output_dir, options, selection)


def _run_steps(pipeline: Pipeline, output_dir: Path, options: RunOptions, selection: Selection) -> PipelineRun:
    outcome = PipelineRun(output_dir, {}, [], complete=False)
    steps = Steps(output_dir, pipeline, options.accept_change)
    left_out = selection.left_out(pipeline)
    wanted = [step for step in pipeline.ordered if step.name not in left_out]
    for step in wanted:
        run, outcome.decisions[step.name] = _make(pipeline, step, steps, options, selection)
        outcome.runs[step.name] = run
        outcome.rows.extend(_summary(step, run))
        if run.ok:
            outcome.gates.extend(_gates(step, outcome.runs))
        if not run.ok or outcome.closed is not None:
            break
    complete = len(outcome.runs) == len(wanted)
    beside = (
        compare_published(pipeline.published, outcome.runs) if pipeline.published and complete and not left_out else []
    )
    outcome = replace(outcome, complete=complete, published=beside)
    write_json(output_dir / "pipeline.json", outcome.to_json())
    commands = [without_secrets(options.command or "rlllm run")] + [
        str(run.config["command"]) for run in outcome.runs.values()
    ]
    runs = list(outcome.runs.values())
    cards = list(step_cards(pipeline, outcome.runs, outcome.decisions, outcome.gates))
    page = render_pipeline(pipeline.title, outcome.rows, runs, commands, sentences(beside), cards)
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


def _make(
    pipeline: Pipeline, step: PipelineStep, steps: Steps, options: RunOptions, selection: Selection
) -> tuple[Run, Decision]:
    """A step's run, taken from the pipeline's directory or made there, and which of the two."""
    config = step_config(pipeline, step, steps.folder)
    if step.name in selection.as_they_are(pipeline):
        run = steps.done(step, str(selection.only or selection.start))
        return run, Decision(TAKEN, "as it is")
    inputs = steps.inputs(step, config)
    decision = steps.decide(step, config, inputs) if options.resume else Decision(NEW)
    if step.name == selection.start and decision.what != NEW:
        decision = Decision(AGAIN, "asked for by --from")
    say = options.progress.note
    if decision.what == TAKEN:
        say(f"{step.name}: taken from {config.output_dir}, {decision.why}")
        return Run(steps.folder / step.name), decision
    if decision.what == AGAIN:
        say(f"{step.name}: runs again, {decision.why}; what was there is kept in {steps.move_aside(step)}")
    steps.record(step, inputs)
    own = replace(options, recipe=step.recipe_text(), command=_command(pipeline, step, config))
    own = replace(own, resume=decision.what == CONTINUED)
    return stage_function(step.stage)(config, own), decision


def forecast(
    pipeline: Pipeline, folder: Path, options: RunOptions, selection: Selection = EVERYTHING
) -> dict[str, Decision]:
    """What `run_pipeline` would do with each step, as far as that can be known before it begins.

    Raises:
        RlllmError: as `run_pipeline`.
    """
    selection.check(pipeline)
    _check_output(folder, options)
    steps = Steps(folder, pipeline, options.accept_change)
    left_out, as_they_are = selection.left_out(pipeline), selection.as_they_are(pipeline)
    found: dict[str, Decision] = {}
    for step in pipeline.ordered:
        is_there = options.resume and (folder / step.name / "config.json").is_file()
        waits = sorted(name for name in references(step.settings) if found[name].to_do)
        if step.name in left_out:
            found[step.name] = Decision(LEFT_OUT)
        elif step.name in as_they_are:
            steps.done(step, str(selection.only or selection.start))
            found[step.name] = Decision(TAKEN, "as it is")
        elif step.name == selection.start and is_there:
            found[step.name] = Decision(AGAIN, "asked for by --from")
        elif waits and is_there:
            found[step.name] = Decision(AGAIN, f"unless {', '.join(waits)} makes the same as before")
        elif is_there:
            config = step_config(pipeline, step, folder)
            found[step.name] = steps.decide(step, config, steps.inputs(step, config))
        else:
            found[step.name] = Decision(NEW)
    return found


def step_config(pipeline: Pipeline, step: PipelineStep, folder: Path) -> StageConfig:
    """The settings of a step in a pipeline's directory."""
    places = {name: folder / name for name in pipeline.needs}
    return pipeline.resolve(step, places).model_copy(update={"output_dir": folder / step.name})


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
