"""`rlllm data export`: the files that were written, how to read them back, and what the format could not carry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlllm_cli import completion, console, options, overrides
from rlllm_cli.commands.data_show import Kind


def export(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="Built-in name, file, folder or Hub id; NAME#N.", autocompletion=completion.datasets
        ),
    ],
    words: options.DataSettings = None,
    *,
    to: Annotated[str, typer.Option("--to", metavar="TOOL", help="verl, openrlhf, llamafactory or trl.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE|DIR", help="A folder gets train and test files.")],
    kind: Kind = None,
    columns: options.Columns = None,
    row_schema: options.RowSchema = None,
    holdout: Annotated[
        float | None,
        typer.Option("--holdout", metavar="N", help="Rows for a test file, or a share below 1.", show_default=False),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", metavar="", help="Replace files that exist.")] = False,
    json: options.Json = False,
) -> None:
    """Write a data set in the format of another tool."""
    from rlllm.tools.data.export import export_data
    from rlllm.tools.data.show import data_config

    data_settings = {
        "name": data,
        **({"row_schema": row_schema} if row_schema else {}),
        **({"columns": columns} if columns else {}),
        **({} if holdout is None else {"holdout": holdout}),
    }
    typed = overrides.data_settings("data export", words or ())
    exported = export_data(data_config(data_settings, typed), to=to, out=out, kind=kind, overwrite=overwrite)
    if json:
        console.emit_json(exported.to_json())
        return
    mapped = ",".join(f"{field}={column}" for field, column in exported.written.columns.items())
    console.fields(
        [
            ("data", f"{exported.source}, read as {exported.kind}"),
            *(("written", f"{rows:,} rows in {file}") for file, rows in exported.written.files.items()),
            *([("read back", f"--columns {mapped}")] if mapped else []),
        ]
    )
    for warning in exported.written.warnings:
        console.say(f"warning: {warning}")
