"""The `schema` reward: JSON that is valid under a JSON schema. Nothing is fetched; a reference to elsewhere gives None."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample, Score
from rlllm.rewards.verifiers.submissions import Submission, final_part, parse_json, submission

_LABELS = ("json", "json5", "jsonc")


@dataclass(frozen=True)
class Schema:
    """1 if the completion is JSON that is valid under the schema, else 0; None where the schema is missing or unusable.

    The JSON is the whole completion, one fenced block (of JSON, else of any label), or the marked answer. NaN, and a key
    twice in one object, are no JSON; a byte order mark in front does no harm (RFC 8259, section 8.1). The empty
    schema `{}` asks for JSON of any shape. `format` is a note to the reader, as the standard has it.

    Args:
        schema: the schema (draft 2020-12 unless its `$schema` says otherwise); by default the row's.
        column: the row's column with the schema, as a mapping or as JSON text.
    """

    schema: dict[str, Any] | bool | None = None
    column: str = "schema"
    deadline: ClassVar[float] = 5.0
    """Seconds for one completion: a `pattern` of the schema may backtrack for ever, and cannot be interrupted."""

    def __post_init__(self) -> None:
        if self.schema is not None and (fault := _schema_fault(self.schema)):
            raise ConfigError(f"schema: {fault}", given=str(self.schema)[:200])

    def __call__(self, sample: Sample) -> Score:
        schema = self.schema
        if schema is None:
            schema, fault = _row_schema(sample.meta.get(self.column))
            if fault:
                return Score(None, note=f"column {self.column}: {fault}")
        submitted = _submitted_json(sample.completion)
        if submitted.text is None:
            return Score(0.0, note=submitted.fault)
        try:
            value = parse_json(submitted.text)
        except ValueError as error:
            return Score(0.0, parsed=submitted.text, note=f"not JSON: {error}"[:200])
        return _judged(value, schema, submitted.text)


def _schema_fault(schema: Any) -> str | None:
    """Why `schema` is no JSON schema, as a phrase; None if it is one."""
    from jsonschema.exceptions import SchemaError

    if not isinstance(schema, Mapping | bool):
        return "a schema is a mapping"
    try:
        _validator(schema).check_schema(schema)
    except SchemaError as error:
        return f"not a JSON schema: {error.message[:150]}"
    except (RecursionError, TypeError, re.error) as error:
        return f"not a JSON schema: {type(error).__name__}"
    return None


def _row_schema(column: Any) -> tuple[Any, str | None]:
    if column is None:
        return None, "the row has no schema"
    try:
        schema = parse_json(column) if isinstance(column, str) else column
    except ValueError as error:
        return None, f"not JSON: {error}"[:200]
    return schema, _schema_fault(schema)


def _submitted_json(completion: str) -> Submission:
    """The whole text where it is JSON (which may quote fences and markers), else the one submission in it."""
    text = final_part(completion).strip()
    try:
        parse_json(text)
    except ValueError:
        return submission(completion, _LABELS, other_labels=True)
    return Submission(text)


def _judged(value: Any, schema: Any, text: str) -> Score:
    from referencing.exceptions import Unresolvable

    try:
        error = next(iter(_validator(schema).iter_errors(value)), None)
    except Unresolvable as outside:
        return Score(None, parsed=text, note=f"the schema refers to what it does not hold: {outside.ref}"[:200])
    except RecursionError:
        return Score(None, parsed=text, note="schema and value are nested too deeply to check")
    except (re.error, OverflowError) as problem:
        return Score(None, parsed=text, note=f"the schema cannot be applied: {problem}"[:200])
    if error is None:
        return Score(1.0, parsed=text)
    return Score(0.0, parsed=text, note=f"{error.json_path}: {error.message}"[:200])


def _validator(schema: Any) -> Any:
    """A validator with the published meta-schemas and nothing else to refer to: jsonschema's default would open URLs."""
    from jsonschema.validators import Draft202012Validator, validator_for
    from jsonschema_specifications import REGISTRY

    return validator_for(schema, default=Draft202012Validator)(schema, registry=REGISTRY)
