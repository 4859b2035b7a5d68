"""`rlllm claim`: what a run says it found, in one file that is enough to run it again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlllm_cli import completion, console, options


def claim(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A finished run, sweep, experiment or pipeline, or a folder of them.",
            autocompletion=completion.runs,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Default: RUN/claim.json.", show_default=False),
    ] = None,
    json: options.Json = False,
) -> None:
    """Pack recipe, hashes, versions, seeds, samples and measures of a run into one file."""
    from rlllm.tools.claims.pack import claim as pack

    target = output or Path(run) / "claim.json"
    document = pack(run, target)
    if json:
        console.emit_json(document)
        return
    console.say(f"{len(document['claims'])} rows, {target.stat().st_size / 1000:,.0f} kB; verify it with:")
    console.say(f"  rlllm verify {target} --quick")
    console.emit(str(target))
