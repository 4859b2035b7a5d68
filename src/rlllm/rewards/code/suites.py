"""The tests of a row, in the columns in which the public data sets keep them.

Rows are trusted, completions are not: only tests, prompts and setups of the row are ever parsed in this process.
"""

from __future__ import annotations

import ast
import base64
import binascii
import builtins
import io
import json
import math
import pickle
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rlllm.core.python_source import expression_tree, module_tree
from rlllm.core.records import Sample, prompt_text
from rlllm.rewards.code import wire
from rlllm.rewards.code.run_tests import Examination, ScriptTests

_LARGEST_TESTS = 256 * 2**20
"""Bytes to which the hidden tests of a row may unpack."""
Suite = ScriptTests | Examination


class UnfitRowError(ValueError):
    """A row whose tests cannot be read; the message says why."""


def suite_of(sample: Sample) -> Suite:
    """The row's tests.

    Raises:
        UnfitRowError: it has none that are known, or they cannot be read.
    """
    row = {"answer": sample.answer, **sample.meta}
    for column, read in _SHAPES.items():
        if row.get(column):
            try:
                suite = read(sample, row[column])
            except UnfitRowError:
                raise
            except SyntaxError as error:
                raise UnfitRowError(f"the tests do not parse: {error}") from error
            except _UNREADABLE as error:
                raise UnfitRowError(f"the column {column} cannot be read: {error!r}"[:300]) from error
            if suite is not None:
                return suite
    raise UnfitRowError(f"the row has no tests (columns {', '.join(_SHAPES)})")


_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, MemoryError)
"""What reading a row raises that is of an odd form; Python's parser calls too many signs in a row a lack of memory."""


def is_completed(suite: Suite) -> bool:
    """Whether the code goes on from a prompt, so that its first line may be the body of a function."""
    return isinstance(suite, Examination) and bool(suite.prefix)


def _test(sample: Sample, column: Any) -> Suite:
    """`test`: HumanEval's `check(candidate)`, the functions and classes of a pytest file, or a script of asserts."""
    source = str(column)
    entry = str(sample.meta.get("entry_point") or "")
    is_check = any(isinstance(node, ast.FunctionDef) and node.name == "check" for node in module_tree(source).body)
    return _check(sample, source, entry) if entry and is_check else _source(source)


def _check(sample: Sample, source: str, entry: str) -> Suite:
    """`check` is called with the entry point. The prompt is the beginning of the program; tests may use its helpers."""
    own = [node.id for node in ast.walk(expression_tree(entry)) if isinstance(node, ast.Name)]
    prefix = _program_in(sample, own)
    call = f"check({entry})"
    unknown = [name for name in _unknown_names([prefix], [source, call]) if name not in own]
    names = list(dict.fromkeys([*own, *unknown]))
    return Examination(
        [{"source": call}],
        [*_unknown_modules([prefix], [source]), _asserting(source)],
        names,
        prefix,
        helpers=tuple(unknown),
        classes=_classes(names, [source, call]),
        preamble="Solution" in own,
    )


def _program_in(sample: Sample, names: Sequence[str]) -> str:
    """The prompt (its last message), where it is Python that begins the tested function; else nothing."""
    prompt = prompt_text(sample.prompt if isinstance(sample.prompt, str) else sample.prompt[-1:])
    try:
        begun = not _defined([prompt]).isdisjoint(names)
    except (SyntaxError, ValueError):
        return ""
    return (prompt if prompt.endswith("\n") else prompt + "\n") if begun else ""


