"""`rlllm data label-prefs`: label preference pairs with a judge or a reward, and print the counts or one JSON document."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlllm_cli import console, options, outcome, overrides
from rlllm_cli.progress import listening

if TYPE_CHECKING:
    from rlllm.tools.data.label_prefs import LabelReport

Judge = Annotated[
    str,
    typer.Option(
        "--judge",
        metavar="MODEL|URL|REWARD",
        help="A model that writes verdicts, an OpenAI-compatible URL, a reward's name, or {name: ..., ...}.",
    ),
]

Cache = Annotated[
    str | None,
    typer.Option("--cache", metavar="FILE", help="Keeps replies of the URL, to go on later.", show_default=False),
]
KeepTies = Annotated[
    bool, typer.Option("--keep-ties", metavar="", help="Write pairs whose two orders disagree, marked as ties.")
]


def label_prefs(
    data: Annotated[str, typer.Option("--data", metavar="DATA", help="Rows with a prompt and two or more responses.")],
    judge: Judge,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.jsonl", help="Rows to write.")],
    words: options.DataSettings = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="MODEL", help="Sample two responses of it instead.", show_default=False),
    ] = None,
    rubric: Annotated[
        str | None,
        typer.Option("--rubric", metavar="TEXT|FILE", help="What to judge by; .txt or .md file.", show_default=False),
    ] = None,
    judge_model: Annotated[
        str | None,
        typer.Option("--judge-model", metavar="NAME", help="The model's name at the URL.", show_default=False),
    ] = None,
    key_env: Annotated[
        str | None,
        typer.Option("--key-env", metavar="VARIABLE", help="Environment variable with the key.", show_default=False),
    ] = None,
    cache: Cache = None,
    keep_ties: KeepTies = False,
    columns: options.Columns = None,
    row_schema: options.RowSchema = None,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", metavar="N", help="Of a sampled response.")] = 256,
    temperature: Annotated[float, typer.Option("--temperature", metavar="T", help="Of sampled responses.")] = 1.0,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of sampling.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", metavar="", help="Replace the output file.")] = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
) -> None:
    """Let a judge or a reward label preference pairs, for train-rm and align."""
    from rlllm.tools.data.label_prefs import LabelPrefsConfig, judge_spec, label_preferences, preview
    from rlllm.tools.data.show import data_config

    typed = overrides.data_settings("data label-prefs", words or (), options=("seed",))
    read = {"name": data, "row_schema": row_schema, "columns": columns}
    config = LabelPrefsConfig.of(
        data=data_config({key: value for key, value in read.items() if value}, typed),
        judge=judge_spec(judge, model=judge_model, rubric=rubric, key_env=key_env, cache=cache),
        output=output,
        model=model,
        sampling={"max_new_tokens": max_new_tokens, "temperature": temperature},
        ties="keep" if keep_ties else "drop",
        overwrite=overwrite,
        seed=seed,
    )
    if dry_run:
        rows = preview(config)
        console.emit_json(dict(rows)) if json else console.fields(rows)
        return
    with listening() as listener:
        report = label_preferences(config, listener)
    if json:
        console.emit_json(report.to_json())
    else:
        console.fields(_lines(report))


def _lines(report: LabelReport) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = [
        ("written", f"{report.written} rows in {report.output}"),
        ("pairs", f"{report.pairs} judged, {report.identical} left out (both responses one text)"),
        ("ties", f"{report.ties}"),
        ("unjudged", f"{report.unjudged}" + (f" (first: {report.first_unjudged})" if report.first_unjudged else "")),
    ]
    if report.agreement:
        rows.append(("both orders agree", outcome.interval(report.agreement)))
    if report.match:
        kappa = "" if report.kappa is None else f", kappa {report.kappa:.3f}"
        rows.append(("agrees with the data", f"{outcome.interval(report.match)}{kappa}"))
    return rows
