"""The `calls` reward: a completion calls the expected functions with allowed arguments. No function is ever executed.

The matching is that of the Berkeley Function Calling Leaderboard ("AST", Patil et al.,
gorilla.cs.berkeley.edu/leaderboard.html) without the types of the function documents: names and values decide.
"""

from __future__ import annotations

import ast
import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from rlllm.core.records import Sample, Score
from rlllm.rewards.verifiers.function_call_notations import has_marker, read_calls, templated_calls
from rlllm.rewards.verifiers.function_call_syntax import Call, UnreadableError, Untyped, calls_in_json, is_call, shown
from rlllm.rewards.verifiers.submissions import final_part, parse_json

_Allowed = Mapping[str, Sequence[Any]]
"""Argument name to the values it may have; "" among them makes it optional."""

_LIST_KEYS = ("tool_calls", "target")
"""Keys of an object that holds a list of expected calls: OpenAI's, and that of `core.records.answer_text`."""
_LONGEST = 50_000
"""Characters of an expectation that is read as Python: its parser recurses."""
_IGNORED = re.compile(r"[ ,./\-_*^]")


@dataclass(frozen=True)
class Calls:
    """1 if the completion calls the expected functions with allowed values and calls nothing else; else 0.

    Reads the notations in which models mark calls: `<tool_call>` with JSON (Hermes, Qwen), `<function=NAME>` (Llama 3,
    Qwen3-Coder), `<|python_tag|>`, `[TOOL_CALLS]` (Mistral), keys and values (GLM), those of DeepSeek, Kimi, Cohere, Phi,
    Gemma, Granite, MiniMax and gpt-oss, and ReAct's `Action:`; without a marker JSON (`{"name": ..., "arguments": {...}}`,
    alone, in a list, or as OpenAI writes `tool_calls`), `NAME{...}`, and calls in Python's syntax with literal keyword
    arguments.
    Calls in two notations are none. A value that is written as bare text (`<parameter=days>3</parameter>`) may stand for the
    text or for the JSON value. The order of the calls does not matter, their number does. Strings are compared without
    regard to case, blanks and `,./-_*^`, as the leaderboard does; booleans are not numbers. An empty list of expected calls
    wants an answer in words. In an environment the calls of all turns are read. None where the row has no readable expectation.

    Args:
        column: the row's column with the expectation: a list of `{function: {argument: [allowed, ...]}}`, a list of calls
            `{"name": ..., "arguments": {...}}` whose values are the only allowed ones (xLAM, OpenAI), calls as text, one of
            these alone, or the JSON text of them; by default also read from the row's `answers` and its answer.
        exact: compare strings as they are.
        tokenizer: model whose tokenizer says how its calls are read (its `response_template`), as a folder or Hub id; a
            completion in which that finds no call is read as above.
    """

    column: str = "ground_truth"
    exact: bool = False
    tokenizer: str | None = None
    verifies = True

    def __call__(self, sample: Sample) -> Score:
        try:
            expected = _expectation(self._column(sample))
        except ValueError as error:
            return Score(None, note=f"column {self.column}: {error}"[:200])
        if not expected:
            return self._words_wanted(sample)
        try:
            calls = self._calls(sample)
        except UnreadableError as error:
            return Score(0.0, note=str(error)[:200])
        text = shown(calls)
        if len(calls) != len(expected):
            return Score(0.0, parsed=text, note=f"{len(calls)} calls where {len(expected)} are expected")
        same = _same_text if not self.exact else str.__eq__
        possible = [[_fits(call, expected_call, same) for expected_call in expected] for call in calls]
        if _pairs_all(possible):
            return Score(1.0, parsed=text)
        stray = next((call for call, fits in zip(calls, possible, strict=True) if not any(fits)), None)
        return Score(0.0, parsed=text, note=f"unexpected: {shown([stray])}"[:200] if stray else "a call comes twice")

    def _column(self, sample: Sample) -> Any:
        """The expectation as the row holds it."""
        nested = sample.meta.get("reward_model")
        truth = nested.get("ground_truth") if isinstance(nested, Mapping) else None
        answers = (sample.meta.get("answers"), truth, sample.answer, sample.meta.get("answer"))
        return next((value for value in (sample.meta.get(self.column), *answers) if value is not None), None)

    def _calls(self, sample: Sample) -> list[Call]:
        """Every call of a completion, or of all turns of a rollout in an environment; at least one.

        Raises:
            UnreadableError: there is none, or something else beside them.
        """
        if played := _played_calls(sample):
            return played
        completion = sample.completion
        templated = templated_calls(self.tokenizer, completion) if self.tokenizer else []
        return templated or read_calls(completion)

    def _words_wanted(self, sample: Sample) -> Score:
        if not _played_calls(sample) and not final_part(sample.completion).strip():
            return Score(0.0, note="nothing is submitted")
        try:
            return Score(0.0, parsed=shown(self._calls(sample)), note="a call where none is expected")
        except UnreadableError as error:
            begun = has_marker(sample.completion)
            return Score(0.0 if begun else 1.0, note=str(error)[:200] if begun else None)


def _played_calls(sample: Sample) -> list[Call]:
    """The calls of all turns of a rollout in an environment; [] without one.

    The completion of a rollout is the text beside its calls, and these are in its column `transcript`. A data set may have a
    column of that name: it counts only where its text is the completion.

    Raises:
        UnreadableError: a call has no name, or arguments that are no object.
    """
    turns = sample.meta.get("transcript")
    if not isinstance(turns, Sequence) or not all(isinstance(turn, Mapping) for turn in turns):
        return []
    own = [turn for turn in turns if turn.get("role") == "assistant"]
    if "\n".join(text for turn in own if (text := str(turn.get("content") or ""))) != sample.completion:
        return []
    return [call for turn in own for call in calls_in_json(turn.get("tool_calls") or [])]


