"""`rlllm export`: a model for others, merged, as GGUF, with a card, on the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlllm_cli import completion, console, options

Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        metavar="PATH",
        help="Folder of the merged model, or the GGUF file; default: RUN/merged, RUN/NAME.gguf.",
        show_default=False,
    ),
]
Dtype = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        metavar="FORMAT",
        help="float32, bfloat16, float16, with --gguf also q8_0; default: that of the base.",
        show_default=False,
    ),
]


def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="A run, or any model: a folder, an adapter.", autocompletion=completion.runs
        ),
    ],
    merge: Annotated[
        bool, typer.Option("--merge", help="Write the whole model: an adapter merged into its base.")
    ] = False,
    gguf: Annotated[
        bool, typer.Option("--gguf", help="Write one file for llama.cpp, and a Modelfile for Ollama.")
    ] = False,
    card: Annotated[bool, typer.Option("--card", help="Write a model card: method, data, measures, verdict.")] = False,
    push: Annotated[
        str | None, typer.Option("--push", metavar="ORG/NAME", help="Upload to the Hub.", show_default=False)
    ] = None,
    output: Output = None,
    dtype: Dtype = None,
    public: Annotated[bool, typer.Option("--public", help="A repository that --push makes is public.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and list what would be written; write nothing.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Write a model for others: merged, as GGUF, with a model card, or to the Hub."""
    from rlllm.tools.export.run import export as write
    from rlllm.tools.export.run import plan_export

    plan = plan_export(
        model,
        merge=merge,
        gguf=gguf,
        card=card,
        push=push,
        output=output,
        dtype=dtype,
        private=not public,
        overwrite=overwrite,
    )
    if dry_run:
        console.emit_json(plan.to_json()) if json else console.fields(plan.lines())
        return
    exported = write(plan)
    if json:
        console.emit_json(dict(exported.lines()))
    else:
        console.fields([*exported.lines()])
