"""`rlllm compare` and `rlllm report`: look at what runs have measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from rlllm_cli import completion, console, options, outcome

_COLUMNS = (
    "task",
    "metric",
    "items",
    "before",
    "after",
    "change",
    "p",
    "p holm",
    "gained",
    "lost",
    "crossover k",
    "mde",
)


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="A B...",
            help="Runs, each against A; or folders of seeds, or sweeps.",
            autocompletion=completion.runs,
        ),
    ],
    seed: Annotated[int, typer.Option("--seed", help="Of the bootstrap.")] = 0,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the page of these runs.", show_default=False)
    ] = None,
    json: options.Json = False,
) -> None:
    """Compare runs problem by problem, every other one with the first: evaluations, training runs, arms of a sweep."""
    from rlllm.report import short_names
    from rlllm.tools.compare import arms_of, compare_all, comparison_page, conclusion

    paths = list(runs)
    if arms := arms_of(paths):
        _compare_arms(arms, html, json)
        return
    more = len(paths) > 2
    first, *others = short_names([Path(path) for path in paths])
    comparisons = [comparison.to_json() for comparison in compare_all(paths, seed=seed)]
    conclusions = [conclusion(comparison, first, name) for comparison, name in zip(comparisons, others, strict=True)]
    if html:
        _write(html, comparison_page(paths, seed=seed))
    if json:
        console.emit_json(
            [{**comparison, "conclusion": text} for comparison, text in zip(comparisons, conclusions, strict=True)]
        )
        return
    named = list(zip(others, comparisons, strict=True))
    rows = [(*((name,) if more else ()), *_row(task)) for name, comparison in named for task in comparison["tasks"]]
    console.table((*(("run",) if more else ()), *_COLUMNS), rows)
    for name, comparison in named:
        for which, tasks in ((first, comparison["only_a"]), (name, comparison["only_b"])):
            if tasks:
                console.say(f"only in {which}: {', '.join(tasks)}")
    for text in conclusions:
        console.emit(text)


def _compare_arms(arms: Mapping[str, Path], html: Path | None, as_json: bool) -> None:
    """Arms against the first of them, paired by seed and problem. Raises ConfigError where a page is wanted of them."""
    from rlllm.core.errors import ConfigError
    from rlllm.report import sweep_rows
    from rlllm.tools.compare import compare_arms

    if html:
        raise ConfigError("folders of seeds have no page together", given=f"--html {html}", hint="rlllm report SWEEP")
    results = compare_arms(arms)
    if as_json:
        console.emit_json(results)
        return
    console.table(*sweep_rows(results))
    for text in results["findings"]:
        console.emit(text)


def report(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN...", help="Run directories, or folders of runs.", autocompletion=completion.runs),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Default: RUN/report.html, or comparison.html.", show_default=False),
    ] = None,
) -> None:
    """Write one self-contained HTML file about a run, or about several side by side, and print its path."""
    from rlllm.tools.compare import comparison_page

    folder = Path(runs[0]) if len(runs) == 1 else Path()
    if len(runs) == 1 and ((folder / "pipeline.json").exists() or not _holds_runs(folder)):
        target, page = output or folder / "report.html", _single(folder)
    else:
        target, page = output or folder / "comparison.html", comparison_page(runs)
    _write(target, page)
    console.emit(str(target))


def _single(folder: Path) -> str:
    """The page of one run or of a sweep; a pipeline's was made at its end."""
    from rlllm.core.errors import ConfigError
    from rlllm.core.runs import open_run
    from rlllm.report import render_run, render_sweep

    if not (folder / "pipeline.json").exists():
        run = open_run(folder)
        return render_sweep(run) if "arms" in run.results or (folder / "sweep.json").exists() else render_run(run)
    try:
        return (folder / "report.html").read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read the pipeline's report: {error.strerror}", given=folder) from error


def _holds_runs(folder: Path) -> bool:
    """Whether it is no run itself but a folder of runs."""
    from rlllm.core.runs import list_runs

    return not (folder / "status.json").exists() and bool(list_runs(folder))


def _write(target: Path, page: str) -> None:
    from rlllm.core.errors import ConfigError
    from rlllm.core.runs import write_text

    try:
        write_text(target, page)
    except OSError as error:
        raise ConfigError(f"cannot write the report: {error.strerror}", given=target) from error


def _row(task: Mapping[str, Any]) -> Iterator[object]:
    from rlllm.report.wording import crossover

    difference = task["difference"]
    yield from (task["task"], task["metric"], task["items"])
    yield from map(outcome.interval, (task["before"], task["after"], difference))
    yield from (f"{difference['p_value']:.3g}", f"{task['p_holm']:.3g}")
    yield from (len(task["gained"]), len(task["lost"]))
    yield crossover(task["crossover_k"])
    smallest = task["minimum_detectable_effect"]
    yield None if smallest is None else f"{smallest:.3g}"