def _expectation(column: Any) -> list[tuple[str, _Allowed]]:
    """(function, allowed arguments) of every expected call.

    Raises:
        ValueError: it is not of the form the docstring of `Calls` shows.
    """
    if column is None:
        raise ValueError("the row has no expected calls")
    value = _value_of(column)
    if isinstance(value, Mapping):
        whole = next((value[key] for key in _LIST_KEYS if isinstance(value.get(key), list)), None)
        value = [value] if whole is None else whole
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ValueError("a list of {function: {argument: [allowed, ...]}} is expected")
    return [call for entry in value for call in _expected_calls(entry)]


def _value_of(column: Any) -> Any:
    """The value of an expectation: of JSON text, of text as Python writes it, or of calls in a notation of models.

    Raises:
        ValueError: it is text of no such form.
    """
    for _ in range(3):  # text in text
        if not isinstance(column, str):
            break
        column = _loaded(column)
    return column


def _loaded(text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        with contextlib.suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return ast.literal_eval(text.strip()) if len(text) <= _LONGEST else None
        try:
            return read_calls(text)
        except UnreadableError:
            raise error from None


def _expected_calls(entry: Any) -> list[tuple[str, _Allowed]]:
    value = _value_of(entry)
    return [_expected_call(call) for call in (value if isinstance(value, list) else [value])]


def _expected_call(entry: Any) -> tuple[str, _Allowed]:
    if isinstance(entry, Mapping) and is_call(entry):
        entry = calls_in_json(entry)[0]
    if isinstance(entry, Call):
        return entry.name, {key: _only(value) for key, value in entry.arguments.items()}
    if not isinstance(entry, Mapping):
        raise ValueError(f"no expected call: {str(entry)[:80]}")
    named = [(name, arguments) for name, arguments in entry.items() if arguments is not None]
    if len(named) != 1 or not isinstance(named[0][1], Mapping):
        raise ValueError(f"no expected call: {str(entry)[:80]}")
    name, arguments = named[0]
    return str(name), {key: _allowed_values(allowed) for key, allowed in arguments.items() if allowed is not None}


def _only(value: Any) -> Sequence[Any]:
    """The allowed values of an argument with one value; null may also be absent, as tables pad objects with nulls."""
    return [_Only(value), ""] if value is None else [_Only(value)]


class _Only(NamedTuple):
    """The one value that is allowed, in which lists and mappings are values themselves."""

    value: Any


def _allowed_values(allowed: Any) -> Sequence[Any]:
    return allowed if isinstance(allowed, list | tuple) else [allowed]


def _fits(call: Call, expected: tuple[str, _Allowed], same: Callable[[str, str], bool]) -> bool:
    name, allowed = expected
    return call.name == name and _fields_fit(call.arguments, allowed, same)


def _fields_fit(given: Mapping[str, Any], allowed: _Allowed, same: Callable[[str, str], bool]) -> bool:
    """Whether every given field has an allowed value, and every field that is missing is optional."""
    if any(key not in allowed for key in given):
        return False
    return all(
        any(_value_fits(given[key], value, same) for value in values) if key in given else "" in values
        for key, values in allowed.items()
    )


def _value_fits(given: Any, allowed: Any, same: Callable[[str, str], bool]) -> bool:
    """Whether one value is as allowed; a mapping holds lists of allowed values, as the arguments do."""
    if isinstance(given, Untyped):
        return any(_value_fits(reading, allowed, same) for reading in given.readings())
    if isinstance(allowed, _Only):
        return _equals(given, allowed.value, same)
    if isinstance(allowed, Mapping):
        fields = {key: _allowed_values(values) for key, values in allowed.items() if values is not None}
        return isinstance(given, Mapping) and _fields_fit(given, fields, same)
    if isinstance(allowed, list | tuple):
        fits = isinstance(given, list | tuple) and len(given) == len(allowed)
        return fits and all(_value_fits(g, a, same) for g, a in zip(given, allowed, strict=True))
    return _equals(given, allowed, same)


def _equals(given: Any, expected: Any, same: Callable[[str, str], bool]) -> bool:
    """Whether two values of JSON are equal; strings by `same`."""
    if isinstance(expected, Untyped):
        return any(_equals(given, reading, same) for reading in expected.readings())
    if isinstance(expected, Mapping):
        if not isinstance(given, Mapping) or given.keys() != expected.keys():
            return False
        return all(_equals(given[key], expected[key], same) for key in expected)
    if isinstance(expected, list | tuple):
        fits = isinstance(given, list | tuple) and len(given) == len(expected)
        return fits and all(_equals(g, e, same) for g, e in zip(given, expected, strict=True))
    if isinstance(expected, str):
        return isinstance(given, str) and same(given, expected)
    if isinstance(expected, bool) or isinstance(given, bool) or expected is None:
        return given is expected
    return isinstance(given, int | float) and given == expected


def _same_text(given: str, allowed: str) -> bool:
    return _standard(given) == _standard(allowed)


def _standard(text: str) -> str:
    return _IGNORED.sub("", text).lower().replace("'", '"')


def _pairs_all(possible: Sequence[Sequence[bool]]) -> bool:
    """Whether every row can have a column of its own among those it allows (bipartite matching by augmenting paths)."""
    owner: dict[int, int] = {}

    def place(row: int, seen: set[int]) -> bool:
        for column, fits in enumerate(possible[row]):
            if fits and column not in seen:
                seen.add(column)
                if column not in owner or place(owner[column], seen):
                    owner[column] = row
                    return True
        return False

    return all(place(row, set()) for row in range(len(possible)))
