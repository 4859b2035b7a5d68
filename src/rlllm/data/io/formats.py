"""One reader for each file format: bytes to rows, one row at a time.

A broken line of JSON lines or of a table is one bad row, and reading goes on with the next line. Where damage hides the
beginning of the next row (open quotes, Parquet, Arrow, a cut archive), the whole file is refused, also with `on_bad_row:
skip`.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rlllm.core.errors import DataError, describe
from rlllm.data.inspect.bad_rows import BadRows
from rlllm.data.io.unpacking import LONGEST_LINE, lines_of, open_bytes


class Placed(NamedTuple):
    """A row and its place, for messages: `line 7 of pairs.jsonl`."""

    place: str
    row: Any
    folder: Path | None = None
    """The folder of the row's file, where relative paths in it begin; None where it is from no file."""


_Reader = Callable[[Path, BadRows], Iterator[Placed]]

_DELIMITERS = (",", ";", "\t", "|")
_STATED_DELIMITER = re.compile(r"sep=(?P<delimiter>[,;|\t])\r?\n?", re.IGNORECASE)
_EXCERPT = 32
_BATCH = 1024
_IMAGE_ROWS = 64
"""Rows with images that are held in memory at a time."""
_DEEPEST = 100


def suffix_of(path: Path) -> str:
    """The suffix that tells the format, lower case: `.jsonl`, or `.jsonl.gz` for a compressed file."""
    ends = [end.lower() for end in path.suffixes[-2:]]
    return "".join(ends) if ends[-1:] == [".gz"] else "".join(ends[-1:])


def number_rows(rows: Iterable[Any], name: str) -> Iterator[Placed]:
    """Rows of something that has no lines, counted from 1."""
    return (Placed(f"row {number} of {name}", row) for number, row in enumerate(rows, start=1))


def dataset_rows(data: Any) -> Iterator[dict[str, Any]]:
    """Rows of a data set of `datasets`. One in memory that holds images gives them as they are stored, `{"bytes", "path"}`, and
    not decoded, so that none has to be encoded anew; a stream gives them as PIL images."""
    from datasets import Dataset

    if not isinstance(data, Dataset) or not any(map(_holds_images, data.features.values())):
        return iter(data)
    return (row for table in data.with_format("arrow").iter(_IMAGE_ROWS) for row in table.to_pylist())


def _holds_images(feature: Any) -> bool:
    from datasets import Image

    if isinstance(feature, Image):
        return True
    inner = feature.values() if isinstance(feature, Mapping) else feature if isinstance(feature, list) else ()
    listed = getattr(feature, "feature", None)
    return any(map(_holds_images, inner if listed is None else [listed]))


def _read_jsonl(path: Path, bad: BadRows) -> Iterator[Placed]:
    with open_bytes(path) as file:
        for number, line in enumerate(lines_of(file.readline, path), start=1):
            place = f"line {number} of {path.name}"
            try:
                text = _decode(line, path, place)
                row = _object(_parse(text, path, line=number), place, path) if text.strip() else None
            except DataError as error:
                bad.add(error)
                continue
            if row is not None:
                yield Placed(place, row)


def _read_json(path: Path, bad: BadRows) -> Iterator[Placed]:
    """A list of objects, `{"data": [...]}`, or JSON lines under the wrong suffix. The list is held in memory."""
    if _holds_lines(path):
        yield from _read_jsonl(path, bad)
        return
    with open_bytes(path) as file:
        text = _decode(file.read(), path, path.name)
    for place, value, _ in number_rows(_listed(_parse(text, path), path) if text.strip() else [], path.name):
        try:
            row = _object(value, place, path)
        except DataError as error:
            bad.add(error)
            continue
        yield Placed(place, row)


def _holds_lines(path: Path) -> bool:
    """Whether the first line with text is a complete JSON object, and another line follows."""
    with open_bytes(path) as file:
        begins = iter(partial(file.readline, LONGEST_LINE), b"")
        lines_with_text = (line for line in begins if line.strip())
        return _is_object(next(lines_with_text, b"")) and next(lines_with_text, None) is not None


def _listed(value: Any, path: Path) -> list[Any]:
    if isinstance(value, Mapping) and isinstance(value.get("data"), list):
        return value["data"]
    if isinstance(value, list):
        return value
    keys = ", ".join(map(str, list(value)[:8])) if isinstance(value, Mapping) else ""
    shape = f"an object with keys {keys}" if isinstance(value, Mapping) else json_type(value)
    raise DataError(f'the JSON file is {shape}, not a list of objects or {{"data": [...]}}', given=path)


