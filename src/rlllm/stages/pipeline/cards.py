"""What became of each step of a pipeline in one sentence, for its page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rlllm.core.runs import Run
from rlllm.report import GateRow, StepCard
from rlllm.report.wording import duration
from rlllm.stages.pipeline.gates import GateResult
from rlllm.stages.pipeline.reuse import AGAIN, CONTINUED, TAKEN, Decision
from rlllm.stages.pipeline.settings import Pipeline, PipelineStep


def step_cards(
    pipeline: Pipeline, runs: Mapping[str, Run], decisions: Mapping[str, Decision], gates: Sequence[GateResult]
) -> Iterator[StepCard]:
    """A card for each step, in the order in which they run; also for those that were not reached."""
    for step in pipeline.ordered:
        own = [GateRow(gate.gate, gate.holds, gate.numbers) for gate in gates if gate.step == step.name]
        run, decision = runs.get(step.name), decisions.get(step.name)
        needs = pipeline.needs[step.name]
        if run is None or decision is None:
            yield StepCard(step.name, step.stage, needs, "not run", "was not reached.")
        else:
            state = "failed" if not run.ok else "taken" if decision.what == TAKEN else "ok"
            yield StepCard(step.name, step.stage, needs, state, _sentence(step, run, decision), own)


def _sentence(step: PipelineStep, run: Run, decision: Decision) -> str:
    """Of a step that was run, or taken from before."""
    settings = run.config.get("settings") or {}
    model = settings.get("model")
    name = model.get("name") if isinstance(model, Mapping) else model
    method = settings.get("method")
    what = f"{step.stage} by {method}" if method and method != step.stage else step.stage
    begin = f" of {_short(name)}" if step.stage == "eval" else f" from {_short(name)}"
    return f"{what}{begin if name else ''}, {_came_to(run)}; {_how(run, decision)}."


def _short(model: object) -> str:
    return str(model).rstrip("/").rpartition("/")[2]


def _came_to(run: Run) -> str:
    if run.outcome is not None:
        return str(run.outcome)
    values = [
        f"{label} {name} {interval['estimate']:.3f}"
        for label, task in (run.results.get("tasks") or {}).items()
        for name, interval in list(task["values"].items())[:1]
    ]
    return ", ".join(values) or ("carried out" if run.carried_out else run.state)


def _how(run: Run, decision: Decision) -> str:
    took = duration(float(run.status.get("seconds", 0.0)))
    if decision.what == TAKEN:
        return f"taken from before ({decision.why}), when it took {took}"
    if decision.what == AGAIN:
        return f"run again in {took} ({decision.why})"
    return f"{'continued, and ' if decision.what == CONTINUED else ''}run in {took}"
