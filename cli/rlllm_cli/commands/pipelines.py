"""`rlllm run` and `rlllm demo`: several stages, one after another, from one recipe."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlllm_cli import completion, console, options, outcome, overrides
from rlllm_cli.invocation import as_typed
from rlllm_cli.progress import clock, listening

if TYPE_CHECKING:
    from rlllm.core.runs import RunOptions
    from rlllm.stages.catalog import StagePlan
    from rlllm.stages.pipeline.gates import GateResult
    from rlllm.stages.pipeline.reuse import Selection
    from rlllm.stages.pipeline.run import PipelineRun
    from rlllm.stages.pipeline.settings import Pipeline

DEMO = "demo"
Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...",
        help="output_dir, seed, fail_on, title, model, data, test (data of evaluations) or published of the pipeline, or "
        "STEP.KEY of a step: sft.max_steps=20.",
        show_default=False,
    ),
]
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="STEP",
        help="Begin with this step, anew; those before it are taken as they are. With --output-dir.",
        show_default=False,
    ),
]
Only = Annotated[
    str | None,
    typer.Option(
        "--only",
        metavar="STEP",
        help="Run this step only; those that it needs are taken as they are. With --output-dir.",
        show_default=False,
    ),
]
Name = Annotated[
    str, typer.Argument(metavar="PIPELINE", help="A pipeline recipe.", autocompletion=completion.pipelines)
]


def run(
    ctx: typer.Context,
    pipeline: Name,
    words: Words = None,
    output_dir: options.OutputDir = None,
    seed: options.Seed = None,
    fail_on: options.FailOn = None,
    dry_run: options.DryRun = False,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    accept_change: options.AcceptChange = None,
    start: From = None,
    only: Only = None,
    json: options.Json = False,
) -> None:
    """Run a pipeline of stages."""
    flags = {"output_dir": output_dir, "seed": seed, "fail_on": fail_on}
    launch(ctx, pipeline, words, flags, options.Switches(dry_run, resume, overwrite, json, accept_change), start, only)


def demo(
    ctx: typer.Context,
    words: Words = None,
    output_dir: options.OutputDir = None,
    seed: options.Seed = None,
    fail_on: options.FailOn = None,
    dry_run: options.DryRun = False,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    accept_change: options.AcceptChange = None,
    start: From = None,
    only: Only = None,
    json: options.Json = False,
) -> None:
    """The whole lifecycle on the embedded model, offline, in minutes."""
    flags = {"output_dir": output_dir, "seed": seed, "fail_on": fail_on}
    launch(ctx, DEMO, words, flags, options.Switches(dry_run, resume, overwrite, json, accept_change), start, only)


def launch(
    ctx: typer.Context,
    name: str,
    words: Sequence[str] | None,
    flags: Mapping[str, Any],
    switches: options.Switches,
    start: str | None = None,
    only: str | None = None,
) -> None:
    """Resolve every step first, then run them. Raises RlllmError before the first step, typer.Exit after the last."""
    from rlllm.core.recipes import PIPELINES, find_recipe, read_recipe
    from rlllm.core.runs import RUNS, RunOptions
    from rlllm.stages.pipeline.run import run_pipeline
    from rlllm.stages.pipeline.settings import load_pipeline, with_settings

    entry = find_recipe(name, PIPELINES)
    settings = dict(_given(words, flags))
    output_dir = settings.pop("output_dir", None)
    selection = _selection(start, only, output_dir, switches)
    resume = switches.resume or bool(start or only)
    pipeline = load_pipeline(with_settings(read_recipe(entry.path), settings))
    folder = Path(output_dir) if output_dir else RUNS / f"{entry.path.stem}-{time.strftime('%Y%m%d-%H%M%S')}"
    accepted = tuple(switches.accept_change or ())
    if switches.dry_run:
        there = RunOptions(resume=resume, overwrite=switches.overwrite, accept_change=accepted)
        show_steps(pipeline, switches.json, (folder, there, selection))
        return
    with listening() as progress:
        run_options = RunOptions(progress, resume, switches.overwrite, command=str(ctx.obj), accept_change=accepted)
        done = run_pipeline(pipeline, folder, run_options, selection)
    conclude(done, ctx, switches.json)


def _selection(start: str | None, only: str | None, output_dir: object, switches: options.Switches) -> Selection:
    """Which steps were asked for. Raises ConfigError for words that do not go together."""
    from rlllm.core.errors import ConfigError
    from rlllm.stages.pipeline.reuse import Selection

    if start and only:
        raise ConfigError(
            "--from and --only do not go together", given=f"--from {start} --only {only}", hint="keep one"
        )
    if (start or only) and (output_dir is None or switches.overwrite):
        raise ConfigError(
            "--from and --only go on in a pipeline's directory",
            given="--overwrite" if switches.overwrite else None,
            hint="name it with --output-dir, without --overwrite",
        )
    return Selection(start, only)


def _given(words: Sequence[str] | None, flags: Mapping[str, Any]) -> overrides.Overrides:
    """The options and the settings that were typed. Raises ConfigError for a word without a key, and for one given twice."""
    from rlllm.core.errors import ConfigError

    typed = overrides.read_words("run", words or ())
    if typed.bare:
        raise ConfigError("settings are written KEY=VALUE", given=typed.bare[0], hint="for example sft.max_steps=20")
    settings = [
        (key.replace("-", "_") if key in ("output-dir", "fail-on") else key, value) for key, value in typed.overrides
    ]
    overrides.refuse_repeats(settings)
    return overrides.flag_overrides(flags, settings) + settings


def show_steps(pipeline: Pipeline, as_json: bool, there: tuple[Path, RunOptions, Selection]) -> None:
    """What would run, to stdout. Steps that begin with nothing of an earlier one are planned.

    Args:
        pipeline: the pipeline.
        as_json: print one JSON document.
        there: its directory, how it is started, and which steps are asked for.

    Raises:
        RlllmError: one of these cannot work, as where its data needs a network that there is not.
    """
    from rlllm.stages.pipeline.run import forecast

    folder, run_options, selection = there
    decisions = forecast(pipeline, folder, run_options, selection)
    if as_json:
        made = {name: asdict(decision) for name, decision in decisions.items()}
        plans = {n: p.to_json() for n, p in _plans(pipeline)}
        console.emit_json({**pipeline.model_dump(mode="json"), "needs": pipeline.needs, "made": made, "planned": plans})
        return
    rows = [
        (
            step.name,
            step.stage,
            ", ".join(pipeline.needs[step.name]),
            " ".join(filter(None, (decisions[step.name].what, _in_brackets(decisions[step.name].why)))),
            step.recipe,
            ", ".join(f"{key}={value}" for key, value in step.settings.items()),
        )
        for step in pipeline.ordered
    ]
    console.table(("step", "stage", "needs", "what", "recipe", "settings"), rows)
    console.fields((f"gate of {step.name}", gate) for step in pipeline.ordered for gate in step.gate)
    shared = {"model": pipeline.model, "data": pipeline.data, "test": pipeline.test}
    console.fields((key, str(value)) for key, value in shared.items() if value is not None)
    for name, planned in _plans(pipeline):
        if decisions[name].to_do:
            console.heading(name)
            console.fields(_cost(planned))


def _in_brackets(text: str) -> str:
    return f"({text})" if text else ""


def _plans(pipeline: Pipeline) -> Iterator[tuple[str, StagePlan]]:
    from rlllm.stages.catalog import plan
    from rlllm.training.plan import Plan
    from rlllm.training.storage import check_planned_room

    for name, config in pipeline.plannable():
        planned = plan(config)
        if isinstance(planned, Plan):
            check_planned_room(planned)
        yield name, planned


def _cost(planned: StagePlan) -> Iterator[tuple[str, str]]:
    """What is read, what it costs and what memory it takes, of a plan."""
    from rlllm.training.cost import cost_of

    yield from (
        (label, value)
        for label, value in planned.lines()
        if label in ("model", "data", "task", "completions", "during")
    )
    cost = cost_of(planned)
    yield from cost.lines() if cost else ()


def conclude(done: PipelineRun, ctx: typer.Context, as_json: bool) -> None:
    """Print a pipeline's table. Raises typer.Exit where a step was interrupted (130), failed or got worse (1)."""
    from rlllm.core.outcome import summary_of

    last = list(done.runs.values())[-1]
    interrupted = last.status.get("state") == "interrupted"
    to_resume = ctx.obj.to_resume(done.path)
    commands = [to_resume] if interrupted else _next_commands(done)
    following = [*map(as_typed, [*commands, to_resume] if done.closed else commands)]
    if as_json:
        console.emit_json({"run": str(done.path), **done.to_json(), "next": following})
    else:
        console.table(("step", "measure", "before", "after", "change", "time", "outcome"), _rows(done))
        console.emit("")
        show_gates(done)
        show_published(done)
        outcomes = summary_of({name: run.outcome for name, run in done.runs.items()})
        taken = ", ".join(name for name, decision in done.decisions.items() if not decision.to_do)
        places = [("run", done.path), ("report", done.path / "report.html")]
        console.fields([("outcome", outcomes), *([("taken", taken)] if taken else [])])
        console.fields([*places, *(("next", command) for command in following)])
    if interrupted:
        console.say(f"interrupted; continue with: {following[0]}")
        raise typer.Exit(130)
    outcome.show_reasons(last.verdict)
    if done.closed is not None:
        console.say(f"the gate of {done.closed.step} is closed: {done.closed.failed}")
        console.say(
            "hint: change the step, or the gate, and add --resume: what does not depend on it is taken as it is"
        )
    if not done.ok:
        raise typer.Exit(1)


