"""`rlllm data label-steps`: step labels for a process reward model, from a model's own rollouts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlllm_cli import console, options, overrides
from rlllm_cli.progress import listening

Rollouts = Annotated[
    int | None, typer.Option("--rollouts", metavar="K", help="Continuations of each step (8).", show_default=False)
]


def label_steps(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.jsonl", help="Rows to write.")],
    words: options.DataSettings = None,
    model: options.Model = None,
    data: options.Data = None,
    rollouts: Rollouts = None,
    rows: Annotated[
        int | None, typer.Option("--rows", metavar="N", help="Problems to take; default all.", show_default=False)
    ] = None,
    solutions: Annotated[
        int | None, typer.Option("--solutions", metavar="N", help="Solutions of each problem (1).", show_default=False)
    ] = None,
    reward: options.Reward = None,
    columns: options.Columns = None,
    row_schema: options.RowSchema = None,
    max_new_tokens: Annotated[
        int | None, typer.Option("--max-new-tokens", metavar="N", help="Limit of a text (512).", show_default=False)
    ] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", metavar="T", help="Of sampling (1.0).", show_default=False)
    ] = None,
    seed: options.Seed = None,
    json: options.Json = False,
) -> None:
    """Label the steps of a model's solutions by rollouts (Math-Shepherd), as rows for train-rm --method process."""
    from rlllm.core.config import resolve
    from rlllm.tools.data import label_steps as steps

    flags = {
        "model": model,
        "data": data,
        "columns": columns,
        "row_schema": row_schema,
        "reward": reward,
        "output": output,
        "rollouts": rollouts,
        "rows": rows,
        "solutions": solutions,
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "seed": seed,
    }
    typed = overrides.data_settings("data label-steps", words or (), options=("rows", "seed"))
    config = resolve(steps.StepLabelConfig, {}, [*overrides.flag_overrides(flags, typed), *typed])
    with listening() as listener:
        labels = steps.label_steps(config, listener)
    if json:
        console.emit_json(labels.to_json())
        return
    skipped = ", ".join(f"{count} {reason}" for reason, count in labels.skipped.items())
    console.fields(
        [
            ("output", labels.output),
            ("solutions", f"{labels.rows} labelled of {labels.problems} problems"),
            ("skipped", skipped or "none"),
            ("steps", f"{labels.right} of {labels.steps} right; mean soft label {labels.soft:.3f}"),
            ("reversals", f"{labels.reversals} solutions have a right step after a wrong one"),
            ("next", f"rlllm train-rm --method process --data {labels.output}"),
        ]
    )
