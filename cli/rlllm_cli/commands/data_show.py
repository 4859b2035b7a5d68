"""`rlllm data show`: records as text, and the tokens that a trainer makes of them, with marks that need no colour."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import fields
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlllm_cli import completion, console, options, overrides

if TYPE_CHECKING:
    from rlllm.tools.data.show import Shown, ShownRecord
    from rlllm.tools.data.tokenized_view import SequenceView, Token

Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA", help="Built-in name, file, folder or Hub id; NAME#N.", autocompletion=completion.datasets
    ),
]
Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...",
        help="Settings of the data (level=2, on_bad_row=skip) and, for tokens, of the verb (max_length=512).",
        show_default=False,
    ),
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
_TRAINS, _IDLE = "+", "-"
_LEGEND = f"{_TRAINS} trains, {_IDLE} does not, EOS ends a completion"
_GREEN = "32"
_RUN = 3
"""Equal tokens in a row that are all shown."""


def show(
    data: Data,
    words: Words = None,
    rows: Annotated[int, typer.Option("--rows", metavar="N", help="Records to show.")] = 3,
    kind: Kind = None,
    columns: options.Columns = None,
    row_schema: options.RowSchema = None,
    tokens: Annotated[bool, typer.Option("--tokens", metavar="", help="Show what the trainer sees.")] = False,
    model: Annotated[
        str | None, typer.Option("--model", metavar="MODEL", help="Whose tokens. Default: nano.", show_default=False)
    ] = None,
    json: options.Json = False,
) -> None:
    """Show records as they are read, and with --tokens the tokens that a trainer makes of them."""
    from rlllm.core.errors import ConfigError
    from rlllm.tools.data.show import data_config, show_data

    typed = overrides.read_words("data show", words or ())
    if typed.bare:
        raise ConfigError("settings are written KEY=VALUE", given=typed.bare[0], hint="for example max_length=512")
    own = [(key, overrides.data_key(key), value) for key, value in typed.overrides]
    of_data = [(name, value) for _, name, value in own if name is not None]
    settings = [(key, value) for key, name, value in own if name is None]
    if not tokens and (model or settings):
        given = f"{settings[0][0]}={settings[0][1]}" if settings else f"--model {model}"
        raise ConfigError("a model and its settings only matter for tokens", given=given, hint="add --tokens")
    read = {"row_schema": row_schema, "columns": columns}
    config = data_config({"name": data, **{key: value for key, value in read.items() if value}}, of_data)
    tokens_of = (model or "nano") if tokens else None
    shown = show_data(config, kind=kind, rows=rows, model=tokens_of, settings=settings)
    if json:
        console.emit_json(shown.to_json())
    else:
        _print(shown)


def _print(shown: Shown) -> None:
    console.fields(
        [
            ("data", shown.source),
            ("read as", f"{shown.kind}, for rlllm {shown.verb} --method {shown.method}"),
            ("columns", shown.how) if shown.columns else ("made from", _made_from(shown)),
            *([("tokens of", f"{shown.model}, max_length {shown.max_length or 'none'}")] if shown.model else []),
        ]
    )
    if shown.model:
        console.emit(_LEGEND)
    for record in shown.records:
        _print_record(record, shown.columns)


def _made_from(shown: Shown) -> str:
    return "\n".join(part.words() for part in shown.parts) or shown.how


def _print_record(shown: ShownRecord, columns: Any) -> None:
    console.emit("")
    console.heading(f"row {shown.row}")
    pictures = [
        (f"image {place}", f"{image.reference}, {image.width}x{image.height} pixels{_in_tokens(image.tokens)}")
        for place, image in enumerate(shown.images, start=1)
    ]
    console.fields([*pictures, *_record_lines(shown.record, columns)])
    for sequence in shown.sequences:
        console.emit("")
        _print_sequence(sequence)


def _in_tokens(tokens: int | None) -> str:
    return "" if tokens is None else f", {tokens:,} tokens"


def _record_lines(record: Any, columns: Any) -> Iterator[tuple[str, str]]:
    for part in fields(record):
        value = getattr(record, part.name)
        if part.name == "meta":
            yield from ((f"meta.{name}", _text(item)) for name, item in value.items())
        elif part.name == "trained_turns":
            if value:
                yield "also train", "messages " + ", ".join(str(place + 1) for place in value) + " of the prompt"
        elif value is not None:
            source = columns.get(part.name, part.name)
            yield part.name if source == part.name else f"{part.name} ({source})", _text(value)


def _text(value: Any) -> str:
    """A value for a reader: messages one a line, texts as they are."""
    from rlllm.core.records import message_text

    if isinstance(value, str):
        return value or "(empty)"
    if isinstance(value, list) and value and all(isinstance(turn, dict) and "role" in turn for turn in value):
        return "\n".join(f"{turn['role']}: {message_text(turn)}" for turn in value)
    if isinstance(value, tuple):
        return "\n".join(f"{number}: {item}" for number, item in enumerate(value, start=1))
    return str(value)


def _print_sequence(sequence: SequenceView) -> None:

    console.heading(f"{sequence.name}: {_summary(sequence)}")
    for note in sequence.notes:
        console.emit(console.visible(f"! {note}"))
    rows: list[tuple[str, str]] = [("rendered", sequence.rendered)]
    check = sequence.check
    if check is not None and check.same:
        rows.append(("template", f"training and generation are the same; then the template adds {check.added!r}"))
    elif check is not None and check.difference is not None:
        rows.append(("training", repr(check.difference.training)))
        rows.append(("generation", repr(check.difference.generation)))
    console.fields(rows)
    _print_tokens("tokens", sequence.tokens, set(sequence.ends))
    cut: list[Token] = sequence.cut
    _print_tokens("cut off", cut, set())


def _summary(sequence: SequenceView) -> str:
    if sequence.dropped:
        return "left out"
    trains = sum(token.trains for token in sequence.tokens)
    ends = [
        f"EOS at {place} ({'trains' if sequence.tokens[place].trains else 'does not train'})" for place in sequence.ends
    ]
    return f"{len(sequence.tokens)} tokens, {trains} train, {', '.join(ends) or 'no EOS'}"


def _print_tokens(label: str, tokens: Sequence[Token], ends: set[int]) -> None:
    """Tokens as `+56=8`, wrapped; green where they train and the terminal has colours."""
    if not tokens:
        return
    width = max(40, shutil.get_terminal_size((100, 24)).columns)
    words = _runs_as_one([_word(token, place in ends) for place, token in enumerate(tokens)])
    lines = textwrap.wrap(" ".join(words), width - 2, break_long_words=False, break_on_hyphens=False)
    console.emit(f"{label}:")
    for line in lines:
        console.emit_painted([("  ", None), *(pair for word in line.split(" ") for pair in _painted(word))])


def _runs_as_one(words: Sequence[str]) -> list[str]:
    """The words, of more than three equal ones in a row (the tokens of an image) one with their number."""
    runs = ((word, len(list(run))) for word, run in groupby(words))
    return [one for word, count in runs for one in ([f"{word}(x{count})"] if count > _RUN else [word] * count)]


def _word(token: Token, ends: bool) -> str:
    text = console.visible(token.text).replace("\n", "\\n").replace("\t", "\\t").replace(" ", "\u2423")
    return f"{_TRAINS if token.trains else _IDLE}{token.id}={text}" + (" EOS" if ends else "")


def _painted(word: str) -> tuple[tuple[str, str | None], ...]:
    return (word, _GREEN if word.startswith(_TRAINS) else None), (" ", None)
