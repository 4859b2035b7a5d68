"""Schemas by name, and which of them rows have. The built-in ones are the files of `published/`; nothing else lists them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from rlllm.core.errors import ConfigError, PluginError, RlllmError, describe
from rlllm.core.plugin_errors import plugin_place
from rlllm.core.records import RECORD_TYPES, Record
from rlllm.core.registry import Builtin, Registry
from rlllm.data.columns import RECORD_FIELDS
from rlllm.data.schemas.base import Row, RowSchema
from rlllm.data.schemas.stored_records import STORED_SCHEMAS, are_stored

_FILES = sorted((Path(__file__).parent / "published").glob("[a-z]*.py"))
SCHEMAS = Registry(
    "data schema",
    "rlllm.schemas",
    {file.stem.replace("_", "-"): Builtin(f"rlllm.data.schemas.published.{file.stem}:SCHEMA") for file in _FILES},
    "rlllm data schemas",
)


def find_schema(name: str) -> RowSchema:
    """The schema of this name: built in, installed, or `path/to/file.py:NAME`.

    Raises:
        UnknownNameError, ConfigError: there is none, its file does not import, or it is no valid schema.
        PluginError: an installed schema does not load, or is none.
    """
    installed = name not in SCHEMAS.builtins and ":" not in name
    schema = SCHEMAS.load(name)
    if problem := _problem(schema):
        raise (PluginError if installed else ConfigError)(f"{name} is no valid data schema: {problem}")
    return schema


def recognise(rows: Sequence[Row], kind: type[Record]) -> RowSchema | None:
    """The schema of more than half of these rows that makes records of `kind`; None where there is none.

    Stored records come first, then installed schemas, then built-in ones; of each, those with the highest precedence first. An
    installed schema that does not load, or whose `fits` raises, is left out with a warning: another data set may be read.
    """
    for stored, schema in STORED_SCHEMAS.items():
        if kind in schema.record_types and are_stored(rows, stored):
            return schema
    candidates = [*_installed(), *_builtin()]
    return next((schema for schema in candidates if kind in schema.record_types and _is_schema_of(schema, rows)), None)


def _is_schema_of(schema: RowSchema, rows: Sequence[Row]) -> bool:
    try:
        return 2 * sum(map(schema.fits, rows)) > len(rows)
    except Exception as error:
        if schema in _builtin():
            raise
        place = plugin_place(error, schema.fits)
        _warn(f"the data schema {schema.name} is not tried: its fits raised {describe(error)} ({place})")
        return False


@cache
def _builtin() -> tuple[RowSchema, ...]:
    return _by_precedence({name: SCHEMAS.load(name) for name in SCHEMAS.builtins})


def _installed() -> tuple[RowSchema, ...]:
    schemas = {}
    for name in SCHEMAS.names():
        if name not in SCHEMAS.builtins:
            try:
                schemas[name] = find_schema(name)
            except RlllmError as error:
                _warn(f"the installed data schema {name} is not tried: {error.what}")
    return _by_precedence(schemas)


def _by_precedence(schemas: Mapping[str, RowSchema]) -> tuple[RowSchema, ...]:
    return tuple(schemas[name] for name in sorted(schemas, key=lambda name: (-schemas[name].precedence, name)))


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=2)


def _problem(schema: Any) -> str | None:
    """What keeps an object from being a schema; None where nothing does."""
    if not isinstance(schema, RowSchema):
        return f"it is a {type(schema).__name__}, not a RowSchema"
    if not schema.record_types:
        return "it makes no record type: give columns or convert"
    for kind in (*schema.record_types, *schema.group_by):
        if kind not in RECORD_FIELDS:
            return f"{getattr(kind, '__name__', kind)} is no record type ({', '.join(RECORD_TYPES)})"
    for kind, mapped in schema.columns.items():
        fields = {field for field_set in RECORD_FIELDS[kind] for field in field_set.names}
        if strange := mapped.keys() - fields:
            return f"{kind.__name__} has no field {min(strange)} ({', '.join(sorted(fields))})"
    return None
