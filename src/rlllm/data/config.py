"""`DataConfig`: the settings of a data set. Reads no file and imports nothing heavy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from rlllm.core.config import Section
from rlllm.core.errors import ConfigError
from rlllm.data.context_columns import OFF, split_map
from rlllm.data.inspect.bad_rows import OnBadRow

_ROWS_SUFFIX = re.compile(r"^(?P<name>.+)#(?P<rows>[^#./\\]*)$", re.DOTALL)


class DataConfig(Section):
    """A data set, as written in a recipe or on the command line.

    The short form is one string: `arithmetic`, `pairs.jsonl#500` (500 rows), `gym:chain_sum`, `org/name`.
    """

    name: str = Field(default="arithmetic", min_length=1)
    """A built-in or installed name, `gym:TASK`, a file (.jsonl .json .csv .tsv, also with .gz; .parquet .arrow .feather),
    a folder, `file.py:function` or a Hub id."""
    rows: int | None = Field(default=None, ge=0)
    """Training rows to take, once the held-out ones are set aside. Unset: 2000 of a procedural source, all of a file."""
    holdout: int | None = Field(default=None, ge=0)
    """Rows kept back for evaluation. Unset: 256 of a procedural source, none of a file."""
    level: int | None = None
    """Difficulty of a procedural source."""
    seed: int = 0
    """Seed of a procedural source; rows of files are never shuffled here."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Which column is what: record field to column name, e.g. `prompt=question,answer=final_answer`. A dot reaches
    into a nested column, a plus joins two columns with a blank line. Unmapped fields are found by well-known names. `system`,
    `history` and `tools` are columns of the prompt beside any of them; `system=none` leaves one out."""
    row_schema: str | None = None
    """How rows become records: a data schema (see `rlllm data schemas`) or `path/to/file.py:SCHEMA`. Unset: recognised."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Extra arguments of a procedural source."""
    subset: str | None = None
    """Configuration name of a Hub data set, or of a clone of one."""
    split: str = "train"
    """Split of a Hub data set or of a folder that has several."""
    revision: str | None = None
    """Branch, tag or commit of a Hub data set."""
    streaming: bool = False
    """Take the rows of a Hub data set from a stream instead of downloading all of it first; needs `rows`."""
    on_bad_row: OnBadRow = "fail"
    """A row that is damaged or does not fit: `fail` stops at the first, `skip` counts them. More than half are refused."""

    @model_validator(mode="before")
    @classmethod
    def _widen(cls, value: Any) -> Any:
        """Accept the short form, and `#N` in the long form's name."""
        if isinstance(value, str | Path):
            value = {"name": str(value)}
        if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
            return value
        name, rows = _split_rows(value["name"])
        if rows is None:
            return value
        if value.get("rows") not in (None, rows):
            raise ConfigError(f"data rows are given twice: {value['name']} and rows={value['rows']}", hint="keep one")
        return {**value, "name": name, "rows": rows}

    @model_validator(mode="after")
    def _one_reading(self) -> DataConfig:
        if self.row_schema and split_map(self.columns)[1]:
            raise ConfigError(
                "columns and row_schema both say how rows are read", given=self.row_schema, hint="keep one"
            )
        return self

    @field_validator("columns", mode="before")
    @classmethod
    def _parse_columns(cls, value: Any) -> Any:
        """Accept `field=column,field=column`, the command line's spelling."""
        if isinstance(value, Mapping):
            return {field: OFF if column in (None, False) else column for field, column in value.items()}
        if not isinstance(value, str):
            return value
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        if any(not field.strip() or not column.strip() for field, _, column in pairs):
            raise ConfigError("a column map is written field=column", given=value, hint="prompt=question,answer=final")
        fields = [field.strip() for field, _, _ in pairs]
        if twice := sorted({field for field in fields if fields.count(field) > 1}):
            raise ConfigError(f"columns gives {twice[0]} twice", given=value, hint="keep one")
        return {field.strip(): column.strip() for field, _, column in pairs}


def _split_rows(text: str) -> tuple[str, int | None]:
    """`name#N` to its parts; a `#` inside a file name is kept."""
    match = _ROWS_SUFFIX.match(text)
    if match is None:
        return text, None
    if not re.fullmatch(r"[0-9]{1,12}", match["rows"]):
        raise ConfigError("after # comes the number of rows", given=text, hint=f"write {match['name']}#500")
    return match["name"], int(match["rows"])
