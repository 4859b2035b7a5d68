"""Local files to rows. Every problem is a DataError with the file and the line; nothing is repaired in silence."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rlllm.core.errors import DataError, closest
from rlllm.core.registry import describe


class Placed(NamedTuple):
    """A row and where it stands, in words for messages: `line 7 of pairs.jsonl`."""

    place: str
    row: Any


_SPLIT_WORDS = {"train", "test", "validation", "valid", "val", "dev", "eval"}
_CSV_CELL_LIMIT = 2**31 - 1
_EXCERPT = 32


def read_file(path: Path) -> list[Placed]:
    """All rows of one data file, in order.

    Raises:
        DataError: the file is missing, empty, of an unknown kind, or broken at a named line.
    """
    if not path.is_file():
        raise missing(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"cannot read {path.suffix or 'a file without a suffix'} as data",
            given=path,
            exists=READERS,
            hint="convert it to JSON lines: one object a line",
        )
    try:
        rows = reader(path)
    except OSError as error:
        raise DataError(f"the data file cannot be read: {describe(error)}", given=path) from error
    if not rows:
        raise DataError("the data file is empty: it has no rows", given=path)
    return rows


def read_folder(path: Path, split: str) -> list[Placed]:
    """Rows of all data files directly in a folder, sorted by name, or of a folder written by `save_to_disk`.

    Files named after a split (`train-00000.parquet`, `test.jsonl`) are read only for that split.
    """
    if (path / "dataset_dict.json").exists() or (path / "state.json").exists():
        return _read_saved(path, split)
    files = sorted(file for file in path.iterdir() if file.is_file() and file.suffix.lower() in READERS)
    if not files:
        found = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith("."))
        raise DataError(
            "the folder holds no data files", given=path, exists=found, hint=f"it needs {', '.join(READERS)}"
        )
    kinds = sorted({file.suffix.lower() for file in files})
    if len(kinds) > 1:
        names = [file.name for file in files]
        raise DataError(f"the folder mixes {' and '.join(kinds)} files", given=path, exists=names, hint="name one file")
    return [placed for file in _of_split(files, split, path) for placed in read_file(file)]


def missing(path: Path) -> DataError:
    """The error for a path that is not there: the nearest name in its folder first."""
    folder = path.parent
    if not folder.is_dir():
        return DataError(
            "no such data file: its folder does not exist", given=path, hint=f"there is no folder {folder}"
        )
    names = data_files(folder)
    near = nearest(path.name, names)
    return DataError(
        "no such data file",
        given=path,
        exists=[] if near else names,
        hint=f"did you mean {folder / near}?" if near else "built-in names are listed by: rlllm data ls",
    )


def nearest(name: str, names: Sequence[str]) -> str | None:
    """The file name closest to a misspelt one, which may lack its suffix."""
    stems = {Path(other).stem: other for other in names}
    stem = closest(Path(name).stem, stems)
    return closest(name, names) or (stems[stem] if stem else None)


def data_files(folder: Path) -> list[str]:
    """Names of the data files of a folder, for did-you-mean; none where it cannot be listed."""
    try:
        entries = sorted(folder.iterdir())
    except (OSError, ValueError):  # ValueError: a null byte in the name
        return []
    return [entry.name for entry in entries if entry.suffix.lower() in READERS]


def _of_split(files: list[Path], split: str, folder: Path) -> list[Path]:
    splits = {file: _split_word(file) for file in files}
    if not any(splits.values()):
        if split == "train":
            return files
        raise DataError(f"the folder has no split {split}: its files carry no split names", given=folder)
    chosen = [file for file in files if splits[file] == split]
    if not chosen:
        names = sorted({word for word in splits.values() if word})
        raise DataError(f"the folder has no split {split}", given=folder, exists=names, hint=f"data.split={names[0]}")
    return chosen


def _split_word(file: Path) -> str | None:
    word = file.stem.lower().replace("_", "-").replace(".", "-").split("-")[0]
    return word if word in _SPLIT_WORDS else None


def _read_saved(path: Path, split: str) -> list[Placed]:
    from datasets import DatasetDict, load_from_disk

    try:
        data = load_from_disk(str(path))
    except Exception as error:
        raise DataError(f"the saved data set cannot be read: {describe(error)}", given=path) from error
    if isinstance(data, DatasetDict):
        if split not in data:
            raise DataError(f"the saved data set has no split {split}", given=path, exists=sorted(data))
        data = data[split]
    return number_rows(data, path.name)


def number_rows(rows: Iterable[Any], name: str) -> list[Placed]:
    """Rows of something that has no lines, counted from 1."""
    return [Placed(f"row {number} of {name}", row) for number, row in enumerate(rows, start=1)]


def _read_jsonl(path: Path) -> list[Placed]:
    rows = []
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            place = f"line {number} of {path.name}"
            text = _decode(line, path, place)
            if text.strip():
                rows.append(Placed(place, _object(_parse(text, path, line=number), place, path)))
    return rows


def _read_json(path: Path) -> list[Placed]:
    """A list of objects, `{"data": [...]}`, or JSON lines under the wrong suffix."""
    text = _decode(path.read_bytes(), path, path.name)
    if not text.strip():
        return []
    first, _, rest = text.strip().partition("\n")
    if rest.strip() and _is_object(first):
        return _read_jsonl(path)
    value = _parse(text, path)
    if isinstance(value, Mapping) and isinstance(value.get("data"), list):
        value = value["data"]
    if not isinstance(value, list):
        shape = (
            f"an object with keys {', '.join(map(str, list(value)[:8]))}"
            if isinstance(value, Mapping)
            else json_type(value)
        )
        raise DataError(f'the JSON file is {shape}, not a list of objects or {{"data": [...]}}', given=path)
    return [Placed(place, _object(row, place, path)) for place, row in number_rows(value, path.name)]


def _read_delimited(path: Path, delimiter: str) -> list[Placed]:
    csv.field_size_limit(_CSV_CELL_LIMIT)
    text = _decode(path.read_bytes(), path, path.name)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[Placed] = []
    header: list[str] | None = None
    try:
        for cells in reader:
            if header is None:
                header = _header(cells, path)
            elif cells:
                place = f"line {reader.line_num} of {path.name}"
                rows.append(Placed(place, _zip_row(header, cells, place, path)))
    except csv.Error as error:
        raise DataError(
            f"broken CSV at line {reader.line_num}: {error}", given=path, hint="check its quotes"
        ) from error
    return rows


def _header(cells: list[str], path: Path) -> list[str]:
    header = [cell.strip() for cell in cells]
    twice = sorted({cell for cell in header if header.count(cell) > 1})
    if twice:
        raise DataError(f"the header names {', '.join(map(repr, twice))} more than once", given=path)
    return header


def _zip_row(header: list[str], cells: list[str], place: str, path: Path) -> dict[str, str]:
    if len(cells) != len(header):
        raise DataError(
            f"{place} has {len(cells)} cells, the header has {len(header)}",
            given=f"{path}: {excerpt(','.join(cells), 0)}",
            hint="put cells that hold a delimiter or a line break in double quotes",
        )
    return dict(zip(header, cells, strict=True))


def _read_parquet(path: Path) -> list[Placed]:
    from pyarrow import parquet

    try:
        return number_rows(parquet.read_table(path).to_pylist(), path.name)
    except Exception as error:  # Arrow raises half a dozen unrelated types on a damaged file
        raise DataError(f"not a readable Parquet file: {excerpt(describe(error), 0, 160)}", given=path) from error


READERS: dict[str, Callable[[Path], list[Placed]]] = {
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".json": _read_json,
    ".csv": lambda path: _read_delimited(path, ","),
    ".tsv": lambda path: _read_delimited(path, "\t"),
    ".parquet": _read_parquet,
}
"""File suffix to reader."""


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
        value = json.loads(text)
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except json.JSONDecodeError as error:
        raise DataError(
            f"broken JSON at line {line or error.lineno}, column {error.colno}: {error.msg}",
            given=f"{path}: {excerpt(text, error.pos)}",
            hint="each line must be one whole JSON object (a JSON list belongs in a .json file)"
            if line
            else "the file must be one JSON list of objects",
        ) from error
    except (ValueError, RecursionError) as error:
        where = f" at line {line}" if line else ""
        raise DataError(f"JSON that cannot be used{where}: {excerpt(describe(error), 0, 120)}", given=path) from error


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
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
