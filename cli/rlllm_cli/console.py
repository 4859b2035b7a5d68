"""What is printed where: data goes to stdout, everything else to stderr, so that output can be piped.

On a terminal, tables are drawn by rich; in a pipe they are plain aligned text. `NO_COLOR` switches colours off.

This is the one border to the terminal. What goes through it comes from rows, models, rewards and servers, too:
control characters are spelled out, and secrets of this process are left out.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rlllm.core.errors import RlllmError

_RED, _BOLD, _DIM = "31", "1", "2"


def emit(text: str) -> None:
    """One line of data, to stdout."""
    print(_shown(text))


def emit_painted(words: Iterable[tuple[str, str | None]]) -> None:
    """One line of data, to stdout: words, each with its ANSI style or None."""
    line = "".join(_shown(word) if style is None else paint(_shown(word), style, sys.stdout) for word, style in words)
    print(line.rstrip())


def emit_json(value: Any) -> None:
    """One JSON document, to stdout; nothing else goes there under `--json`. NaN and infinity, which JSON lacks, are null."""
    print(as_json(_finite(value), indent=2))


def as_json(value: Any, indent: int | None = None) -> str:
    """A JSON document that may be printed."""
    from rlllm.core.redaction import without_own_secrets
    from rlllm.core.terminal_text import visible_json

    return visible_json(json.dumps(without_own_secrets(value), indent=indent, default=str, ensure_ascii=False))


def say(text: str) -> None:
    """One line for the person who watches, to stderr."""
    print(said(text), file=sys.stderr, flush=True)


def said(text: str) -> str:
    """A text for the person who watches, as it may be printed."""
    from rlllm.core.redaction import without_keys

    return visible(without_keys(text))


def heading(text: str) -> None:
    """A line above a block of data, to stdout."""
    print(paint(_shown(text), _BOLD, sys.stdout))


def table(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Rows under headers, to stdout. None is shown as an empty cell."""
    cells = [["" if cell is None else _shown(str(cell)) for cell in row] for row in rows]
    headers = [_shown(header) for header in headers]
    if sys.stdout.isatty():
        _rich_table(headers, cells)
        return
    for line in aligned([[cell.replace("\n", "\\n") for cell in row] for row in (headers, *cells)]):
        print(line)


def fields(rows: Iterable[tuple[str, Any]]) -> None:
    """Label and value, one pair a line, to stdout; a value of several lines is indented under itself."""
    pairs = [(_shown(label), _shown(str(value))) for label, value in rows]
    width = max((len(label) for label, _ in pairs), default=0)
    for label, value in pairs:
        first, *rest = value.splitlines() or [""]
        print(f"{paint(label.ljust(width), _DIM, sys.stdout)}  {first}".rstrip())
        for line in rest:
            print(f"{' ' * width}  {line}")


def visible(text: str) -> str:
    """Text whose control characters are spelled out."""
    from rlllm.core import terminal_text

    return terminal_text.visible(text)


def _shown(text: str) -> str:
    """Data, as it may be printed."""
    from rlllm.core.redaction import without_own_secrets

    return visible(without_own_secrets(text))


def score_line(name: str, row: Mapping[str, Any]) -> str:
    """What a reward said of one completion: `exact 1.000, read 42`; of one that cannot judge, why."""
    value = row["value"]
    parts = [f"{name} {'cannot judge' if value is None else f'{value:.3f}'}"]
    parts += [f"read {row['parsed']}"] if row.get("parsed") else []
    parts += [str(row[key]) for key in ("note", "error") if row.get(key)]
    return visible(", ".join(parts))


def aligned(rows: list[list[str]]) -> list[str]:
    """Rows as lines whose columns start at the same place."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def show_error(error: RlllmError) -> None:
    """What went wrong, what was given, what exists, what to do: one screen, to stderr."""
    print(paint("error:", _RED, sys.stderr), said(error.what), file=sys.stderr, flush=True)
    if error.given is not None:
        say(f"given: {error.given}")
    if error.exists:
        shown, more = error.exists[:40], len(error.exists) - 40
        text = ", ".join(shown) + (f" and {more} more" if more > 0 else "")
        width = max(40, shutil.get_terminal_size((100, 24)).columns)
        say(textwrap.fill(f"exists: {text}", width, subsequent_indent=" " * 8, break_on_hyphens=False))
    if error.hint:
        say("")
        say(f"hint: {error.hint}")


def paint(text: str, code: str, stream: TextIO) -> str:
    """`text` in an ANSI style where the stream is a terminal and colour is wanted."""
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb" or not stream.isatty()
    return text if plain else f"\x1b[{code}m{text}\x1b[0m"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _rich_table(headers: Sequence[str], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        drawn.add_column(Text(header))
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    Console().print(drawn)
