"""The tests of a row: read from HumanEval's, MBPP's or APPS' columns, or from a plain list in the column `tests`.

Rows are trusted, completions are not: only tests, prompts and setups of the row are ever parsed in this process.
"""

from __future__ import annotations

import ast
import builtins
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rlllm.core.python_source import module_tree
from rlllm.core.records import Sample
from rlllm.rewards.code import wire
from rlllm.rewards.code.run_tests import Examination, ScriptTests

Suite = ScriptTests | Examination


class UnfitRowError(ValueError):
    """A row whose tests cannot be read; the message says why."""


def suite_of(sample: Sample) -> Suite:
    """The row's tests.

    Raises:
        UnfitRowError: it has none that are known, or they cannot be read.
    """
    for column, read in _SHAPES.items():
        if sample.meta.get(column):
            try:
                return read(sample)
            except UnfitRowError:
                raise
            except SyntaxError as error:
                raise UnfitRowError(f"the tests do not parse: {error}") from error
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise UnfitRowError(f"the column {column} cannot be read: {error!r}"[:300]) from error
    raise UnfitRowError(f"the row has no tests (columns {', '.join(_SHAPES)})")


def is_completed(suite: Suite) -> bool:
    """Whether the code goes on from a prompt, so that its first line may be the body of a function."""
    return isinstance(suite, Examination) and bool(suite.prefix)


def _humaneval(sample: Sample) -> Suite:
    """`test` defines `check(candidate)`; the prompt is the beginning of the program, with helpers that tests may use."""
    entry, test = str(sample.meta["entry_point"]), str(sample.meta["test"])
    prefix = _program_in(sample)
    call = f"check({entry})"
    names = [entry, *_unknown_names([prefix], [test, call])]
    modules = _unknown_modules([prefix], [test])
    return Examination([{"source": call}], [*modules, test], list(dict.fromkeys(names)), prefix)


def _program_in(sample: Sample) -> str:
    """The prompt (its last message), where it is Python that begins the tested function; else nothing."""
    prompt = sample.prompt if isinstance(sample.prompt, str) else sample.prompt[-1]["content"]
    try:
        begun = sample.meta["entry_point"] in _defined([prompt])
    except SyntaxError:
        return ""
    return (prompt if prompt.endswith("\n") else prompt + "\n") if begun else ""


def _mbpp(sample: Sample) -> Suite:
    """`test_list` holds asserts; `test_imports` and `test_setup_code` run before them."""
    tests = [str(test) for test in _listed(sample.meta["test_list"])]
    setup = [str(line) for line in _listed(sample.meta.get("test_imports") or [])]
    setup.append(str(sample.meta.get("test_setup_code") or ""))
    names = _unknown_names(setup, tests)
    if set(_unknown_names([], setup)):
        raise UnfitRowError("the tests' setup uses what the solution defines, which cannot leave its process")
    return Examination(
        [{"source": t} for t in tests], [*_unknown_modules(setup, tests), *setup], names or _first(tests)
    )


def _apps(sample: Sample) -> Suite:
    """`input_output` holds `inputs`, `outputs` and, for functions, `fn_name`; outputs may be wrapped in a list."""
    table = _loaded(sample.meta["input_output"])
    pairs = list(zip(table["inputs"], table["outputs"], strict=True))
    name, tolerance = table.get("fn_name"), _tolerance(sample.meta)
    if not name:
        return ScriptTests(_some([(_text(given), _text(wanted)) for given, wanted in pairs]), tolerance)
    calls = [_call(name, given, {}, _unwrapped(out), tolerance) for given, out in pairs]
    return Examination(_some(calls))


def _unwrapped(output: Any) -> list[Any]:
    return [output, output[0]] if isinstance(output, list) and len(output) == 1 else [output]


