"""`rlllm compare` and `rlllm report`: look at what runs have measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from rlllm_cli import completion, console, options, outcome


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="Evaluation run before.", autocompletion=completion.runs)],
    b: Annotated[str, typer.Argument(metavar="B", help="Evaluation run after.", autocompletion=completion.runs)],
    seed: Annotated[int, typer.Option("--seed", help="Of the bootstrap.")] = 0,
    json: options.Json = False,
) -> None:
    """Compare two evaluations problem by problem."""
    from rlllm.stages.comparison import compare as compare_evaluations

    comparison = compare_evaluations(a, b, seed=seed).to_json()
    if json:
        console.emit_json(comparison)
        return
    headers = ("task", "metric", "items", "before", "after", "change", "p", "gained", "lost")
    console.table(headers, [_row(task) for task in comparison["tasks"]])
    for name, tasks in ((a, comparison["only_a"]), (b, comparison["only_b"])):
        if tasks:
            console.say(f"only in {name}: {', '.join(tasks)}")


def report(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run directory.", autocompletion=completion.runs)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Default: RUN/report.html.", show_default=False)
    ] = None,
) -> None:
    """Write a run's report, one self-contained HTML file, and print its path. A pipeline's was made at its end."""
    from rlllm.core.errors import ConfigError
    from rlllm.core.report import render_run
    from rlllm.core.runs import open_run

    written = Path(run) / "report.html"
    target = output or written
    pipeline = (Path(run) / "pipeline.json").exists()
    try:
        page = written.read_text(encoding="utf-8") if pipeline else render_run(open_run(run))
        target.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write the report: {error.strerror}", given=target) from error
    console.emit(str(target))


def _row(task: Mapping[str, Any]) -> tuple[object, ...]:
    difference = task["difference"]
    return (
        task["task"],
        task["metric"],
        task["items"],
        outcome.interval(task["before"]),
        outcome.interval(task["after"]),
        outcome.interval(difference),
        f"{difference['p_value']:.3g}",
        len(task["gained"]),
        len(task["lost"]),
    )
