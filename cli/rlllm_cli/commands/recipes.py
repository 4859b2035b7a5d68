"""`rlllm recipes`: list, show, copy and check the YAML files that say what to run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlllm_cli import completion, console, options

if TYPE_CHECKING:
    from rlllm.core.errors import RlllmError
    from rlllm.core.recipes import RecipeEntry

app = typer.Typer(help="Recipes: what to run, as YAML files.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="STAGE/NAME, or a file.", autocompletion=completion.recipes)]
Stage = Annotated[
    str | None,
    typer.Option("--stage", help="Only of this stage.", show_default=False, autocompletion=completion.stages),
]


@app.command("ls")
def ls(stage: Stage = None, json: options.Json = False) -> None:
    """List recipes: those that ship with rlllm and those of plugins."""
    from rlllm.core.recipes import list_recipes, usage

    entries = [entry for entry in list_recipes() if stage in (None, entry.stage)]
    if json:
        console.emit_json([_to_json(entry) for entry in entries])
    else:
        console.table(("recipe", "run it with", "what it does"), [(e.name, usage(e), e.summary) for e in entries])


@app.command("show")
def show(name: Name, json: options.Json = False) -> None:
    """Print a recipe."""
    from rlllm.core.recipes import find_recipe, read_recipe

    entry = find_recipe(name)
    if json:
        console.emit_json({**_to_json(entry), "settings": read_recipe(entry.path)})
    else:
        console.emit(entry.path.read_text(encoding="utf-8").rstrip("\n"))


@app.command("copy")
def copy(
    name: Name,
    file: Annotated[Path | None, typer.Argument(help="Default: NAME.yaml here.", show_default=False)] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that exists.")] = False,
) -> None:
    """Copy a recipe to a file of your own."""
    from rlllm.core.errors import ConfigError
    from rlllm.core.recipes import find_recipe, usage

    entry = find_recipe(name)
    target = file or Path(entry.path.name)
    target = target / entry.path.name if target.is_dir() else target
    if target.suffix not in (".yaml", ".yml"):
        raise ConfigError("a recipe file ends in .yaml", given=target, hint=f"type {target}.yaml")
    if target.exists() and not overwrite:
        raise ConfigError("the file exists", given=target, hint="add --overwrite, or give another name")
    _write(entry, target)
    console.emit(str(target))
    console.say(f"run it with: {usage(find_recipe(str(target)))}")


@app.command("check")
def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Recipes or files.", autocompletion=completion.recipes),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every recipe that can be listed.")] = False,
    stage: Annotated[str | None, typer.Option("--stage", help="What a file is for.", show_default=False)] = None,
    json: options.Json = False,
) -> None:
    """Check that recipes resolve: every key is known, every value fits."""
    from rlllm.core.errors import ConfigError

    if not names and not every:
        raise ConfigError("nothing to check", hint="name recipes, or add --all")
    problems = {name: _problem(name, stage) for name in [*(names or ()), *(_all_names() if every else ())]}
    if json:
        console.emit_json(
            [{"recipe": name, "error": str(error) if error else None} for name, error in problems.items()]
        )
    for name, error in problems.items():
        if error:
            console.say(f"{name}:")
            console.show_error(error)
        elif not json:
            console.emit(f"ok  {name}")
    if any(problems.values()):
        raise typer.Exit(2)


def _to_json(entry: RecipeEntry) -> dict[str, Any]:
    return {"name": entry.name, "stage": entry.stage, "path": str(entry.path), "summary": entry.summary} | {
        "origin": entry.origin
    }


def _write(entry: RecipeEntry, target: Path) -> None:
    """Copy the text; where the head comment does not say which stage it is for, one line is put above it."""
    from rlllm.core.errors import ConfigError
    from rlllm.core.recipes import find_recipe, usage

    try:
        text = entry.path.read_text(encoding="utf-8")
        target.write_text(text, encoding="utf-8")
        if find_recipe(str(target)).stage != entry.stage:
            target.write_text(f"# {usage(entry)}\n{text}", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write the recipe: {error.strerror}", given=target) from error


def _all_names() -> list[str]:
    from rlllm.core.recipes import list_recipes

    return [entry.name for entry in list_recipes()]


def _problem(name: str, stage: str | None) -> RlllmError | None:
    """The error a recipe gives, None when it resolves."""
    from rlllm.core.errors import RlllmError

    try:
        _resolve(name, stage)
    except RlllmError as error:
        return error
    return None


def _resolve(name: str, stage: str | None) -> None:
    from rlllm.core.errors import ConfigError
    from rlllm.core.recipes import PIPELINES, SWEEPS, find_recipe, read_recipe
    from rlllm.stages.catalog import STAGES, resolve_settings

    entry = find_recipe(name, stage)
    if not entry.stage:
        raise ConfigError(
            "which stage is this recipe for?",
            given=name,
            exists=[*STAGES, PIPELINES, SWEEPS],
            hint="add --stage STAGE, or begin the file with a comment: # rlllm STAGE FILE",
        )
    settings = read_recipe(entry.path)
    if entry.stage == PIPELINES:
        from rlllm.stages.pipeline.settings import load_pipeline

        load_pipeline(settings)
    elif entry.stage == SWEEPS:
        from rlllm.stages.sweep.arms import plan_arms
        from rlllm.stages.sweep.settings import load_sweep

        plan_arms(load_sweep(settings))
    else:
        resolve_settings(entry.stage, settings)
