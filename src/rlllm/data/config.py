"""`DataConfig`: the settings of a data set. Reads no file and imports nothing heavy."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, WrapValidator, field_validator, model_validator

from rlllm.core.config import Section
from rlllm.core.errors import ConfigError
from rlllm.data.context_columns import OFF, split_map
from rlllm.data.inspect.bad_rows import OnBadRow

_ROWS_SUFFIX = re.compile(r"^(?P<name>.+)#(?P<rows>[^#./\\]*)$", re.DOTALL)
_WEIGHT_SUFFIX = re.compile(r"^(?P<name>.+):(?P<weight>\d+(?:\.\d*)?|\.\d+)$", re.DOTALL)


def _rows_or_share(value: Any, handler: Callable[[Any], int | float]) -> int | float:
    holdout = handler(value)
    if isinstance(value, bool) or (holdout >= 1 and holdout != int(holdout)):
        raise ConfigError("a holdout is a whole number of rows, or a share below 1", given=value, hint="0.1 or 100")
    return int(holdout) if holdout == int(holdout) else holdout


Holdout = Annotated[int | float, Field(ge=0, allow_inf_nan=False), WrapValidator(_rows_or_share)]
"""Rows that are held out: a whole number of them, or below 1 a share."""


class MixedData(Section):
    """A data set of a mixture, written as a name (`b.jsonl#500:0.3`) or as the settings of a data set and a weight."""

    data: DataConfig
    """The data set. What it does not set, the mixture sets for all."""
    weight: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Its share of the training rows, relative to the others. Unset: 1, and by size where no data set has a weight."""

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, value: Any) -> Any:
        """Accept a name, and the settings of the data set beside the weight."""
        if isinstance(value, Path):
            value = str(value)
        if isinstance(value, str):
            name, weight = _split_weight(value)
            return {"data": {"name": name}, "weight": weight}
        if isinstance(value, Mapping) and "data" not in value:
            return {
                "data": {key: item for key, item in value.items() if key != "weight"},
                "weight": value.get("weight"),
            }
        return value

    @model_validator(mode="after")
    def _is_one(self) -> MixedData:
        if self.data.mix or self.data.holdout is not None:
            what = "a mixture" if self.data.mix else "a holdout"
            raise ConfigError(
                f"a data set of a mixture has no {what.partition(' ')[2]} of its own",
                given=self.data.name,
                hint="rows are held out of all data sets together: data.holdout"
                if not self.data.mix
                else "name its parts",
            )
        return self

    def __str__(self) -> str:
        rows = "" if self.data.rows is None else f"#{self.data.rows}"
        return f"{self.data.name}{rows}" + ("" if self.weight is None else f":{self.weight:g}")


