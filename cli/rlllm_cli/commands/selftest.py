"""`rlllm selftest`: whether losses and advantages of this installation equal their formulas, as a table or as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from rlllm_cli import console, options

if TYPE_CHECKING:
    from rlllm.tools.selftest.check import Result


def selftest(json: options.Json = False) -> None:
    """Check every loss and advantage against formulas and TRL; takes half a minute."""
    from rlllm.tools.selftest.run import selftest as run_checks

    results = list(run_checks(lambda name: console.say(f"checking against {name}")))
    failed = [result for result in results if not result.ok]
    if json:
        rows = [{**asdict(result), "ok": result.ok} for result in results]
        console.emit_json({"ok": not failed, "results": rows})
    else:
        console.table(("part", "against", "largest difference", "tolerance", ""), map(_row, results))
        console.emit("")
        console.emit(f"{len(results) - len(failed)} of {len(results)} ok")
    if failed:
        raise typer.Exit(1)


def _row(result: Result) -> tuple[str, ...]:
    shown = result.error if result.difference is None else f"{result.difference:.1e}"
    return result.part, result.against, shown, f"{result.tolerance:.0e}", "ok" if result.ok else "FAILED"
