"""Rows to records, one builder for each record type. The error for a value that does not fit names its row and column.

Text is taken as it stands: nothing is stripped, re-encoded or templated here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from rlllm.core.errors import DataError
from rlllm.core.plugin_errors import plugin_boundary
from rlllm.core.records import (
    Conversation,
    LabelledCompletion,
    Message,
    PreferencePair,
    Prompt,
    PromptTask,
    Record,
    StepwiseSolution,
)
from rlllm.data import columns, messages
from rlllm.data.inspect.bad_rows import BadRows
from rlllm.data.io.formats import Placed, excerpt, json_type
from rlllm.data.schemas.base import FOLLOWING, RowError, RowSchema
from rlllm.data.schemas.registry import recognise
from rlllm.parsing.answers import extract_answer

SAMPLED_ROWS = 64
"""First rows of a source, from which its schema and its columns are chosen."""
_GROUPED_NUMBER = re.compile(r"^[-+]?\d{1,3}(,\d{3})+(\.\d+)?$")
_ASSISTANT_MARK = "\n\nAssistant:"
_SKIP = "or count and leave out such rows: data.on_bad_row=skip"
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def adapt(
    rows: Iterable[Placed],
    kind: type[Record],
    explicit: Mapping[str, str],
    source: str,
    bad: BadRows | None = None,
    schema: RowSchema | None = None,
) -> tuple[list[Any], dict[str, str]]:
    """Records of one type, and the column map that was used (empty where a schema converts the rows).

    Raises:
        ConfigError, DataError: see `fit`; or a row does not fit, named by its place, unless `bad` skips such rows.
    """
    rows = list(rows)
    adapter = fit(rows[:SAMPLED_ROWS], kind, explicit, source, schema)
    return list(adapter.records(rows, bad or BadRows())), dict(adapter.columns)


def fit(
    head: Sequence[Placed],
    kind: type[Record],
    explicit: Mapping[str, str],
    source: str,
    schema: RowSchema | None = None,
) -> Adapter:
    """How the rows that begin with `head` become records of `kind`.

    By `schema` where it is given, else by the user's column map `explicit`, else by a schema that is recognised, else by
    well-known column names.

    Raises:
        ConfigError, DataError: see `columns.choose`; no row has columns; or `schema` does not make `kind`.
    """
    rows = [placed for placed in head if isinstance(placed.row, Mapping)]
    if not rows:
        raise _no_columns(head[0], source)
    if schema and kind not in schema.record_types:
        raise DataError(
            f"the data schema {schema.name} makes no {kind.__name__} records",
            given=source,
            exists=[record_type.__name__ for record_type in schema.record_types],
        )
    if schema is None and not explicit:
        schema = recognise([placed.row for placed in rows], kind)
    if schema:
        return Adapter(kind, schema.columns.get(kind, {}), source, schema)
    chosen = columns.choose(rows, kind, explicit, source)
    return Adapter(kind, chosen, source, empty=columns.empty_columns(rows, kind, explicit, chosen))


@dataclass(frozen=True, slots=True)
class Adapter:
    """What makes records of one type from the rows of one source; fixed by the first rows, the same for all."""

    kind: type[Record]
    columns: Mapping[str, str]
    """Record field to column expression; empty where the schema converts the rows."""
    source: str
    schema: RowSchema | None = None
    empty: Mapping[str, str] = field(default_factory=dict)
    """Columns that had no value when columns were chosen, and would be chosen with one, each with the map that reads it."""

    def records(self, rows: Iterable[Placed], bad: BadRows) -> Iterator[Any]:
        """The records of each row in order, none of a row that is skipped."""
        build = _BUILDERS[self.kind]
        for placed in self._grouped(rows):
            try:
                records = [build(cells) for cells in self._cells(placed)]
            except DataError as error:
                bad.add(error)
                continue
            bad.good += bool(records)
            bad.undecided += not records
            yield from records

    def _grouped(self, rows: Iterable[Placed]) -> Iterator[Placed]:
        """The rows, those that only together make a record as one (see `RowSchema.group_by`)."""
        if self.schema is None or self.kind not in self.schema.group_by:
            yield from rows
            return
        column = self.schema.group_by[self.kind]

        def key(placed: Placed) -> tuple[bool, object]:
            try:
                fits = isinstance(placed.row, Mapping) and self._fits(placed)
            except DataError:  # raised again, and counted, when the row is converted
                fits = False
            return (True, placed.row.get(column)) if fits else (False, placed.place)

        for (fits, _), group in groupby(rows, key):
            first, *others = group
            row = {**first.row, FOLLOWING: [placed.row for placed in others]} if fits else first.row
            yield Placed(first.place, row)

    def _cells(self, placed: Placed) -> list[Cells]:
        if not isinstance(placed.row, Mapping):
            raise _no_columns(placed, self.source)
        if self.schema is None:
            self._refuse_unchosen(placed)
            return [Cells(placed.place, placed.row, self.columns, self.source)]
        if not self._fits(placed):
            raise DataError(
                f"{placed.place} does not fit the schema {self.schema.name}: it needs {self.schema.needs}",
                given=self.source,
                exists=columns.column_names([placed.row]),
                hint=f"say which column is which with --columns; {_SKIP}",
            )
        if self.kind in self.schema.columns:
            return [Cells(placed.place, placed.row, self.columns, self.source)]
        fields = columns.RECORD_FIELDS[self.kind][0].names
        return [
            Cells(placed.place, row, {f: f for f in fields if f in row}, self.source, self.schema.name)
            for row in self._converted(placed)
        ]

    def _fits(self, placed: Placed) -> bool:
        assert self.schema is not None
        try:
            return bool(self.schema.fits(placed.row))
        except Exception as error:
            raise self._schema_error("fits", self.schema.fits, placed, error) from error

    def _converted(self, placed: Placed) -> Sequence[Mapping[str, Any]]:
        """The rows of record fields that the schema's `convert` gives for a row."""
        assert self.schema is not None
        try:
            rows = self.schema.convert[self.kind](placed.row)
        except RowError as error:
            raise DataError(
                f"{placed.place} {error}",
                hint="name the columns yourself with --columns, or count and leave out such rows: data.on_bad_row=skip",
            ) from error
        except Exception as error:
            raise self._schema_error("convert", self.schema.convert[self.kind], placed, error) from error
        if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
            raise DataError(
                f"convert of the data schema {self.schema.name} returned {_type_name(rows)}, not a list of mappings",
                given=placed.place,
                exists=columns.RECORD_FIELDS[self.kind][0].names,
            )
        return rows

    def _schema_error(self, name: str, function: Callable[..., Any], placed: Placed, error: Exception) -> Exception:
        """The error for a schema's function that raised something else than RowError; `error` itself for a built-in schema."""
        assert self.schema is not None
        try:
            with plugin_boundary(
                "data schema",
                f"{self.schema.name}: {name}",
                function,
                error_type=DataError,
                keys=columns.column_names([placed.row]),
                given=placed.place,
                hint="raise RowError for a row that cannot be converted",
            ):
                raise error
        except Exception as attributed:
            return attributed

    def _refuse_unchosen(self, placed: Placed) -> None:
        """Refuse a value in a column that was empty when columns were chosen: by the order of the rows it would be left out."""
        for column, better in self.empty.items():
            if column in placed.row and columns.filled(placed.row, column):
                raise DataError(
                    f"{placed.place} has a value in the column {column}, which the first {SAMPLED_ROWS} rows lack",
                    given=self.source,
                    hint=f"put such a row among the first, which reads {better}; or say which column is which with --columns",
                )