class DataConfig(Section):
    """A data set, as written in a recipe or on the command line.

    The short form is one string: `arithmetic`, `pairs.jsonl#500` (500 rows), `gym:chain_sum`, `org/name`; or several data sets
    to mix: `a.jsonl,b.jsonl#500:0.3`, also as a list.
    """

    name: str = Field(default="arithmetic", min_length=1)
    """A built-in or installed name, `gym:TASK`, a file (.jsonl .json .csv .tsv, also with .gz; .parquet .arrow .feather),
    a folder, `file.py:function` or a Hub id."""
    rows: int | None = Field(default=None, ge=0)
    """Training rows to take, once the held-out ones are set aside. Unset: 2000 of a procedural source, all of a file."""
    mix: list[MixedData] = Field(default_factory=list)
    """Data sets that are mixed: names (`b.jsonl#500:0.3` has 500 rows and the weight 0.3) or settings, in the place of `name`.
    Weights are shares of the training rows; without any, all rows are taken. `seed` decides which rows, and their order."""
    holdout: Holdout | None = None
    """Rows kept back for evaluation; below 1, this share of the rows. Unset: 256 of a procedural source, none of a file."""
    level: int | None = None
    """Difficulty of a procedural source."""
    seed: int = 0
    """Seed of a procedural source; rows of files are never shuffled here."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Which column is what: record field to column name, e.g. `prompt=question,answer=final_answer`. A dot reaches
    into a nested column, a plus joins two columns with a blank line. Unmapped fields are found by well-known names. `system`,
    `history`, `tools` and `images` are columns of the prompt beside any of them; `system=none` leaves one out."""
    image_folder: str | None = Field(default=None, min_length=1)
    """Folder in which relative paths of images begin. Unset: that of the data file."""
    row_schema: str | None = None
    """How rows become records: a data schema (see `rlllm data schemas`) or `path/to/file.py:SCHEMA`. Unset: recognised."""
    system_prompt: str | None = Field(default=None, min_length=1)
    """A system message in front of every prompt that begins with none of its own; `@FILE` takes the text of a file."""
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
        if isinstance(value, list | tuple):
            value = {"mix": list(value)}
        value = _with_parts(value) if isinstance(value, Mapping) else value
        if not isinstance(value, Mapping) or not isinstance(value.get("name"), str) or value.get("mix"):
            return value
        name, rows = _split_rows(value["name"])
        if rows is None:
            return value
        if value.get("rows") not in (None, rows):
            raise ConfigError(f"data rows are given twice: {value['name']} and rows={value['rows']}", hint="keep one")
        return {**value, "name": name, "rows": rows}

    @model_validator(mode="after")
    def _one_source(self) -> DataConfig:
        if self.mix and self.name != (parts := ", ".join(map(str, self.mix))):
            raise ConfigError(
                "name and mix both say what is read", given=f"{self.name} and {parts}", hint="leave one of them out"
            )
        return self

    @model_validator(mode="after")
    def _one_reading(self) -> DataConfig:
        if self.row_schema and split_map(self.columns)[1]:
            raise ConfigError(
                "columns and row_schema both say how rows are read", given=self.row_schema, hint="keep one"
            )
        return self

    @field_validator("system_prompt", mode="before")
    @classmethod
    def _read_system_prompt(cls, value: Any) -> Any:
        """The text of `@FILE`, so that a run records what it used."""
        if not isinstance(value, str) or not value.startswith("@"):
            return value
        path = Path(value[1:]).expanduser()
        try:
            return path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                "the file of the system prompt cannot be read", given=value, hint="system_prompt=@prompts/brief.txt"
            ) from error

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


def held_out_rows(holdout: float | None, rows: int) -> int:
    """The number of rows that a holdout means: itself, or a share of `rows`, at least one."""
    if not holdout or holdout >= 1:
        return int(holdout or 0)
    return max(1, math.floor(holdout * rows + 0.5))


def _with_parts(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings with a list of names, or a name that lists several, in `mix`; `name` says them all."""
    name, mix = value.get("name"), value.get("mix")
    if not mix and isinstance(name, str) and "," in name and not _exists(name):
        mix = name.split(",")
    if not isinstance(mix, list) or not mix:
        return value
    flat = [
        part for item in mix for part in (item.split(",") if isinstance(item, str) and not _exists(item) else [item])
    ]
    if any(isinstance(part, str) and not part.strip() for part in flat):
        raise ConfigError("a mixture names each of its data sets", given=name or mix, hint="a.jsonl,b.jsonl")
    parts = [MixedData.checked(part.strip() if isinstance(part, str) else part) for part in flat]
    if len(parts) == 1 and parts[0].weight is None:
        return {
            **parts[0].data.model_dump(exclude_unset=True),
            **{k: v for k, v in value.items() if k not in ("name", "mix")},
        }
    listed = ", ".join(map(str, parts))
    stated = name if isinstance(name, str) and value.get("mix") else listed
    return {**value, "name": stated, "mix": [part.model_dump(exclude_unset=True) for part in parts]}


def _exists(name: str) -> bool:
    try:
        return Path(name).exists()
    except (OSError, ValueError):
        return False


def _split_weight(text: str) -> tuple[str, float | None]:
    """`name#500:0.3` to its parts, also `name:0.3#500`."""
    if match := _WEIGHT_SUFFIX.match(text):
        return match["name"], float(match["weight"])
    name, rows = _split_rows(text)
    match = _WEIGHT_SUFFIX.match(name)
    return (f"{match['name']}#{rows}", float(match["weight"])) if match else (text, None)


MixedData.model_rebuild()
DataConfig.model_rebuild()
