"""Read the instructions of a row, in the forms in which data sets write them."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from rlllm.core.argument_types import converted
from rlllm.core.errors import ConfigError
from rlllm.rewards.verifiers.instructions.open_instruct import FUNCTIONS
from rlllm.rewards.verifiers.instructions.table import Check
from rlllm.rewards.verifiers.submissions import parse_json

_LONGEST = 100_000
"""Characters of what is read as a Python literal: its parser recurses."""


class UnreadableRowError(ValueError):
    """The row's instructions cannot be read; the text says which and why."""


def read_checks(meta: Mapping[str, Any], answer: str | None, checks: Mapping[str, Check]) -> list[tuple[str, Check]]:
    """(name, check with its arguments) of every instruction of a row; a name that comes again is numbered.

    Args:
        meta: the row's columns.
        answer: its answer, which may hold what open-instruct calls `ground_truth`.
        checks: name of an instruction to its check.

    Raises:
        UnreadableRowError: no instructions, an unknown one, or arguments that do not fit.
    """
    if meta.get("instruction_id_list") is None:
        truth = meta.get("ground_truth")
        return _of_open_instruct(answer if truth is None else truth, checks)
    return _listed(meta["instruction_id_list"], meta.get("kwargs"), checks)


def _listed(names: Any, arguments: Any, checks: Mapping[str, Check]) -> list[tuple[str, Check]]:
    if isinstance(names, str):
        names = [names] if re.fullmatch(r"\s*[\w-]+:[\w-]+\s*", names) else _from_text(names)
        names = [names] if isinstance(names, str) else names
    if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
        raise UnreadableRowError("the row has no instruction_id_list")
    names = [name.strip() for name in names]
    if strange := sorted({name for name in names if name not in checks}):
        raise UnreadableRowError(f"unknown instructions: {', '.join(strange)}")
    arguments = _from_text(arguments if arguments is not None else [None] * len(names))
    arguments = [arguments] if isinstance(arguments, Mapping) else arguments
    if not isinstance(arguments, list | tuple) or len(arguments) != len(names):
        raise UnreadableRowError("kwargs has to hold one entry for each instruction")
    numbers = [names[:index].count(name) + 1 for index, name in enumerate(names)]
    return [
        (name if number == 1 else f"{name} ({number})", _bound(name, checks[name], given))
        for name, number, given in zip(names, numbers, arguments, strict=True)
    ]


def _of_open_instruct(truth: Any, checks: Mapping[str, Check]) -> list[tuple[str, Check]]:
    """The checks of a `ground_truth`: a mapping, a list of one, or the text of either as JSON or Python writes it."""
    for _ in range(3):  # text in a list in text
        truth = _from_text(truth)
        truth = truth[0] if isinstance(truth, list | tuple) and len(truth) == 1 else truth
    if not isinstance(truth, Mapping):
        raise UnreadableRowError("the row has no instruction_id_list")
    if "func_name" not in truth:
        return _listed(truth.get("instruction_id", truth.get("instruction_id_list")), truth.get("kwargs"), checks)
    name = truth["func_name"]
    if name not in FUNCTIONS:
        raise UnreadableRowError(f"unknown instructions: {name}")
    taken = inspect.signature(FUNCTIONS[name]).parameters
    return [(name, _bound(name, FUNCTIONS[name], {key: value for key, value in truth.items() if key in taken}))]


def _bound(name: str, check: Check, given: Any) -> Check:
    given = _from_text(given)
    if not isinstance(given, Mapping | None):
        raise UnreadableRowError(f"{name}: its kwargs are no mapping")
    present = {str(key): value for key, value in (given or {}).items() if value is not None}
    parameters = inspect.signature(check).parameters
    for key, value in present.items():
        if isinstance(value, list) and len(value) == 1 and key in parameters and parameters[key].annotation == "str":
            present[key] = value[0]  # some rows of open-instruct wrap a keyword
    try:
        inspect.signature(check).bind("", **present)
        return partial(check, **converted(check, present, name))
    except TypeError as error:
        raise UnreadableRowError(f"{name}: {error}") from error
    except ConfigError as error:
        raise UnreadableRowError(error.what) from error


def _from_text(value: Any) -> Any:
    """The value of text that is JSON, or a Python literal as `str()` of a row writes it; any other value as it is."""
    if not isinstance(value, str):
        return value
    try:
        return parse_json(value)
    except ValueError as error:
        try:
            return ast.literal_eval(value.strip()) if len(value) <= _LONGEST else None
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            raise UnreadableRowError(f"not JSON: {error}") from error