def _read_delimited(path: Path, bad: BadRows, *, delimiter: str) -> Iterator[Placed]:
    csv.field_size_limit(LONGEST_LINE)
    # surrogateescape: a byte that is no UTF-8 spoils its own row only, and the reader goes on behind it
    with io.TextIOWrapper(open_bytes(path), encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        delimiter, skipped = _delimiter(text, delimiter)
        reader = csv.reader(lines_of(text.readline, path, skipped), delimiter=delimiter, strict=True)
        lines = ((f"line {reader.line_num + skipped} of {path.name}", cells) for cells in reader)
        try:
            yield from _under_header(lines, path, bad)
        except csv.Error as error:
            place = f"line {reader.line_num + skipped}"
            raise DataError(f"broken CSV at {place}: {error}", given=path, hint="check its quotes") from error


def _delimiter(text: io.TextIOWrapper, usual: str) -> tuple[str, int]:
    """The delimiter of a table by its header, and the number of lines before the header, which the text then begins with.

    It is the usual one, unless the header is a single cell by the usual one and several by another.
    Spreadsheets in languages with a decimal comma write semicolons into files that are called CSV. A first line `sep=;` says
    the delimiter itself.
    """
    header = text.readline(LONGEST_LINE)
    if stated := _STATED_DELIMITER.fullmatch(header):
        return stated["delimiter"], 1
    blank = 0
    while header and not header.strip():
        blank, header = blank + 1, text.readline(LONGEST_LINE)
    text.seek(0)
    for _ in range(blank):
        text.readline(LONGEST_LINE)
    cells = {delimiter: len(next(csv.reader([header], delimiter=delimiter), [])) for delimiter in (usual, *_DELIMITERS)}
    return (usual if cells[usual] > 1 else max(cells, key=lambda delimiter: cells[delimiter])), blank


def _under_header(lines: Iterator[tuple[str, list[str]]], path: Path, bad: BadRows) -> Iterator[Placed]:
    header: list[str] | None = None
    for place, cells in lines:
        if header is None:
            header = _header(cells, place, path)
        elif cells:
            try:
                row = _zip_row(header, cells, place, path)
            except DataError as error:
                bad.add(error)
                continue
            yield Placed(place, row)


def _header(cells: list[str], place: str, path: Path) -> list[str]:
    header = [_sound(cell, place, path).strip() for cell in cells]
    twice = sorted({cell for cell in header if header.count(cell) > 1})
    if twice:
        raise DataError(f"the header names {', '.join(map(repr, twice))} more than once", given=path)
    return header


def _zip_row(header: list[str], cells: list[str], place: str, path: Path) -> dict[str, str]:
    if len(cells) != len(header):
        raise DataError(
            f"{place} has {len(cells)} cells, the header has {len(header)}",
            given=f"{path}: {excerpt(_shown(','.join(cells)), 0)}",
            hint="put cells that hold a delimiter or a line break in double quotes",
        )
    return {name: _sound(cell, place, path) for name, cell in zip(header, cells, strict=True)}


def _sound(cell: str, place: str, path: Path) -> str:
    try:
        cell.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{place} is not UTF-8 text", given=path, hint="save the file as UTF-8") from error
    return cell


def _shown(text: str) -> str:
    return text.encode(errors="replace").decode()


def _read_parquet(path: Path, bad: BadRows) -> Iterator[Placed]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        _check_names(file.schema_arrow.names, path)
        batches = file.iter_batches(batch_size=_BATCH)
        yield from number_rows((row for batch in batches for row in batch.to_pylist()), path.name)


def _read_arrow(path: Path, bad: BadRows) -> Iterator[Placed]:
    """Arrow's file format (Feather 2 is the same) or its stream format, told apart by the file's first bytes."""
    import pyarrow

    with path.open("rb") as file:
        begins = file.read(6)
    with pyarrow.memory_map(str(path)) as mapped:
        opened = pyarrow.ipc.open_file if begins == b"ARROW1" else pyarrow.ipc.open_stream
        with opened(mapped) as reader:
            _check_names(reader.schema.names, path)
            yield from number_rows(_rows_of_batches(reader), path.name)


def _rows_of_batches(reader: Any) -> Iterator[dict[str, Any]]:
    count = getattr(reader, "num_record_batches", None)
    for batch in reader if count is None else map(reader.get_batch, range(count)):
        batch.validate(full=True)  # Arrow reads offsets of a damaged file unchecked, outside of its own memory
        for start in range(0, batch.num_rows, _BATCH):
            yield from batch.slice(start, _BATCH).to_pylist()


def _check_names(names: Sequence[str], path: Path) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"the table names {', '.join(map(repr, twice))} more than once", given=path)