def _plain(sample: Sample) -> Suite:
    """`tests` is a list of `{stdin, stdout}` or of `{call, args, expected}`, perhaps with `kwargs`."""
    tests, tolerance = _listed(sample.meta["tests"]), _tolerance(sample.meta)
    if all("stdout" in test for test in tests):
        return ScriptTests(_some([(_text(test.get("stdin", "")), _text(test["stdout"])) for test in tests]), tolerance)
    calls = [
        _call(test["call"], test.get("args", []), test.get("kwargs", {}), [test["expected"]], tolerance)
        for test in tests
    ]
    return Examination(_some(calls))


_SHAPES: dict[str, Callable[[Sample], Suite]] = {
    "test": _humaneval,
    "test_list": _mbpp,
    "input_output": _apps,
    "tests": _plain,
}
"""Column that holds the tests to how it is read; the first that a row has counts."""


def _call(
    name: str, args: Sequence[Any], kwargs: Mapping[str, Any], expected: list[Any], tolerance: float
) -> dict[str, Any]:
    given = wire.encode(list(args), wire.DEEPEST), wire.encode(dict(kwargs), wire.DEEPEST)
    wanted = [wire.encode(value, wire.DEEPEST) for value in expected]
    if max(len(json.dumps(value)) for value in wanted) > wire.LARGEST_ANSWER:
        raise UnfitRowError(f"{name} is to return more than {wire.LARGEST_ANSWER} bytes, which no answer may have")
    return {"call": str(name), "args": given[0], "kwargs": given[1], "expected": wanted, "tolerance": tolerance}


def _tolerance(meta: Mapping[str, Any]) -> float:
    """The row's column `tolerance`; 0 without one."""
    tolerance = float(meta.get("tolerance") or 0)
    if not (tolerance >= 0 and math.isfinite(tolerance)):
        raise ValueError(f"tolerance {tolerance}")
    return tolerance


def _listed(column: Any) -> list[Any]:
    values = _loaded(column)
    if not isinstance(values, list | tuple):
        raise TypeError(f"{type(values).__name__}, not a list")
    return list(values)


def _some(tests: list[Any]) -> list[Any]:
    if not tests:
        raise ValueError("no tests")
    return tests


def _loaded(column: Any) -> Any:
    """A column as it is, or parsed where it holds JSON text."""
    return json.loads(column) if isinstance(column, str) else column


def _text(value: Any) -> str:
    """Text of a standard stream; APPS stores some as a list of lines."""
    return "\n".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _names(sources: Sequence[str]) -> Iterator[ast.AST]:
    for source in sources:
        yield from ast.walk(module_tree(source))


def _unknown_names(setup: Sequence[str], tests: Sequence[str]) -> list[str]:
    """Names that the tests read and neither they nor the setup define: functions of the solution, in order."""
    used = [node.id for node in _names(tests) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)]
    defined = _defined([*setup, *tests]) | set(dir(builtins)) | set(_modules_used(tests))
    return [name for name in dict.fromkeys(used) if name not in defined]


def _unknown_modules(setup: Sequence[str], tests: Sequence[str]) -> list[str]:
    """Imports of the standard modules that tests use as `math.isclose(...)` and leave the solution to import."""
    return [f"import {name}" for name in _modules_used(tests) if name not in _defined([*setup, *tests])]


def _modules_used(tests: Sequence[str]) -> list[str]:
    owners = [node.value for node in _names(tests) if isinstance(node, ast.Attribute)]
    names = dict.fromkeys(owner.id for owner in owners if isinstance(owner, ast.Name))
    return [name for name in names if name in sys.stdlib_module_names]


def _defined(sources: Sequence[str]) -> set[str]:
    names = set()
    for node in _names(sources):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.ExceptHandler) and node.name:
            names.add(node.name)
    return names


def _first(tests: Sequence[str]) -> list[str]:
    """The function that the tests call first: one that has the name of a builtin."""
    calls = [node.func.id for node in _names(tests) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    if not calls:
        raise ValueError("the tests call no function of the solution")
    return calls[:1]
