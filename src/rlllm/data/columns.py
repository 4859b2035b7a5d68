"""Which column holds which record field: the user's map first, then well-known names, else an error that suggests a map.

A column expression is a column name, a dotted path into a nested column (`reward_model.ground_truth`), or columns
joined by a plus (`instruction+input`, joined with a blank line). Of a pair whose better side another column names, `first` and
`second` are the answers and `winner` is that column, with the values that mean the first and the second: `winner=labels:1/0`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlllm.core.errors import ConfigError, DataError, closest, unknown
from rlllm.core.records import Conversation, LabelledCompletion, PreferencePair, PromptTask, Record, StepwiseSolution
from rlllm.data import preference, suggestions
from rlllm.data.io.formats import Placed

ALIASES: dict[str, tuple[str, ...]] = {
    "prompt": (
        "prompt",
        "question",
        "problem",
        "query",
        "instruction+input",
        "instruction+context",
        "instruction",
        "input",
    ),
    "messages": ("messages", "conversations", "conversation"),
    "text": ("text",),
    "answer": (
        "answer",
        "final_answer",
        "ground_truth",
        "reward_model.ground_truth",
        "golden_answers",
        "answers.text",
        "solution",
        "target",
        "output",
    ),
    "completion": ("completion", "response", "output", "solution", "answer", "target"),
    "chosen": ("chosen", "chosen_response", "response_chosen", "preferred"),
    "rejected": ("rejected", "rejected_response", "response_rejected", "dispreferred"),
    "margin": ("margin",),
    "first": (),
    "second": (),
    "winner": (),
    "label": ("label", "kto_tag"),
    "steps": ("steps", "completions"),
    "labels": ("labels", "step_labels"),
}
"""Record field to the column expressions that mean it, the most specific first; none for fields that only a map names."""


@dataclass(frozen=True, slots=True)
class FieldSet:
    """One way a row can hold a record: the fields it must have, and those it may have."""

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return self.required + self.optional


RECORD_FIELDS: dict[type[Record], tuple[FieldSet, ...]] = {
    PromptTask: (FieldSet(("prompt",), ("answer",)), FieldSet(("messages",), ("answer",))),
    Conversation: (FieldSet(("prompt", "completion")), FieldSet(("messages",)), FieldSet(("text",))),
    PreferencePair: (
        FieldSet(("chosen", "rejected"), ("prompt", "margin")),
        FieldSet(("first", "second", "winner"), ("prompt", "margin")),
    ),
    LabelledCompletion: (FieldSet(("prompt", "completion", "label")), FieldSet(("messages", "label"))),
    StepwiseSolution: (FieldSet(("prompt", "steps", "labels")),),
}
"""Record type -> the sets of fields it can be read from, in order of preference."""


def choose(rows: Sequence[Placed], kind: type[Record], explicit: Mapping[str, str], source: str) -> dict[str, str]:
    """The column expression of every field that was found.

    Args:
        rows: the first rows of the data; column names are taken from them.
        kind: the record type to make.
        explicit: the user's map; it overrides the well-known names field by field.
        source: what to call the data in messages.

    Raises:
        ConfigError: the map names a field this record type does not have.
        DataError: a needed column is missing, or the map names a column that is not there.
    """
    head = [placed.row for placed in rows]
    names = column_names(head)
    field_sets = [fields for fields in RECORD_FIELDS[kind] if explicit.keys() <= set(fields.names)]
    if not field_sets:
        raise _unknown_field(kind, explicit)
    for field, expression in explicit.items():
        column = preference.column_of(expression) if field == "winner" else expression
        if not _present(head, column, names):
            raise _no_such_column(field, column, names, source)
    for field_set in field_sets:
        expressions = {field: explicit.get(field) or _by_known_name(field, head, names) for field in field_set.names}
        column_map = {field: expression for field, expression in expressions.items() if expression}
        if all(field in column_map for field in field_set.required):
            return column_map
    raise no_column(field_sets[0].required, kind, head, explicit, source)


def empty_columns(
    rows: Sequence[Placed], kind: type[Record], explicit: Mapping[str, str], column_map: Mapping[str, str]
) -> dict[str, str]:
    """Columns without a value in these rows that would have been chosen with one, each with the map that reads it."""
    head = [placed.row for placed in rows]
    field_set = next(
        fields for fields in RECORD_FIELDS[kind] if set(fields.required) <= column_map.keys() <= set(fields.names)
    )
    maps: dict[str, str] = {}
    for field in field_set.names:
        aliases = () if field in explicit else ALIASES[field]
        for expression in aliases[: aliases.index(column_map[field])] if column_map.get(field) in aliases else aliases:
            for column in (part.partition(".")[0] for part in expression.split("+")):
                if not any(filled(row, column) for row in head):
                    maps.setdefault(column, f"{field}={expression}")
    return maps


def filled(row: Mapping[str, Any], column: str) -> bool:
    """Whether a row has a value in a column: no null, no blank cell, no NaN."""
    value = row.get(column)
    empty = value is None or (isinstance(value, str) and not value) or (isinstance(value, float) and value != value)
    return not empty


def read(row: Mapping[str, Any], expression: str) -> Any:
    """The value of a column expression in a row; None where it is absent."""
    if expression in row:
        return row[expression]
    if "+" in expression:
        parts = {name: read(row, name) for name in expression.split("+")}
        if any(isinstance(part, list | tuple | Mapping) for part in parts.values()):
            return parts  # not text, which the field says: lists have no reading as one text
        return "\n\n".join(str(part) for part in parts.values() if part not in (None, ""))
    value: Any = row
    for key in expression.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def consumed(row: Mapping[str, Any], expression: str) -> set[str]:
    """Top-level columns that an expression uses, and that are therefore left out of `meta`; a nested column stays in it."""
    return {expression} if expression in row else set(expression.split("+")) if "+" in expression else set()


def column_names(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Every column of these rows in order of first appearance."""
    return list(dict.fromkeys(str(name) for row in rows for name in row))