def _source(source: str) -> Suite:
    """A file of tests: asserts, test functions, or classes of them. What they import from `solution` is the solution's."""
    nodes = list(_names([source]))
    imported = [
        alias.name
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module == "solution"
        for alias in node.names
        if alias.name != "*"
    ]
    imported += [
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "solution"
    ]
    everything = {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
    text = source
    if "*" in everything:  # a module without a list of its names has none to give
        text = "\n".join("" if line.strip() == "from solution import *" else line for line in source.splitlines())
    names = list(dict.fromkeys([*imported, *_unknown_names([], [text])])) or _first([text])
    setup = _unknown_modules([], [text])
    return Examination([{"source": _asserting(text)}], setup, names, classes=_classes(names, [text]))


def _asserting(source: str) -> str:
    """The source. Raises UnfitRowError where it holds no check at all, so that every solution would pass."""
    for node in _names([source]):
        called = node.func if isinstance(node, ast.Call) else None
        name = getattr(called, "id", "") or getattr(called, "attr", "")
        if isinstance(node, ast.Assert | ast.Raise) or name.lower().startswith(("assert", "raises", "fail")):
            return source
    raise UnfitRowError("the tests assert nothing")


def _mbpp(sample: Sample, column: Any) -> Suite:
    """`test_list` holds asserts; `test_imports` and `test_setup_code` run before them."""
    setup = [str(line) for line in _listed(sample.meta.get("test_imports") or [])]
    setup.append(str(sample.meta.get("test_setup_code") or ""))
    return _asserts(_listed(column), setup)


def _asserts(tests: Sequence[Any], setup: Sequence[str] = ()) -> Suite:
    """Each text is a test of its own."""
    sources = [_asserting(str(test)) for test in tests]
    if set(_unknown_names([], setup)):
        raise UnfitRowError("the tests' setup uses what the solution defines, which cannot leave its process")
    names = _unknown_names(setup, sources) or _first(sources)
    cases = [{"source": source} for source in sources]
    return Examination(
        cases, [*_unknown_modules(setup, sources), *setup], names, classes=_classes(names, [*setup, *sources])
    )


def _layout(sample: Sample, column: Any) -> Suite | None:
    """Tests as the data sets of programming problems hold them, as values or as JSON text.

    A list of asserts, or of tests `{input, output}`, `{stdin, stdout}` or `{call, args, expected}`; a table `{inputs,
    outputs}`; or one of these under `test_cases`. `fn_name` of the test, of the table or of the column `metadata` makes
    it a call of a function; without one it is a run of a script.
    """
    value = _loaded(column)
    if isinstance(value, str):
        return _source(value)
    if isinstance(value, Mapping):
        language = str(value.get("language") or "python").lower()
        if not language.startswith(("py", "any")):
            raise UnfitRowError(f"the tests are of a program in {language}")
        if value.get("test_cases"):
            return _layout(sample, value["test_cases"])
        if value.get("assert_case") and any(value["assert_case"]):
            return _asserts(_listed(value["assert_case"]))
        value = _rows(value)
    tests = _some(list(value))
    if all(isinstance(test, str) for test in tests):
        return _asserts(tests)
    return _of_tests(sample, [dict(test) for test in tests])


def _rows(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tests of a table of inputs and outputs; a table of one test is that test."""
    inputs, outputs = table.get("inputs", table.get("input")), table.get("outputs", table.get("output"))
    if not (isinstance(inputs, list | tuple) and isinstance(outputs, list | tuple)):
        return [dict(table)]
    return [
        {"input": given, "output": wanted, "fn_name": _name_in(table), "wrapped": True}
        for given, wanted in zip(inputs, outputs, strict=True)
    ]


def _of_tests(sample: Sample, tests: Sequence[Mapping[str, Any]]) -> Suite:
    tolerances, name = _tolerances(sample.meta), _function_asked_for(sample)
    scripts = [_script(test) for test in tests if not _is_call(test, name)]
    calls = [_call(*_parts(test, name), tolerances) for test in tests if _is_call(test, name)]
    if scripts and calls:
        raise ValueError("some tests are runs of a script and some are calls of a function")
    return ScriptTests(scripts, **tolerances) if scripts else Examination(calls, preamble="call" not in tests[0])


def _is_call(test: Mapping[str, Any], name: str) -> bool:
    kind = str(test.get("testtype") or test.get("type") or "").lower()
    if "call" in test:
        return True
    if "stdout" in test or kind.startswith("std"):
        return False
    return kind.startswith("func") or bool(_name_in(test) or name)


def _script(test: Mapping[str, Any]) -> tuple[str, str]:
    given = test.get("stdin", test.get("input", test.get("inputs")))
    return _text("" if given is None else given), _text(_wanted(test))


def _wanted(test: Mapping[str, Any]) -> Any:
    for key in ("stdout", "output", "outputs", "expected_output", "expected"):
        if key in test:
            return test[key]
    raise KeyError("output")


def _parts(test: Mapping[str, Any], name: str) -> tuple[str, Sequence[Any], Mapping[str, Any], list[Any]]:
    """Function, arguments, keywords and the values that are right, of a test that calls a function."""
    if "call" in test:
        return test["call"], test.get("args", []), test.get("kwargs", {}), [test["expected"]]
    function = _name_in(test) or name
    if not function:
        raise ValueError("a test calls a function, and nothing says which")
    given, wanted = test.get("input", test.get("inputs", test.get("args"))), _wanted(test)
    if isinstance(given, str):  # an argument a line, as JSON; the value too
        lines = [line for line in given.split("\n") if line.strip()]
        return function, [_value(line) for line in lines], {}, [_value(wanted)]
    keywords = given if isinstance(given, Mapping) else {}
    arguments = list(given) if isinstance(given, list | tuple) else [] if isinstance(given, Mapping) else [given]
    wrapped = test.get("wrapped") and isinstance(wanted, list) and len(wanted) == 1
    return function, arguments, keywords, [wanted, wanted[0]] if wrapped else [wanted]


def _value(text: Any) -> Any:
    """A value that is written as JSON or as Python; other text is itself."""
    if not isinstance(text, str):
        return text
    for read in (json.loads, lambda source: ast.literal_eval(expression_tree(source))):
        try:
            return read(text.strip())
        except (ValueError, SyntaxError, TypeError):
            continue
    return text


def _name_in(test: Mapping[str, Any]) -> str:
    """The function that a test or a table calls; empty where it names none."""
    metadata = test.get("metadata")
    places = [test, metadata if isinstance(metadata, Mapping) else {}]
    return next((str(place[key]) for place in places for key in ("fn_name", "func_name") if place.get(key)), "")


def _function_asked_for(sample: Sample) -> str:
    """The function that the row's column `metadata` names (LiveCodeBench); empty without one."""
    metadata = sample.meta.get("metadata")
    try:
        table = _loaded(metadata) if metadata else {}
    except ValueError:
        return ""
    return _name_in(table) if isinstance(table, Mapping) else ""


def _live_code_bench(sample: Sample, column: Any) -> Suite | None:
    """`public_test_cases` and, where there are some, `private_test_cases`; `metadata` names the function."""
    hidden = sample.meta.get("private_test_cases")
    return _layout(sample, [*_listed(column), *(_listed(_unpacked(hidden)) if hidden else [])])


def _unpacked(column: Any) -> Any:
    """LiveCodeBench's hidden tests: JSON text, or that text pickled, compressed and in base64."""
    if not isinstance(column, str) or column.lstrip()[:1] == "[":
        return column
    try:
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(base64.b64decode(column, validate=True), _LARGEST_TESTS)
        if unpacker.unconsumed_tail:
            raise zlib.error(f"they unpack to more than {_LARGEST_TESTS // 2**20} MiB")
        if not unpacker.eof:
            raise zlib.error("they are cut off")
        return _Texts(io.BytesIO(text)).load()
    except (zlib.error, binascii.Error, pickle.UnpicklingError, EOFError) as error:
        raise ValueError(f"private_test_cases: {error}") from error


class _Texts(pickle.Unpickler):
    """Reads plain values; a pickle that names a class or a function is refused, since loading it could run code."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        raise pickle.UnpicklingError(f"{module_name}.{global_name} in a pickle of texts")


def _code_contests(sample: Sample, column: Any) -> Suite | None:
    """`public_tests`, `private_tests` and `generated_tests`, each a table of inputs and outputs."""
    tables = [column, *(sample.meta.get(name) for name in ("private_tests", "generated_tests"))]
    return _of_tests(sample, _some([row for table in tables if table for row in _rows(_loaded(table))]))


def _reward_model(sample: Sample, column: Any) -> Suite | None:
    return _truth(sample, _loaded(column)["ground_truth"])


def _truth(sample: Sample, column: Any) -> Suite | None:
    """A reference answer that is a layout of tests; None where it is anything else, such as a number."""
    try:
        value = _loaded(column)
    except ValueError:
        return None
    return _layout(sample, value) if value and isinstance(value, list | tuple | Mapping) else None


_SHAPES: dict[str, Callable[[Sample, Any], Suite | None]] = {
    "test": _test,
    "test_list": _mbpp,
    "input_output": _layout,
    "tests": _layout,
    "test_cases": _layout,
    "testcase": _layout,
    "verification_info": _layout,
    "public_test_cases": _live_code_bench,
    "public_tests": _code_contests,
    "reward_model": _reward_model,
    "ground_truth": _truth,
    "answer": _truth,
}
"""Column that holds the tests to how it is read; the first that a row has counts."""


def _call(
    name: str, args: Sequence[Any], kwargs: Mapping[str, Any], expected: list[Any], tolerances: dict[str, float]
) -> dict[str, Any]:
    given = wire.encode(list(args), wire.DEEPEST), wire.encode(dict(kwargs), wire.DEEPEST)
    wanted = [wire.encode(value, wire.DEEPEST) for value in expected]
    if max(len(json.dumps(value)) for value in wanted) > wire.LARGEST_ANSWER:
        raise UnfitRowError(f"{name} is to return more than {wire.LARGEST_ANSWER} bytes, which no answer may have")
    return {"call": str(name), "args": given[0], "kwargs": given[1], "expected": wanted, **tolerances}


def _tolerances(meta: Mapping[str, Any]) -> dict[str, float]:
    """The row's columns `tolerance`, a difference, and `relative_tolerance`, a share below 1; each 0 without one."""
    found = {name: float(meta.get(name) or 0) for name in ("tolerance", "relative_tolerance")}
    for (name, value), most in zip(found.items(), (math.inf, 1.0), strict=True):
        if not 0 <= value < most:
            raise ValueError(f"{name} {value}")
    return found


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
    """A column as it is, or parsed where it holds JSON text; text that is Python instead stays text."""
    if not isinstance(column, str):
        return column
    try:
        return json.loads(column)
    except ValueError:
        if column.lstrip()[:1] in ("[", "{"):
            raise
        return column


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
    return [name for name in dict.fromkeys(used) if name not in defined and not name.startswith("__")]


def _classes(names: Sequence[str], tests: Sequence[str]) -> tuple[str, ...]:
    """Those of the names that tests use as a class: they begin with a capital, and their call is not merely compared.

    Many functions of MBPP begin with a capital, too; their values are compared at once.
    """
    capital = {name for name in names if name[:1].isupper()}
    nodes = list(_names(tests)) if capital else []
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    functions = {id(call.func) for call in calls}
    values = {id(part) for node in nodes if isinstance(node, _KEEPING) for part in ast.iter_child_nodes(node)}
    used = {call.func.id for call in calls if isinstance(call.func, ast.Name) and id(call) in values}
    used |= {
        node.id
        for node in nodes
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and id(node) not in functions
    }
    return tuple(sorted(capital & used))


_KEEPING = (ast.Attribute, ast.Assign, ast.AnnAssign, ast.Return, ast.Expr, ast.withitem, ast.Yield)
"""Syntax that keeps the value of a call, or uses an attribute of it."""


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
