"""`rlllm config`: configs of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlllm_cli import console, options

app = typer.Typer(help="Configs of other tools.")


@app.callback()
def config() -> None:
    """This callback makes typer keep the name `import` although `config` has only one command."""


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The other tool's YAML or JSON, or launch script.")],
    tool: Annotated[str, typer.Option("--from", metavar="TOOL", help="trl, llamafactory, axolotl, verl or openrlhf.")],
    stage: Annotated[
        str | None,
        typer.Option(
            "--stage",
            metavar="NAME",
            help="What the tool calls it (sft, dpo, grpo), where FILE does not say.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="RECIPE.yaml", help="Default: stdout.", show_default=False)
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", metavar="", help="Replace a file that exists.")] = False,
    json: options.Json = False,
) -> None:
    """Turn a config of another tool into a recipe, and list what it could not carry over."""
    from rlllm.tools.import_config.recipe import import_config

    imported = import_config(file, tool, stage)
    for note in imported.notes():
        console.say(f"not carried over: {note}")
    if out is not None:
        data_file = out.with_suffix(f".data{out.suffix}") if imported.preparation else None
        _write(out, imported.text(str(out), str(data_file) if data_file else None), overwrite)
        if data_file is not None:
            _write(data_file, imported.preparation_text(str(data_file)), overwrite)
            console.say(f"make its data first: rlllm data build {data_file}")
    if json:
        console.emit_json(imported.to_json())
    elif out is None:
        console.emit(imported.text().rstrip("\n"))
    else:
        console.emit(str(out))
        console.say(f"check it with: rlllm {imported.verb} {out} --dry-run")


def _write(path: Path, text: str, overwrite: bool) -> None:
    from rlllm.core.errors import ConfigError

    if path.suffix not in (".yaml", ".yml"):
        raise ConfigError("a recipe file ends in .yaml", given=path, hint=f"type {path}.yaml")
    if path.exists() and not overwrite:
        raise ConfigError("the file exists", given=path, hint="add --overwrite, or give another name")
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write the recipe: {error.strerror}", given=path) from error
