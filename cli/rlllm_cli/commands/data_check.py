"""`rlllm data check`: the report on a data set, as text or as one JSON document; with `--strict`, findings fail the command."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlllm_cli import completion, console, options, overrides
from rlllm_cli.commands.data_build import Kind, Sources
from rlllm_cli.progress import listening

if TYPE_CHECKING:
    from rlllm.tools.data.check import Checked


def check(
    sources: Sources,
    kind: Kind = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            "--against",
            metavar="NAME",
            help="Evaluation set to look for; repeatable; data, or an eval recipe.",
            show_default=False,
            autocompletion=completion.datasets,
        ),
    ] = None,
    columns: options.Columns = None,
    row_schema: options.RowSchema = None,
    skip: Annotated[bool, typer.Option("--skip-bad-rows", metavar="", help="Count rows that do not fit.")] = False,
    strict: Annotated[bool, typer.Option("--strict", metavar="", help="Exit with 1 if anything was found.")] = False,
    json: options.Json = False,
) -> None:
    """Check data before training on it: sizes, duplicates, imbalances, contamination."""
    from rlllm.tools.data.check import DataCheck, check_data
    from rlllm.tools.data.show import data_config

    typed = overrides.names_and_settings("data check", sources)
    given = {"row_schema": row_schema, "on_bad_row": "skip" if skip else None, "columns": columns}
    own: dict[str, Any] = {key: value for key, value in given.items() if value}
    config = DataCheck.checked(
        {
            "sources": [data_config({"name": name, **own}, typed.overrides) for name in typed.bare],
            "kind": kind,
            "contamination": {"against": against or []},
        }
    )
    with listening() as listener:
        checked = check_data(config, listener)
    if json:
        console.emit_json([result.to_json() for result in checked])
    else:
        for number, result in enumerate(checked):
            if number:
                console.emit("")
            console.heading(result.report.source)
            console.fields(_lines(result))
    if strict and any(result.findings for result in checked):
        raise typer.Exit(1)


def _lines(checked: Checked) -> Iterator[tuple[str, Any]]:
    report = checked.report
    yield "type", report.kind
    yield "prompts", f"{report.prompt_lengths} characters" if report.prompt_lengths else "none"
    if report.completion_lengths:
        yield "other text", f"{report.completion_lengths} characters"
    yield "longest row", f"number {report.longest_row[1]:,}, {report.longest_row[2]:,} characters"
    if report.chats:
        yield "messages", "\n".join(report.chats)
    if report.images:
        yield "images", "\n".join(fact.removeprefix("images: ") for fact in report.images)
    if report.labels:
        yield "labels", ", ".join(f"{label!r} {count:,}" for label, count in list(report.labels.items())[:10])
    yield "scripts", ", ".join(f"{name} {count:,}" for name, count in report.scripts.items())
    yield "found", "\n".join(finding.words for finding in checked.findings) or "nothing to worry about"
    if checked.groups:
        yield "repeats", "\n".join(map(_group, checked.groups))
    for hit in checked.hits:
        item = f"{hit['item']['source']} {hit['item']['row']:,}"
        yield "contaminated", f"row {hit['row']:,} holds {item} by rule {hit['rule']} ({hit['score']:.2f})"
    if checked.skipped:
        yield "skipped", "\n".join(checked.skipped)


def _group(rows: list[int]) -> str:
    return "rows " + ", ".join(map(str, rows[:8])) + (", ..." if len(rows) > 8 else "")
