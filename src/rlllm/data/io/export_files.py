"""Exported rows to files: JSON lines, one JSON list, or Parquet, with a report of changed values."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rlllm.core.errors import ConfigError, DataError, describe
from rlllm.core.images import image_bytes, image_digest, is_data_uri
from rlllm.core.records import LabelledCompletion, PreferencePair, Prompt, Record, images_of
from rlllm.data.io.export_formats import TARGETS, Place, Row, RowFormat, Target, row_of, target_of

_INDEX = "dataset_info.json"


@dataclass(frozen=True, slots=True)
class Written:
    """What was written."""

    files: dict[str, int]
    """File to its number of rows."""
    columns: dict[str, str]
    """The map that reads the files back: record field to column."""
    warnings: list[str] = field(default_factory=list)
    """Values that the format could not carry unchanged."""


def write(splits: Mapping[str, Sequence[Any]], to: str, out: Path, *, source: str, overwrite: bool = False) -> Written:
    """Write records in a tool's format.

    Args:
        splits: "train" and, where there are held-out records, "test"; records of one type.
        to: the tool, a name in `exports.TARGETS`.
        out: a folder that gets one file a split, or a file of the tool's type for "train" alone.
        source: `data_source` of verl's rows, and the name of LLaMA-Factory's data set.
        overwrite: replace files that exist.

    Raises:
        ConfigError: an unknown tool, a record type it does not train on, a file where a folder is needed, or one that exists.
        DataError: values that the file type cannot hold.
    """
    target = target_of(to)
    records = [record for part in splits.values() for record in part]
    kind = type(records[0])
    chat = any(isinstance(record.prompt, list) or _in_messages(record) for record in records)
    row_format = target.row_format(kind, to, chat=chat)
    paths = _paths(splits, to, target, out)
    _refuse_existing([*paths.values(), *([out / _INDEX] if target.folder_only else [])], overwrite)
    shows = any(images_of(record.prompt) for record in records)
    if shows and target.places is None:
        raise ConfigError(
            f"the rows of {to} are written without images, and these have some",
            exists=[name for name, other in TARGETS.items() if other.places],
            hint="leave the images out with --columns images=none, or write for another tool",
        )
    tables, warnings = _tables(splits, row_format, source, _Images(target, out, overwrite) if shows else None)
    for split, path in paths.items():
        _WRITERS[target.suffix](path, tables[split], warnings)
    if target.folder_only:
        _write_index(out / _INDEX, paths, source, kind, row_format, tables)
    changed = row_format.turns and sum(isinstance(record.prompt, str) for record in records)
    if changed:
        warnings.append(f"{changed:,} prompts of plain text became one user turn")
    warnings += _lost_turns(records, to)
    files = {str(path): len(tables[split]) for split, path in paths.items()}
    return Written(files, _present(row_format, records), list(dict.fromkeys(warnings)))


def _lost_turns(records: Sequence[Any], to: str) -> list[str]:
    """What the format does not say about the turns that train: TRL and OpenRLHF learn the completion, the others all turns."""
    chats = [record for record in records if hasattr(record, "trained_turns") and isinstance(record.prompt, list)]
    if to in ("trl", "openrlhf"):
        count = sum(bool(record.trained_turns) for record in chats)
        words = "train earlier turns of the assistant too, and the format only the last"
    else:
        spoken = [sum(turn["role"] == "assistant" for turn in record.prompt) for record in chats]
        count = sum(turns > len(record.trained_turns) for turns, record in zip(spoken, chats, strict=True))
        words = "leave out turns of the assistant that the format trains"
    return [f"{count:,} conversations {words}"] if count else []


def _in_messages(record: Any) -> bool:
    """Whether a completion of the record is more than text."""
    return any(isinstance(getattr(record, side, None), list) for side in ("completion", "chosen", "rejected"))


def _present(row_format: RowFormat, records: Sequence[Any]) -> dict[str, str]:
    """The column map, without fields that no record has."""
    return {
        name: column
        for name, column in row_format.columns.items()
        if not hasattr(records[0], name) or any(getattr(record, name) is not None for record in records)
    }


def _paths(splits: Mapping[str, Any], to: str, target: Target, out: Path) -> dict[str, Path]:
    if not out.suffix or out.is_dir():
        return {split: out / f"{split}{target.suffix}" for split in splits}
    if target.folder_only:
        raise ConfigError(f"{to} finds its data through an index: name a folder", given=out, hint=f"--out {out.stem}")
    if out.suffix != target.suffix:
        raise ConfigError(
            f"{to} reads {target.suffix} files", given=out, hint=f"--out {out.with_suffix(target.suffix)}"
        )
    if len(splits) > 1:
        raise ConfigError(
            "held-out rows get a file of their own: name a folder",
            given=out,
            hint=f"--out {out.stem}, or data.holdout=0",
        )
    return dict.fromkeys(splits, out)


def _refuse_existing(paths: Sequence[Path], overwrite: bool) -> None:
    for path in paths:
        if path.exists() and not overwrite:
            raise ConfigError("the file exists", given=path, hint="add --overwrite, or give another name")


@dataclass(frozen=True)
class _Images:
    """Images on their way into rows: the tool's form of each, and files for a tool that reads no data URI."""

    target: Target
    out: Path
    overwrite: bool

    def of(self, prompt: Prompt) -> list[Any]:
        return [self.target.image(self._stored(reference)) for reference in images_of(prompt)]

    def _stored(self, reference: str) -> str:
        """The reference itself; where files are found through an index, that of a file in the place of a data URI."""
        if not self.target.folder_only or not is_data_uri(reference):
            return reference
        kind = reference.partition(";")[0].partition("/")[2] or "png"
        name = f"images/{image_digest(reference)}.{kind}"
        path = self.out / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists() or self.overwrite:
                path.write_bytes(image_bytes(reference))
        except OSError as error:
            raise ConfigError(f"cannot write the file: {error.strerror}", given=path) from error
        return name


