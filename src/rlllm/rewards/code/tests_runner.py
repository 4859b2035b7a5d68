"""Runs the tests that a source defines as functions and classes, in the tests' sandbox, where there is no pytest.

It stands in for the module `pytest`: `raises`, `approx`, `mark`, `param`, `fixture`, `fail` and `skip`. Fixtures of pytest's
own (`capsys`, `tmp_path`) are not there; a test that wants one cannot judge. Standard library only.
"""

from __future__ import annotations

import inspect
import math
import re
import unittest
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any


def run_all(space: dict[str, Any]) -> None:
    """Run every function `test*` and every class of tests, in their order, and forget them. The first failure is raised.

    Raises:
        ImportError: a test wants a fixture that there is not.
    """
    found = {
        name: value
        for name, value in space.items()
        if (_is_test(name, value) or _is_case(name, value)) and value.__module__ == "tests"
    }
    for name, value in found.items():
        del space[name]
        if not inspect.isclass(value):
            _run_function(value, space)
        elif issubclass(value, unittest.TestCase):
            _run_case(value)
        else:
            _run_class(value, space)


class Skipped(BaseException):
    """The test ends here, and counts as passed."""


def skip(reason: str = "", **_: Any) -> None:
    """End the test."""
    raise Skipped(reason)


def fail(reason: str = "", **_: Any) -> None:
    """Fail the test."""
    raise AssertionError(reason)


class raises:  # noqa: N801 - pytest's name
    """The block, or the call, has to raise one of the exceptions."""

    def __new__(cls, expected: Any, *call: Any, match: str | None = None, **keywords: Any) -> Any:
        context = super().__new__(cls)
        context.expected, context.match, context.value, context.type = expected, match, None, None
        if not call:
            return context
        with context:
            call[0](*call[1:], **keywords)
        return context

    expected: Any
    match: str | None
    value: Any
    type: Any

    def __enter__(self) -> raises:
        return self

    def __exit__(self, kind: Any, error: Any, _: Any) -> bool:
        if error is None:
            raise AssertionError(f"nothing was raised, where {self.expected} was expected")
        if not isinstance(error, self.expected):
            return False
        self.value, self.type = error, kind
        if self.match is not None and not re.search(self.match, str(error)):
            raise AssertionError(f"{error!r} does not match {self.match!r}")
        return True


class approx:  # noqa: N801 - pytest's name
    """Equal to a number, or to a sequence or mapping of numbers, within a tolerance."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, expected: Any, rel: float | None = None, abs: float | None = None, nan_ok: bool = False) -> None:
        self.expected, self.nan_ok = expected, nan_ok
        self.rel = rel if rel is not None else (1e-6 if abs is None else 0.0)
        self.abs = abs if abs is not None else 1e-12

    def __eq__(self, actual: object) -> bool:
        return self._near(actual, self.expected)

    def __repr__(self) -> str:
        return f"approx({self.expected!r})"

    def _near(self, actual: Any, expected: Any) -> bool:
        if isinstance(expected, Mapping):
            same = isinstance(actual, Mapping) and actual.keys() == expected.keys()
            return same and all(self._near(actual[key], expected[key]) for key in expected)
        if isinstance(expected, Sequence) and not isinstance(expected, str):
            same = isinstance(actual, Sequence) and len(actual) == len(expected)
            return same and all(map(self._near, actual, expected))
        if isinstance(actual, (int, float)) and isinstance(expected, (int, float)):
            if math.isnan(expected):
                return self.nan_ok and math.isnan(actual)
            return math.isclose(actual, expected, rel_tol=self.rel, abs_tol=self.abs)
        return bool(actual == expected)


def fixture(function: Any = None, *, autouse: bool = False, params: Any = None, **_: Any) -> Any:
    """Mark a function as one that gives tests an argument of its name; `autouse`: for every test, wanted or not."""
    if params is not None:
        raise ImportError("fixtures with params")
    if function is None:
        return lambda marked: fixture(marked, autouse=autouse)
    function.is_fixture, function.is_autouse = True, autouse
    return function


def param(*values: Any, **_: Any) -> Any:
    """One row of `parametrize`."""
    return values if len(values) != 1 else values[0]


class _Mark:
    """`pytest.mark`: `parametrize` is obeyed, `skip` and `xfail` switch a test off, the others change nothing."""

    def __getattr__(self, name: str) -> Any:
        if name == "parametrize":
            return _parametrize
        switched_off = name in ("skip", "xfail")

        def mark(*arguments: Any, **_: Any) -> Any:
            if len(arguments) == 1 and callable(arguments[0]):
                arguments[0].is_off = switched_off or getattr(arguments[0], "is_off", False)
                return arguments[0]
            return mark

        return mark


mark = _Mark()


def _parametrize(names: Any, rows: Any, **_: Any) -> Callable[[Any], Any]:
    keys = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)

    def mark_function(function: Any) -> Any:
        table = [dict(zip(keys, row if len(keys) > 1 else [row], strict=True)) for row in rows]
        before = getattr(function, "rows", [{}])
        function.rows = [{**one, **other} for one in before for other in table]
        return function

    return mark_function


def _is_test(name: str, value: Any) -> bool:
    return name.startswith("test") and inspect.isfunction(value) and not hasattr(value, "is_fixture")


def _is_autouse(value: Any) -> bool:
    return inspect.isfunction(value) and getattr(value, "is_autouse", False)


def _is_case(name: str, value: Any) -> bool:
    return inspect.isclass(value) and (name.startswith("Test") or issubclass(value, unittest.TestCase))


def _run_function(function: Any, space: dict[str, Any], owner: Any = None) -> None:
    if getattr(function, "is_off", False):
        return
    for row in getattr(function, "rows", [{}]):
        opened: list[Iterator[Any]] = []
        for name in [name for name, value in space.items() if _is_autouse(value)]:
            _given(name, space, owner, opened)
        wanted = [name for name in inspect.signature(function).parameters if name != "self"]
        arguments = {name: row[name] if name in row else _given(name, space, owner, opened) for name in wanted}
        try:
            function(*([owner] if owner is not None else []), **arguments)
        except (Skipped, unittest.SkipTest):
            continue
        finally:
            for generator in reversed(opened):
                next(generator, None)


def _given(name: str, space: dict[str, Any], owner: Any, opened: list[Iterator[Any]]) -> Any:
    """The value of a fixture. One that yields is gone on with after the test: it is added to `opened`."""
    function = getattr(type(owner), name, None) or space.get(name)
    if not hasattr(function, "is_fixture"):
        raise ImportError(f"no fixture {name}")
    assert function is not None
    wanted = [other for other in inspect.signature(function).parameters if other != "self"]
    own = [owner] if "self" in inspect.signature(function).parameters else []
    value = function(*own, **{other: _given(other, space, owner, opened) for other in wanted})
    if not inspect.isgenerator(value):
        return value
    opened.append(value)
    return next(value)


def _run_class(tests: Any, space: dict[str, Any]) -> None:
    for name, function in list(vars(tests).items()):
        if _is_test(name, function) and not getattr(tests, "is_off", False):
            owner = tests()
            getattr(owner, "setup_method", lambda *_: None)(*_method_argument(owner, function))
            _run_function(function, space, owner)


def _method_argument(owner: Any, function: Any) -> list[Any]:
    prepare = getattr(owner, "setup_method", None)
    return [function] if prepare and inspect.signature(prepare).parameters else []


def _run_case(case: Any) -> None:
    case.setUpClass()
    for name in unittest.TestLoader().getTestCaseNames(case):
        try:
            case(name).debug()
        except unittest.SkipTest:
            continue
    case.tearDownClass()