def _type_name(value: Any) -> str:
    if isinstance(value, list):
        return f"a list with {json_type(next(item for item in value if not isinstance(item, Mapping)))}"
    return json_type(value)


def _no_columns(placed: Placed, source: str) -> DataError:
    return DataError(f"{placed.place} is {json_type(placed.row)}, not a mapping of columns", given=source)


@dataclass(frozen=True, slots=True)
class Cells:
    """One row's values by record field, with the checks and the messages every builder needs."""

    place: str
    row: Mapping[str, Any]
    columns: Mapping[str, str]
    source: str
    schema: str = ""
    """Name of the schema that converted the row; empty for a row as it is stored."""

    def get(self, field: str) -> Any:
        """The raw value; None where the column is absent, null or not a number (how tables mark a gap)."""
        value = columns.read(self.row, self.columns[field]) if field in self.columns else None
        return None if isinstance(value, float) and math.isnan(value) else value

    def fail(self, field: str, problem: str) -> DataError:
        """The error for a value: field, column and place, then what is wrong with it."""
        if self.schema:
            return DataError(
                f"{field} at {self.place} {problem}",
                given=f"a row of {self.source} as the data schema {self.schema} converts it",
                exists=columns.column_names([self.row]),
                hint=_SKIP.removeprefix("or "),
            )
        column = self.columns.get(field, field)
        role = field if column == field else f"{field} (column {column})"
        other = columns.another(self.row, field, self.columns)
        hint = f"if another column is meant: --columns {field}={other}; {_SKIP}" if other else _SKIP.removeprefix("or ")
        return DataError(f"{role} at {self.place} {problem}", given=self.source, hint=hint)

    def text(self, field: str, *, numbers: bool = False, empty: bool = False) -> str:
        """A text value. With `numbers`, a number becomes its text; with `empty`, blank text passes."""
        value = self.get(field)
        if numbers and isinstance(value, int | float) and not isinstance(value, bool):
            if isinstance(value, float) and not math.isfinite(value):
                raise self.fail(field, "must be a finite number or text, found infinity")
            value = number_text(value)
        if value is None:
            raise self.fail(field, "is null or absent")
        if not isinstance(value, str):
            raise self.fail(field, f"must be text, found {json_type(value)}: {excerpt(str(value), 0, 40)}")
        if not empty and not value.strip():
            raise self.fail(field, "is empty")
        return value

    def prompt(self, *, empty: bool = False) -> Prompt:
        """Plain text, or messages where the column holds a list."""
        value = self.get("prompt")
        if messages.is_messages(value):
            return messages.parse(value, self.place)
        if empty and value == []:
            return ""
        if isinstance(value, list | dict):
            raise self.fail("prompt", f"must be text or a list of messages, found {json_type(value)}")
        return self.text("prompt", empty=empty)

    def completion(self, field: str) -> tuple[list[Message], str]:
        """Messages that belong to the prompt (mostly none), and the text to learn."""
        value = self.get(field)
        if not messages.is_messages(value):
            return [], self.text(field, numbers=True)
        return self.dialogue(field)

    def dialogue(self, field: str) -> tuple[list[Message], str]:
        """What stands before the last assistant turn of a column of messages, and that turn's text."""
        before, text = messages.split_last(messages.parse(self.get(field), self.place), self.place)
        if not text.strip():
            raise self.fail(field, "is empty")
        return before, text

    def boolean(self, field: str, value: Any) -> bool:
        if isinstance(value, float) and value.is_integer():  # how tables with gaps hold 0 and 1
            value = int(value)
        known = _BOOLEANS.get(str(value).strip().lower()) if isinstance(value, bool | int | str) else None
        if known is None:
            raise self.fail(field, f"must be true or false, found {excerpt(repr(value), 0, 40)}")
        return known

    def meta(self) -> dict[str, Any]:
        """Every column that no field used; of a stored record, its own `meta`."""
        if "meta" in self.columns:
            return dict(self.get("meta"))
        used = {key for expression in self.columns.values() for key in columns.consumed(self.row, expression)}
        return {str(key): value for key, value in self.row.items() if key not in used}


