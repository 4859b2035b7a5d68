"""Documents of a text file, a folder of text files, a table with a column of texts, or a corpus of the Hub, one at a time."""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from rlllm.core.errors import DataError, describe
from rlllm.data.inspect.bad_rows import BadRows
from rlllm.data.io.files import is_saved, iterate_file, iterate_folder, missing
from rlllm.data.io.formats import READERS, dataset_rows, number_rows, suffix_of
from rlllm.data.request import Split

TEXT_COLUMNS = ("text", "content", "document", "article", "body", "raw_content")
"""Columns that hold the text of a document, by the names that corpora use; the first one there is taken."""
_HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
_MANY = 100
"""So many documents, and one belongs to a split by its own hash alone, so that a corpus of any size is read as a stream."""
_FEW = 10
"""With fewer documents than this, parts of them are held out, and not whole ones."""
_PROBE = 8192
OWN = "rlllm"
"""The path that means the source text of this package, where nothing else has that name: a text that is always at hand."""
_PACKAGE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Document:
    """A text that belongs together. No position reads across its end."""

    name: str
    """Where it stands: a file, or a row of one."""
    text: str

    @property
    def share(self) -> float:
        """A number in [0, 1) that follows from the text alone."""
        return int(hashlib.sha256(self.text.encode()).hexdigest()[:12], 16) / 16**12


def documents(
    path: str, column: str | None = None, split: str = "train", subset: str | None = None
) -> Iterator[Document]:
    """The documents of a source in order, empty ones left out.

    Args:
        path: a text file; a folder of them, read with its subfolders by name; a table (`.jsonl`, `.parquet` and the others that
            rlllm reads) or a folder of tables, each row a document; a Hub id; or `rlllm`, the source text of this package.
        column: of a table, which column is the text. Default: the first of `TEXT_COLUMNS` that is there.
        split: of a Hub corpus or a folder with several.
        subset: of a Hub corpus or a clone of one.

    Raises:
        DataError: there is no such source, a file that is no text, or no column of texts.
    """
    place = Path(path).expanduser()
    if place.is_dir():
        tables = is_saved(place) or any(suffix_of(file) in READERS for file in place.iterdir())
        bad = BadRows("fail")
        found = _rows(iterate_folder(place, split, bad, subset), path, column) if tables else _files(place)
    elif place.is_file():
        tabular = suffix_of(place) in READERS
        found = (
            _rows(iterate_file(place, BadRows("fail")), path, column) if tabular else iter([_file(place, place.name)])
        )
    elif _HUB_ID.match(path) and not place.parent.is_dir():
        found = _rows(number_rows(_hub_rows(path, split, subset), path), path, column)
    elif path == OWN:
        found = _files(_PACKAGE, "*.py")
    else:
        raise missing(place)
    return (document for document in found if document.text.strip())


def split_documents(found: Iterable[Document], split: Split, share: float, block: int) -> Iterator[Document]:
    """The documents of one split. Which these are follows from the texts alone, whatever the order or the seed.

    Of a hundred documents or more, each is held out by its own hash. Of fewer, those with the smallest hashes are, and of fewer
    than ten, blocks of them: parts of about `block` characters that end where a line does.

    Args:
        found: all documents.
        split: `train` or `holdout`.
        share: of the documents, or blocks, that is held out; at least one is.
        block: characters of a block.
    """
    rest = iter(found)
    first = list(islice(rest, _MANY))
    if len(first) == _MANY:
        yield from (document for document in _chain(first, rest) if (document.share < share) == (split == "holdout"))
        return
    units = first if len(first) >= _FEW else [part for document in first for part in blocks(document, block)]
    texts = sorted({unit.text: unit.share for unit in units}.items(), key=lambda item: item[1])
    held = {text for text, _ in texts[: max(1, round(share * len(texts)))]} if len(texts) > 1 else set()
    yield from (unit for unit in units if (unit.text in held) == (split == "holdout"))


def blocks(document: Document, size: int) -> Iterator[Document]:
    """Parts of a document of at least `size` characters each but for the last, cut behind a line break where there is one in
    the next `size` characters."""
    start = 0
    while start < len(document.text):
        end = start + size
        line = document.text.find("\n", end, end + size)
        end = line + 1 if line >= 0 else end
        yield Document(f"{document.name}, from character {start:,}", document.text[start:end])
        start = end


def _chain(first: Sequence[Document], rest: Iterator[Document]) -> Iterator[Document]:
    yield from first
    yield from rest


def _files(folder: Path, pattern: str = "*") -> Iterator[Document]:
    """The text files below a folder, by name; hidden ones, binary ones and tables are left out."""
    names = sorted(
        path
        for path in folder.rglob(pattern)
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    texts = [path for path in names if suffix_of(path) not in READERS and not _is_binary(path)]
    if not texts:
        raise DataError(
            "the folder holds no text files", given=folder, hint="name a file, or a folder with .txt or .md files"
        )
    return (_file(path, str(path.relative_to(folder))) for path in texts)


def _is_binary(path: Path) -> bool:
    try:
        with _opened(path) as file:
            return b"\0" in file.read(_PROBE)
    except OSError as error:
        raise DataError(f"the text file cannot be read: {describe(error)}", given=path) from error


def _file(path: Path, name: str) -> Document:
    try:
        with _opened(path) as file:
            return Document(name, file.read().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(
            "the file is no UTF-8 text",
            given=path,
            hint="save it as UTF-8; tables are .jsonl, .parquet, .csv and others",
        ) from error
    except (OSError, EOFError) as error:
        raise DataError(f"the text file cannot be read: {describe(error)}", given=path) from error


def _opened(path: Path) -> Any:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


def _rows(rows: Iterable[Any], source: str, column: str | None) -> Iterator[Document]:
    for placed in rows:
        yield Document(placed.place, _text_of(placed.row, source, column))


def _text_of(row: Mapping[str, Any], source: str, column: str | None) -> str:
    wanted = (column,) if column else TEXT_COLUMNS
    for name in wanted:
        if isinstance(row.get(name), str):
            return str(row[name])
    if column and column in row:
        raise DataError(f"the column {column} holds no text", given=f"{source}: {type(row[column]).__name__}")
    raise DataError(
        f"the rows have no column {' or '.join(wanted)} with the text of a document",
        given=source,
        exists=sorted(map(str, row)),
        hint="data.params.column=NAME",
    )


def _hub_rows(name: str, split: str, subset: str | None) -> Iterator[Any]:
    from datasets import load_dataset

    try:
        yield from dataset_rows(load_dataset(name, subset, split=split, streaming=True))
    except Exception as error:
        raise DataError(
            f"the corpus does not load: {describe(error)[:300]}",
            given=name,
            hint="name a file, a folder or a table; data.params.subset and data.params.split choose a part of a Hub corpus",
        ) from error