def _refusing(noun: str, reader: _Reader) -> _Reader:
    """The reader with everything a library raises on a damaged file as one DataError."""

    def read(path: Path, bad: BadRows) -> Iterator[Placed]:
        try:
            yield from reader(path, bad)
        except (DataError, PermissionError):
            raise
        except Exception as error:  # Arrow raises half a dozen unrelated types on a damaged file
            raise DataError(f"not a readable {noun} file: {excerpt(describe(error), 0, 160)}", given=path) from error

    return read


def _compressed(reader: _Reader) -> _Reader:
    def read(path: Path, bad: BadRows) -> Iterator[Placed]:
        try:
            yield from reader(path, bad)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(f"not a whole gzip file: {excerpt(describe(error), 0, 160)}", given=path) from error

    return read


_TEXT: dict[str, _Reader] = {
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".json": _read_json,
    ".csv": partial(_read_delimited, delimiter=","),
    ".tsv": partial(_read_delimited, delimiter="\t"),
}
READERS: dict[str, _Reader] = {
    **_TEXT,
    **{f"{suffix}.gz": _compressed(reader) for suffix, reader in _TEXT.items()},
    ".parquet": _refusing("Parquet", _read_parquet),
    ".arrow": _refusing("Arrow", _read_arrow),
    ".feather": _refusing("Arrow", _read_arrow),
}
"""File suffix to reader: path and bad rows -> rows in order, in constant memory but for a JSON list.

A reader raises DataError at its first row or later, also under `skip` where the damage leaves nothing to go on with."""


def _decode(raw: bytes, path: Path, place: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        where = place if place != path.name else f"line {line} of {path.name}"
        raise DataError(
            f"{where} is not UTF-8 text: {error.reason}", given=path, hint="save the file as UTF-8"
        ) from error


def _parse(text: str, path: Path, line: int | None = None) -> Any:
    """One JSON value; `line` is its line in the file when the text is a single line of it."""
    try:
        value = json.loads(text, object_pairs_hook=_object_of)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(value, ensure_ascii=False).encode()
        if text.count("[") + text.count("{") > _DEEPEST:
            _check_depth(value)
        return value
    except json.JSONDecodeError as error:
        raise DataError(
            f"broken JSON at line {line or error.lineno}, column {error.colno}: {error.msg}",
            given=f"{path}: {excerpt(text, error.pos)}",
            hint="each line must be one whole JSON object (a JSON list belongs in a .json file)"
            if line
            else "the file must be one JSON list of objects",
        ) from error
    except UnicodeEncodeError as error:
        raise DataError(
            f"half a character stands alone at line {line or 1}: {error.object[error.start]!a}",
            given=f"{path}: {excerpt(text, 0)}",
            hint="a lone surrogate is no text: write the whole character, or leave it out",
        ) from error
    except (ValueError, RecursionError) as error:
        where = f" at line {line}" if line else ""
        raise DataError(f"JSON that cannot be used{where}: {excerpt(describe(error), 0, 120)}", given=path) from error


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. Raises ValueError for a repeated key, since readers differ in which value they keep."""
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} stands twice in one object")
    return mapping


def _check_depth(value: Any) -> None:
    """Refuse what is nested so deep that a record of it could not be hashed or written."""
    level = [value]
    for _ in range(_DEEPEST):
        inside = (item for item in level if isinstance(item, dict | list))
        level = [part for item in inside for part in (item.values() if isinstance(item, dict) else item)]
        if not level:
            return
    raise ValueError(f"nested more than {_DEEPEST} deep")


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line.decode("utf-8-sig")), dict)
    except (ValueError, RecursionError):
        return False


def _object(value: Any, place: str, path: Path) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise DataError(
        f"{place} is {json_type(value)}, not an object",
        given=f"{path}: {excerpt(json.dumps(value, ensure_ascii=False), 0)}",
        hint='each row must look like {"prompt": "...", ...}',
    )


def json_type(value: Any) -> str:
    """What a value is, in JSON's words: `a list`, `a number`, `null`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    words = {str: "text", int: "a number", float: "a number", list: "a list", dict: "an object", tuple: "a list"}
    return words.get(type(value), f"a {type(value).__name__}")


def excerpt(text: str, position: int, width: int = 2 * _EXCERPT) -> str:
    """A one-line piece of `text` around `position`."""
    start = max(0, position - width // 2)
    piece = " ".join(text[start : start + width].split())
    return ("..." if start else "") + piece + ("..." if start + width < len(text) else "")