def show_gates(done: PipelineRun) -> None:
    """The gates, each with its numbers."""
    console.fields((f"gate of {gate.step}", _gate_text(gate)) for gate in done.gates)


def _gate_text(gate: GateResult) -> str:
    numbers = ", ".join(f"{name} = {'not measured' if n is None else f'{n:.4g}'}" for name, n in gate.numbers.items())
    return f"{'holds' if gate.holds else 'CLOSED'}: {gate.gate} ({numbers})"


def show_published(done: PipelineRun) -> None:
    """Published results beside those of the pipeline, and what the answers mean."""
    from rlllm.stages.published import NOT_COMPARABLE, NOTE

    if not done.published:
        return
    heads = ("published", "training", "there", "here", "here - there", "answer")
    rows = [
        (
            row["name"],
            row["when"],
            outcome.interval(row["published"]),
            outcome.interval(row["here"]),
            outcome.interval(row.get("difference")),
            f"{row['answer']}: {row['text']}",
        )
        for row in done.published
    ]
    console.table(heads, rows)
    notes = dict.fromkeys(f"{row['name']}, {row['when']}: {row['note']}" for row in done.published if row["note"])
    judged = any(row["answer"] != NOT_COMPARABLE for row in done.published)
    for text in (*notes, *([NOTE] if judged else [])):
        console.emit(text)
    console.emit("")


def _next_commands(done: PipelineRun) -> list[str]:
    """What to type after a pipeline: what follows its last training run, and two recipes to begin with."""
    trained = [run for run in done.runs.values() if run.outcome is not None]
    if done.closed is not None:
        return [f"rlllm runs show {done.runs[done.closed.step].path}"]
    if not done.ok or not trained:
        return outcome.next_commands(list(done.runs.values())[-1])
    return [*outcome.next_commands(trained[-1]), "rlllm sft quickstart", "rlllm reason quickstart method=dr-grpo"]


def _rows(done: PipelineRun) -> Iterator[tuple[Any, ...]]:
    for row in done.rows:
        change = outcome.interval(row.difference)
        yield (
            row.stage,
            row.measure,
            outcome.interval(row.before),
            outcome.interval(row.after),
            change if row.p is None else f"{change} p {row.p:.2g}",
            clock(row.seconds),
            row.outcome if row.ok else "failed",
        )
