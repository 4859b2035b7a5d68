"""The `instructions` reward: read the instructions of a row, check each, and count those that are followed."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from rlllm.core.argument_types import converted
from rlllm.core.errors import ConfigError, unknown
from rlllm.core.records import Sample, Score
from rlllm.rewards.verifiers.instructions.table import CHECKS, Check
from rlllm.rewards.verifiers.submissions import final_part, parse_json

_MODES = ("strict", "loose")
_AGGREGATES = ("all", "share")
_WORDS = {True: "followed", False: "not followed", None: "undecided"}


class _UnreadableRowError(ValueError):
    """The row's instructions cannot be read; the text says which and why."""


@dataclass(frozen=True)
class Instructions:
    """Whether a completion follows the verifiable instructions of its row (IFEval, arXiv 2311.07911).

    Reads `instruction_id_list` and `kwargs` of the row, as the published rows have them (an entry or argument that is null
    counts as absent). An empty completion follows nothing. None where an instruction is unknown, its arguments do not fit,
    or it cannot be decided and the others do not settle the matter; the note names it.

    Args:
        mode: `strict` judges the text as it is; `loose` also without its first line, its last line, both, and each of these
            without asterisks: followed if any of the eight texts follows (section 2.2 of the paper).
        aggregate: `all`: 1 if every instruction is followed, else 0 (the paper's accuracy by prompt); `share`: the share
            of instructions that are.
    """

    mode: str = "strict"
    aggregate: str = "all"
    verifies = True

    def __post_init__(self) -> None:
        if self.mode not in _MODES:
            raise unknown("mode of the reward instructions", self.mode, _MODES)
        if self.aggregate not in _AGGREGATES:
            raise unknown("aggregate of the reward instructions", self.aggregate, _AGGREGATES)

    def __call__(self, sample: Sample) -> Score:
        try:
            checks = _read_checks(sample.meta)
            verdicts = {name: self._followed(check, final_part(sample.completion)) for name, check in checks}
        except _UnreadableRowError as error:
            return Score(None, note=str(error)[:300])
        results = list(verdicts.values())
        parsed = ", ".join(f"{name} {_WORDS[verdict]}" for name, verdict in verdicts.items())
        return Score(self._value(results), parsed=parsed)

    def _followed(self, check: Check, text: str) -> bool | None:
        texts = _variants(text) if self.mode == "loose" else [text]
        try:
            verdicts = [check(variant) if variant.strip() else False for variant in texts]
        except ConfigError as error:
            raise _UnreadableRowError(str(error.what)) from error
        return True if True in verdicts else None if None in verdicts else False

    def _value(self, results: list[bool | None]) -> float | None:
        if self.aggregate == "all" and False in results:
            return 0.0
        if None in results:
            return None
        return sum(map(bool, results)) / len(results)


def _variants(text: str) -> list[str]:
    """The eight readings of the loose mode."""
    lines = text.split("\n")
    cuts = (lines, lines[1:], lines[:-1], lines[1:-1])
    shorter = ["\n".join(cut).strip() for cut in cuts]
    return [text, *shorter[1:], *(variant.replace("*", "") for variant in (text, *shorter[1:]))]


def _read_checks(meta: Mapping[str, Any]) -> list[tuple[str, Check]]:
    """(name, check with its arguments) of every instruction of a row; a name that comes again is numbered.

    Raises:
        UnreadableRowError: no instructions, an unknown one, or arguments that do not fit.
    """
    names, arguments = meta.get("instruction_id_list"), meta.get("kwargs")
    if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
        raise _UnreadableRowError("the row has no instruction_id_list")
    if strange := sorted({name for name in names if name not in CHECKS}):
        raise _UnreadableRowError(f"unknown instructions: {', '.join(strange)}")
    arguments = _from_json(arguments if arguments is not None else [None] * len(names))
    if not isinstance(arguments, list | tuple) or len(arguments) != len(names):
        raise _UnreadableRowError("kwargs has to hold one entry for each instruction")
    numbers = [names[:index].count(name) + 1 for index, name in enumerate(names)]
    return [
        (name if number == 1 else f"{name} ({number})", _bound(name, given))
        for name, number, given in zip(names, numbers, arguments, strict=True)
    ]


def _bound(name: str, given: Any) -> Check:
    given = _from_json(given)
    if not isinstance(given, Mapping | None):
        raise _UnreadableRowError(f"{name}: its kwargs are no mapping")
    present = {str(key): value for key, value in (given or {}).items() if value is not None}
    check = CHECKS[name]
    try:
        inspect.signature(check).bind("", **present)
        return partial(check, **converted(check, present, name))
    except TypeError as error:
        raise _UnreadableRowError(f"{name}: {error}") from error
    except ConfigError as error:
        raise _UnreadableRowError(error.what) from error


def _from_json(value: Any) -> Any:
    try:
        return parse_json(value) if isinstance(value, str) else value
    except ValueError as error:
        raise _UnreadableRowError(f"kwargs: not JSON: {error}") from error
