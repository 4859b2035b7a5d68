"""`rlllm run` and `rlllm demo`: several stages, one after another, from one recipe."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlllm_cli import completion, console, options, outcome
from rlllm_cli.progress import clock, listening

if TYPE_CHECKING:
    from rlllm.stages.pipeline import Pipeline, PipelineRun

DEMO = "demo"
Name = Annotated[
    str, typer.Argument(metavar="PIPELINE", help="A pipeline recipe.", autocompletion=completion.pipelines)
]


def run(
    ctx: typer.Context,
    pipeline: Name,
    output_dir: options.OutputDir = None,
    seed: options.Seed = None,
    dry_run: options.DryRun = False,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
) -> None:
    """Run a pipeline of stages."""
    launch(ctx, pipeline, output_dir, seed, options.Switches(dry_run, resume, overwrite, json))


def demo(
    ctx: typer.Context,
    output_dir: options.OutputDir = None,
    seed: options.Seed = None,
    dry_run: options.DryRun = False,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
) -> None:
    """The whole lifecycle on the embedded model, offline, in minutes."""
    launch(ctx, DEMO, output_dir, seed, options.Switches(dry_run, resume, overwrite, json))


def launch(
    ctx: typer.Context, name: str, output_dir: Path | None, seed: int | None, switches: options.Switches
) -> None:
    """Resolve every step first, then run them. Raises RlllmError before the first step, typer.Exit after the last."""
    from rlllm.core.recipes import PIPELINES, find_recipe, read_recipe
    from rlllm.core.runs import RunOptions
    from rlllm.stages.pipeline import load_pipeline, run_pipeline

    entry = find_recipe(name, PIPELINES)
    given = {} if seed is None else {"seed": seed}
    pipeline = load_pipeline({**read_recipe(entry.path), **given})
    if switches.dry_run:
        show_steps(pipeline, switches.json)
        return
    folder = output_dir or Path("runs") / f"{entry.path.stem}-{time.strftime('%Y%m%d-%H%M%S')}"
    with listening() as progress:
        run_options = RunOptions(progress, switches.resume, switches.overwrite, command=str(ctx.obj))
        done = run_pipeline(pipeline, folder, run_options)
    conclude(done, ctx, switches.json)


def show_steps(pipeline: Pipeline, as_json: bool) -> None:
    """What would run, to stdout."""
    if as_json:
        console.emit_json(pipeline.model_dump(mode="json"))
        return
    rows = [
        (step.name, step.stage, step.recipe, ", ".join(f"{key}={value}" for key, value in step.settings.items()))
        for step in pipeline.steps
    ]
    console.table(("step", "stage", "recipe", "settings"), rows)


def conclude(done: PipelineRun, ctx: typer.Context, as_json: bool) -> None:
    """Print a pipeline's table. Raises typer.Exit where a step was interrupted (130), failed or got worse (1)."""
    from rlllm.core.outcome import summary_of

    if as_json:
        console.emit_json({"run": str(done.path), **done.to_json()})
    else:
        console.table(("step", "measure", "before", "after", "change", "time", "outcome"), _rows(done))
        console.emit("")
        outcomes = summary_of({name: run.outcome for name, run in done.runs.items()})
        console.fields([("outcome", outcomes), ("run", done.path), ("report", done.path / "report.html")])
    last = list(done.runs.values())[-1]
    if last.status.get("state") == "interrupted":
        console.say(f"interrupted; continue with: {ctx.obj.to_resume(done.path)}")
        raise typer.Exit(130)
    outcome.show_reasons(last.verdict)
    if not done.ok:
        raise typer.Exit(1)


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