def number_text(value: int | float) -> str:
    """A number the way a person writes it: `72.0` is `72`."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def final_answer(text: str) -> str:
    """What stands behind the last answer mark (`#### 1,072` gives `1072`), or the text itself if there is none."""
    marked = extract_answer(text)
    if marked is None:
        return text
    return marked.replace(",", "") if _GROUPED_NUMBER.match(marked) else marked


def _task(cells: Cells) -> PromptTask:
    meta = cells.meta()
    prompt: Prompt
    if "messages" in cells.columns:
        conversation = messages.parse(cells.get("messages"), cells.place)
        speaks = any(turn["role"] == "assistant" for turn in conversation)
        before = messages.split_last(conversation, cells.place)[0] if speaks else conversation
        if not before:
            raise cells.fail("messages", "has nothing before the assistant's turn")
        prompt = _with_system(before, meta)
    else:
        prompt = cells.prompt()
    if cells.get("answer") is None:
        return PromptTask(prompt, None, meta)
    full = cells.text("answer", numbers=True, empty=True)
    answer = full if "meta" in cells.columns else final_answer(full)
    if answer != full:
        meta.setdefault(cells.columns["answer"], full)
    return PromptTask(prompt, answer, meta)


def _conversation(cells: Cells) -> Conversation:
    if "text" in cells.columns:
        return Conversation("", cells.text("text"), cells.meta())
    if "messages" not in cells.columns:
        return Conversation(*_join(cells.prompt(empty=True), *cells.completion("completion")), cells.meta())
    before, text = cells.dialogue("messages")
    meta = cells.meta()
    return Conversation(_with_system(before, meta) or "", text, meta)


def _with_system(turns: list[Message], meta: dict[str, Any]) -> list[Message]:
    """The turns behind the text of a column `system` (ShareGPT), which is taken out of `meta`, unless they have their own."""
    system = meta.pop("system", None)
    if isinstance(system, str) and system.strip() and not any(turn["role"] == "system" for turn in turns):
        return [{"role": "system", "content": system}, *turns]
    return turns


def _join(prompt: Prompt, before: list[Message], completion: str) -> tuple[Prompt, str]:
    """A completion given as several messages: all but its last turn belong to the prompt."""
    if not before:
        return prompt, completion
    start = [{"role": "user", "content": prompt}] if isinstance(prompt, str) and prompt else list(prompt)
    return [*start, *before], completion


def _pair(cells: Cells) -> PreferencePair:
    chosen, rejected, meta = cells.get("chosen"), cells.get("rejected"), cells.meta()
    if messages.is_messages(chosen) and messages.is_messages(rejected):
        prompt, better, worse = _pair_of_messages(cells)
        given = cells.get("prompt")
        if isinstance(given, str) and isinstance(prompt, list) and not _says(prompt, given):
            meta.setdefault(cells.columns["prompt"], given)
    else:
        better, worse = cells.text("chosen"), cells.text("rejected", empty=True)
        if "prompt" in cells.columns:
            prompt = cells.prompt()
        else:
            prompt, better, worse = _split_dialogue(cells, better, worse)
    return PreferencePair(prompt, better, worse, _margin(cells), meta)


def _says(turns: list[Message], text: str) -> bool:
    return any(turn["content"].strip() == text.strip() for turn in turns)


def _pair_of_messages(cells: Cells) -> tuple[Prompt, str, str]:
    before, better = cells.dialogue("chosen")
    also, worse = messages.split_last(messages.parse(cells.get("rejected"), cells.place), cells.place)
    if before != also:
        raise cells.fail("rejected", "and chosen differ before their last turn")
    if "prompt" not in cells.columns:
        if not before:
            raise _no_prompt(cells)
        return before, better, worse
    prompt = cells.prompt()
    if before and (isinstance(prompt, str) or before[: len(prompt)] == prompt):
        return before, better, worse
    return _join(prompt, before, better)[0], better, worse


def _split_dialogue(cells: Cells, chosen: str, rejected: str) -> tuple[str, str, str]:
    """Pairs without a prompt column (hh-rlhf): cut both at the last assistant mark of what they share."""
    differs = (at for at, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b)
    cut = chosen.rfind(_ASSISTANT_MARK, 0, next(differs, min(len(chosen), len(rejected))))
    if cut < 0:
        raise _no_prompt(cells)
    cut += len(_ASSISTANT_MARK)
    if not chosen[cut:].strip():
        raise cells.fail("chosen", "has nothing after the last assistant mark")
    return chosen[:cut], chosen[cut:], rejected[cut:]


def _no_prompt(cells: Cells) -> DataError:
    mapped = {field: column for field, column in cells.columns.items() if field != column}
    return columns.no_column(("prompt",), PreferencePair, [cells.row], mapped, cells.source)


def _margin(cells: Cells) -> float | None:
    value = cells.get("margin")
    if value in (None, ""):
        return None
    try:
        margin = float("nan" if isinstance(value, bool) else value)
    except (TypeError, ValueError, OverflowError):
        margin = math.nan
    if not math.isfinite(margin):
        raise cells.fail("margin", f"must be a finite number, found {excerpt(repr(value), 0, 40)}")
    return margin


def _labelled(cells: Cells) -> LabelledCompletion:
    prompt, completion = _join(cells.prompt(), *cells.completion("completion"))
    return LabelledCompletion(prompt, completion, cells.boolean("label", cells.get("label")), cells.meta())


def _stepwise(cells: Cells) -> StepwiseSolution:
    steps, labels = cells.get("steps"), cells.get("labels")
    if not isinstance(steps, list) or not steps or not all(isinstance(step, str) and step.strip() for step in steps):
        raise cells.fail("steps", f"must be a list of texts, none of them blank, found {excerpt(repr(steps), 0, 40)}")
    if not isinstance(labels, list) or len(labels) != len(steps):
        found = len(labels) if isinstance(labels, list) else json_type(labels)
        raise cells.fail("labels", f"must be a list of {len(steps)} labels, one a step, found {found}")
    marks = tuple(cells.boolean("labels", label) for label in labels)
    return StepwiseSolution(cells.prompt(), tuple(steps), marks, cells.meta())


_BUILDERS: dict[type[Record], Callable[[Cells], Record]] = {
    PromptTask: _task,
    Conversation: _conversation,
    PreferencePair: _pair,
    LabelledCompletion: _labelled,
    StepwiseSolution: _stepwise,
}
