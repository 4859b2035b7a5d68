"""`rlllm verify`: run a claim again, or the cheapest part of it that decides."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlllm_cli import console, options
from rlllm_cli.progress import clock, listening

if TYPE_CHECKING:
    from rlllm.tools.claims.verify import Verification


def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A claim, or a results file of the documentation.")],
    row: Annotated[
        list[str] | None,
        typer.Option(
            "--row", metavar="NAME", help="Repeatable; a row, or an arm for its first seed.", show_default=False
        ),
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option(
            "--rows", metavar="N", min=1, help="So many rows; every arm's first seed first.", show_default=False
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", metavar="", help="Only the first steps, compared bit for bit.")
    ] = False,
    steps: Annotated[int, typer.Option("--steps", metavar="K", min=1, help="How many steps --quick repeats.")] = 6,
    margin: Annotated[
        float | None,
        typer.Option(
            "--margin",
            metavar="M",
            help="Largest difference that counts as none; default: from the claim.",
            show_default=False,
        ),
    ] = None,
    output_dir: Annotated[
        Path | None, typer.Option("--output-dir", metavar="DIR", help="Keep the new runs there.", show_default=False)
    ] = None,
    dry_run: options.DryRun = False,
    json: options.Json = False,
) -> None:
    """Run a claim again: reproduced (exit code 0), not reproduced (1), or not decidable at this power (4)."""
    from rlllm.core.errors import ExitCode
    from rlllm.tools.claims.agreement import NOT_REPRODUCED, UNDECIDED
    from rlllm.tools.claims.verify import verify as run_again

    if dry_run:
        _show_plan(file, row or [], rows, json)
        return
    with listening() as progress:
        done = run_again(
            file,
            rows=row or [],
            count=rows,
            quick=quick,
            steps=steps,
            margin=margin,
            output_dir=output_dir,
            progress=progress,
        )
    if json:
        console.emit_json(done.to_json())
    else:
        _show(done)
    codes = {NOT_REPRODUCED: ExitCode.FAILED, UNDECIDED: ExitCode.UNDECIDED}
    if code := codes.get(done.verdict):
        raise typer.Exit(int(code))


def _show_plan(file: Path, names: list[str], count: int | None, as_json: bool) -> None:
    """Check the rows, and print what whole runs of them took."""
    from rlllm.tools.claims.claim_file import read_claim
    from rlllm.tools.claims.verify import check, chosen_rows

    claim = read_claim(file)
    chosen = chosen_rows(claim, names, count)
    for row in chosen:
        check(claim, row)
    if as_json:
        keys = ("name", "stage", "seed", "steps", "seconds")
        console.emit_json([{key: getattr(row, key) for key in keys} for row in chosen])
        return
    rows = [(row.name, row.stage, row.seed, row.steps, clock(row.seconds)) for row in chosen]
    console.table(("row", "stage", "seed", "steps", "took"), rows)


def _show(done: Verification) -> None:
    console.table(
        ("row", "verdict", "why", "time"),
        [(row.name, row.verdict, row.why, clock(row.seconds)) for row in done.rows],
    )
    differing = {name: values for row in done.rows for name, values in row.differences.items()}
    for name, (claimed, here) in differing.items():
        console.say(f"differs: {name} is {here}, the claim has {claimed}")
    console.emit(f"{done.title}: {done.verdict}")
