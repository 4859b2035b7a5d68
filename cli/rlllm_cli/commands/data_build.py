"""`rlllm data build | mix | decontaminate`: three ways to give the settings of a prepared folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlllm_cli import completion, console, options, overrides
from rlllm_cli.progress import listening

if TYPE_CHECKING:
    from rlllm.data.config import DataConfig
    from rlllm.data.prepare.settings import Preparation
    from rlllm.tools.data.build import Prepared

Out = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", metavar="", help="Replace a folder that was prepared otherwise.")
]
Kind = Annotated[
    str | None,
    typer.Option(
        "--kind",
        metavar="VERB|METHOD|RECORD",
        help="Read it as for this verb or method, or as this record type. Default: the most specific that fits.",
        show_default=False,
    ),
]
Against = Annotated[
    list[str],
    typer.Option(
        "--against", metavar="NAME", help="Repeatable; data, or an eval recipe.", autocompletion=completion.datasets
    ),
]
Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA... [KEY=VALUE]...",
        help="Files, folders, names; NAME#N. Settings such as on_bad_row=skip hold for all.",
        autocompletion=completion.datasets,
    ),
]
Words = Annotated[
    list[str],
    typer.Argument(metavar="FILE.yaml|KEY=VALUE...", help="A file of settings, and settings that win over it."),
]


def build(
    ctx: typer.Context,
    words: Words,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder to write.", show_default=False)
    ] = None,
    overwrite: Overwrite = False,
    json: options.Json = False,
) -> None:
    """Read, check, deduplicate, decontaminate, hold out and mix data into a folder that every stage reads."""
    from rlllm.core.errors import ConfigError
    from rlllm.core.yaml_io import read
    from rlllm.data.prepare.settings import Preparation

    typed = overrides.read_words("data build", words)
    overrides.refuse_repeats(typed.overrides)
    if len(typed.bare) > 1:
        raise ConfigError("one file of settings at most", given=" and ".join(typed.bare), hint="settings are key=value")
    try:
        values = read(Path(typed.bare[0])) if typed.bare else {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("the file of settings cannot be read", given=typed.bare[0], hint="check its name") from error
    if not isinstance(values, dict):
        raise ConfigError("the file holds no settings", given=typed.bare[0], hint="it needs at least: sources: [...]")
    flags = {"out": None if out is None else str(out), "overwrite": overwrite or None}
    settings = [*typed.overrides, *overrides.flag_overrides(flags, typed.overrides)]
    _run(ctx, Preparation.with_settings(values, settings), json)


def mix(
    ctx: typer.Context,
    sources: Sources,
    out: Out,
    weights: Annotated[
        str | None,
        typer.Option("--weights", metavar="W,W", help="Share of each source; default by size.", show_default=False),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", metavar="T", help="Shares by size^(1/T).", show_default=False)
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option("--rows", metavar="N", help="Rows in all; default as many as there are.", show_default=False),
    ] = None,
    epochs: Annotated[float, typer.Option("--epochs", metavar="N", help="Most times a source is gone through.")] = 1.0,
    curriculum: Annotated[
        str | None, typer.Option("--curriculum", metavar="COLUMN", help="Sort by this; or: length.", show_default=False)
    ] = None,
    holdout: Annotated[float, typer.Option("--holdout", metavar="N", help="Rows to hold out, or a share below 1.")] = 0,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of choice and order.")] = 0,
    kind: Kind = None,
    overwrite: Overwrite = False,
    json: options.Json = False,
) -> None:
    """Mix data sets by weight, into a folder that every stage reads."""
    from rlllm.data.prepare.settings import Preparation

    mixture = {"weights": weights, "temperature": temperature, "rows": rows, "epochs": epochs, "curriculum": curriculum}
    mixture_settings = {key: value for key, value in {**mixture, "seed": seed}.items() if value is not None}
    read = _sources("data mix", sources)
    values = {"sources": read, "mixture": mixture_settings, "holdout": holdout, "out": out, "kind": kind}
    _run(ctx, Preparation.checked({**values, "overwrite": overwrite}), json)


def decontaminate(
    ctx: typer.Context,
    data: Sources,
    against: Against,
    out: Out,
    kind: Kind = None,
    overwrite: Overwrite = False,
    json: options.Json = False,
) -> None:
    """Drop the rows that hold prompts of evaluation sets; write the rest into a folder that every stage reads."""
    from rlllm.data.prepare.settings import Preparation

    read = _sources("data decontaminate", data)
    values = {"sources": read, "contamination": {"against": against}, "out": out, "kind": kind}
    _run(ctx, Preparation.checked({**values, "overwrite": overwrite}), json)


def _sources(command: str, words: list[str]) -> list[DataConfig]:
    """The data sets that are named, each with the settings that are typed behind them."""
    from rlllm.tools.data.show import data_config

    typed = overrides.names_and_settings(command, words)
    return [data_config({"name": name}, typed.overrides) for name in typed.bare]


def _run(ctx: typer.Context, config: Preparation, json: bool) -> None:
    from rlllm.tools.data.build import prepare

    with listening() as listener:
        prepared = prepare(config, listener=listener, command=str(ctx.obj))
    if json:
        console.emit_json(prepared.to_json())
    else:
        _show(prepared)


def _show(prepared: Prepared) -> None:
    manifest = prepared.manifest
    where = f"{prepared.path}" if prepared.built else f"{prepared.path}, already built: same settings, same bytes"
    console.fields(
        [
            ("folder", where),
            ("rows", f"{manifest.train:,} to train on, {manifest.holdout:,} held out, of type {manifest.kind}"),
            ("hash", manifest.hash),
            *((why, f"{count:,} rows") for why, count in manifest.dropped.items()),
            ("card", prepared.path / "card.md"),
        ]
    )
    console.emit("")
    console.table(
        ("source", "read", "kept", "train", "held out"),
        [(source.name, source.read, source.kept, source.train, source.holdout) for source in manifest.sources],
    )