def _tables(
    splits: Mapping[str, Sequence[Any]], row_format: RowFormat, source: str, images: _Images | None
) -> tuple[dict[str, list[Row]], list[str]]:
    lost: Counter[str] = Counter()
    tables: dict[str, list[Row]] = {}
    for split, records in splits.items():
        tables[split] = []
        for index, record in enumerate(records):
            place, shown = Place(source, split, index), None
            if images is not None and images.target.places is not None:
                shown = images.of(record.prompt)
                record = replace(record, prompt=images.target.places(record.prompt))
            row, names = row_of(record, row_format, place, shown)
            tables[split].append(row)
            lost.update(names)
    return tables, [
        f"column {name} of {count:,} rows is left out: the format has a column of that name"
        for name, count in lost.items()
    ]


def _write_jsonl(path: Path, rows: Sequence[Row], warnings: list[str]) -> None:
    _replace(path, "".join(_json(row, warnings) + "\n" for row in rows))


def _write_json(path: Path, rows: Sequence[Row], warnings: list[str]) -> None:
    _replace(path, "[\n" + ",\n".join(_json(row, warnings) for row in rows) + "\n]\n")


def _json(row: Row, warnings: list[str]) -> str:
    def as_text(value: Any) -> str:
        warnings.append(f"values of type {type(value).__name__} are written as text")
        return str(value)

    try:
        return json.dumps(row, ensure_ascii=False, default=as_text)
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError(f"a row cannot be written as JSON: {describe(error)}", given=str(row)[:120]) from error


def _replace(path: Path, text: str) -> None:
    """Write a file through a temporary one, so that it is replaced as a whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # half an emoji becomes JSON's own \ud83d
        partial.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
        os.replace(partial, path)
    except OSError as error:
        raise ConfigError(f"cannot write the file: {error.strerror}", given=path) from error


def _write_parquet(path: Path, rows: Sequence[Row], warnings: list[str]) -> None:
    import pyarrow
    from pyarrow import parquet

    awkward = _awkward(rows)
    table = _arrow([_with_json_text(row, awkward, warnings) for row in rows])
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(table, partial)
        os.replace(partial, path)
    except (OSError, pyarrow.ArrowException) as error:
        raise ConfigError(f"cannot write the file: {describe(error)}", given=path) from error


def _arrow(rows: Sequence[Row]) -> Any:
    import pyarrow

    try:
        return pyarrow.Table.from_pylist(list(rows))
    except (pyarrow.ArrowException, UnicodeEncodeError, OverflowError, TypeError) as error:
        raise DataError(f"the rows do not fit a Parquet table: {describe(error)[:160]}") from error


def _awkward(rows: Sequence[Row]) -> set[str]:
    """The columns inside `extra_info` whose values have no one Arrow type."""
    values: dict[str, list[Any]] = {}
    for row in rows:
        for name, value in row["extra_info"].items():
            values.setdefault(name, []).append(value)
    return {name for name, column in values.items() if not _one_type(column)}


def _one_type(values: Sequence[Any]) -> bool:
    import pyarrow

    try:
        array = pyarrow.array(values)
    except (pyarrow.ArrowException, OverflowError, TypeError):
        return False
    return not pyarrow.types.is_nested(array.type) and array.to_pylist() == list(values)


def _with_json_text(row: Row, awkward: set[str], warnings: list[str]) -> Row:
    """The row with values without a plain Parquet type as JSON text."""
    extra = dict(row["extra_info"])
    for name in awkward & extra.keys():
        extra[name] = _json({"": extra[name]}, warnings)[5:-1]
        warnings.append(f"extra_info.{name} is written as JSON text: its values have no single plain type")
    return {**row, "extra_info": extra}


_WRITERS: dict[str, Callable[[Path, Sequence[Row], list[str]], None]] = {
    ".jsonl": _write_jsonl,
    ".json": _write_json,
    ".parquet": _write_parquet,
}


def _write_index(
    path: Path,
    files: Mapping[str, Path],
    source: str,
    kind: type[Record],
    row_format: RowFormat,
    tables: Mapping[str, Sequence[Row]],
) -> None:
    """LLaMA-Factory's `dataset_info.json`: name of a data set to its file, format and columns."""
    name = Path(source).stem.replace(":", "-") or "data"
    share_gpt = any("conversations" in row for rows in tables.values() for row in rows[:1])
    entry: dict[str, Any] = {"formatting": "sharegpt" if share_gpt else "alpaca"}
    if kind is PreferencePair:
        entry["ranking"] = True
    entry["columns"] = {
        **({"messages": "conversations"} if share_gpt else {"prompt": "instruction", "query": "input"}),
        **({"chosen": "chosen", "rejected": "rejected"} if kind is PreferencePair else {}),
        **({"response": "output"} if not share_gpt and kind is not PreferencePair else {}),
        **({"kto_tag": "kto_tag"} if kind is LabelledCompletion else {}),
        **({"images": "images"} if any("images" in row for rows in tables.values() for row in rows[:1]) else {}),
    }
    if share_gpt:
        entry["tags"] = {
            "role_tag": "from",
            "content_tag": "value",
            "user_tag": "human",
            "assistant_tag": "gpt",
            "observation_tag": "observation",
            "system_tag": "system",
        }
    index = {
        f"{name}{'' if split == 'train' else '_' + split}": {"file_name": file.name, **entry}
        for split, file in files.items()
        if tables[split]
    }
    _replace(path, json.dumps(index, indent=2, ensure_ascii=False) + "\n")
