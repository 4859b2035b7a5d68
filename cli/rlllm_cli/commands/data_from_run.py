"""`rlllm data from-run`: what was chosen of a run, and where it was written."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rlllm_cli import console, options


class Choose(StrEnum):
    """Which completions of a prompt are taken."""

    best = "best"
    short = "short"
    hard = "hard"


def from_run(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Directory of a run of `rlllm reason`.")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.jsonl", help="File to write.")],
    choose: Annotated[
        Choose,
        typer.Option(
            "--choose", help="The best; the right with the fewest tokens; or the best of prompts solved seldom."
        ),
    ] = Choose.best,
    each: Annotated[int, typer.Option("--each", metavar="N", help="Completions for each prompt, at most.")] = 1,
    since_step: Annotated[
        int, typer.Option("--since-step", metavar="N", help="Completions of this step and later ones.")
    ] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", metavar="", help="Replace a file that exists.")] = False,
    json: options.Json = False,
) -> None:
    """Write right completions of a run as rows to imitate: rejection sampling."""
    from rlllm.tools.data.from_run import data_from_run

    done = data_from_run(run, out=out, choose=str(choose), each=each, since_step=since_step, overwrite=overwrite)
    if json:
        console.emit_json(done.to_json())
        return
    console.fields(
        [
            ("looked at", f"{done.samples:,} completions of {done.prompts:,} prompts, {done.right:,} of them right"),
            ("written", f"{done.rows:,} rows in {done.out}"),
            ("lineage", f"{done.out}.lineage.json"),
            ("next", f"rlllm sft --data {done.out}"),
        ]
    )