def another(row: Mapping[str, Any], field: str, column_map: Mapping[str, str]) -> str | None:
    """A column to suggest for a field whose column does not fit this row; None where no other one could hold the field.

    A column with a similar name comes first, then any unused one.
    """
    used = {name for expression in column_map.values() for name in consumed(row, expression)}
    free = [str(name) for name in row if name not in used and suggestions.could_hold(field, str(name), [row])]
    return _similar(field, free) or next(iter(free), None)


def no_column(
    fields: Sequence[str], kind: type[Record], head: Sequence[Mapping[str, Any]], mapped: Mapping[str, str], source: str
) -> DataError:
    """The error for needed fields without a column: the columns found, and a map to type."""
    names = column_names(head)
    lacking = [field for field in fields if field not in mapped and not _by_known_name(field, head, names)]
    return DataError(
        f"no column for {' and '.join(lacking)}, which {kind.__name__} rows need",
        given=source,
        exists=names,
        hint=f"say which column it is: --columns {_suggest(lacking, kind, head, names, mapped)}",
    )


def _by_known_name(field: str, head: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str | None:
    """The first well-known name that has values here, else the first that is there at all."""
    candidates = [expression for expression in ALIASES[field] if _present(head, expression, names)]
    filled = [expression for expression in candidates if any(read(row, expression) not in (None, "") for row in head)]
    return next(iter(filled or candidates), None)


def _present(head: Sequence[Mapping[str, Any]], expression: str, names: Sequence[str]) -> bool:
    if expression in names:
        return True
    if "+" in expression:
        return all(_present(head, part, names) for part in expression.split("+"))
    return "." in expression and any(read(row, expression) is not None for row in head)


def _unknown_field(kind: type[Record], explicit: Mapping[str, str]) -> ConfigError:
    fields = list(dict.fromkeys(field for fields in RECORD_FIELDS[kind] for field in fields.names))
    strange = [field for field in explicit if field not in fields]
    if strange:
        return unknown(f"field of {kind.__name__} in columns", strange[0], fields)
    ways = [" + ".join(fields.names) for fields in RECORD_FIELDS[kind]]
    return ConfigError("these columns do not go together", given=", ".join(explicit), exists=ways)


def _no_such_column(field: str, expression: str, names: Sequence[str], source: str) -> DataError:
    near = closest(expression, names)
    return DataError(
        f"there is no column {expression}, which is mapped to {field}",
        given=source,
        exists=names,
        hint=f"did you mean --columns {field}={near}?" if near else None,
    )


def _suggest(
    lacking: Sequence[str],
    kind: type[Record],
    head: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    mapped: Mapping[str, str],
) -> str:
    """A column map to suggest: columns with similar names that could hold the field, then others, where there are enough."""
    by_name = {field: _by_known_name(field, head, names) for fields in RECORD_FIELDS[kind] for field in fields.names}
    mapped_columns = {*mapped.values(), *(name for name in by_name.values() if name)}
    free = [name for name in names if name not in mapped_columns]
    if (
        kind is PreferencePair
        and (sides := suggestions.two_answers(head, names))
        and not {"chosen", "rejected"} & mapped.keys()
    ):
        texts = (name for name in free if name not in sides.values() and suggestions.could_hold("prompt", name, head))
        prompt = None if by_name["prompt"] or "prompt" in mapped else next(texts, None)
        whole = {**mapped, **({"prompt": prompt} if prompt else {}), **sides}
        return ",".join(f"{field}={column}" for field, column in whole.items())
    guess: dict[str, str] = {}
    optional = [field for field in RECORD_FIELDS[kind][0].optional if not by_name[field] and field not in mapped]
    for field in [*lacking, *optional]:
        fitting = [name for name in free if name not in guess.values() and suggestions.could_hold(field, name, head)]
        if near := _similar(field, fitting):
            guess[field] = near
    open_fields = [field for field in lacking if field not in guess]
    candidates = {
        field: [name for name in free if name not in guess.values() and suggestions.could_hold(field, name, head)]
        for field in open_fields
    }
    enough = len({name for names in candidates.values() for name in names}) >= len(open_fields)
    for field in open_fields:
        left = [name for name in candidates[field] if name not in guess.values()] if enough else []
        guess[field] = left[0] if left else "COLUMN"
    ordered = {field: guess[field] for field in [*lacking, *optional] if field in guess}
    return ",".join(f"{field}={column}" for field, column in {**mapped, **ordered}.items())


def _similar(field: str, names: Sequence[str]) -> str | None:
    words = [alias for alias in ALIASES[field] if "+" not in alias and "." not in alias]
    inside = [name for word in words for name in names if word in name.lower()]
    return inside[0] if inside else next((near for word in words if (near := closest(word, names))), None)
