"""The program inside the tests' sandbox: it runs the tests of a row, in which the tested functions are proxies.

A call of a proxy is sent to the solution's sandbox as data, and plain data comes back. No code of the solution runs here,
so it cannot read the tests, replace `assert`, or answer with an object that equals everything.
"""

from __future__ import annotations

import builtins
import json
import math
import random
from collections.abc import Callable
from typing import Any


class _UnfitError(BaseException):
    """The tests cannot judge any solution here. No `Exception`, so that tests which catch those do not hide it."""


def examine(wire: Any, plan_text: str) -> None:
    """Run the tests in order and send a result for each; stop at the first that fails unless the plan is thorough.

    Args:
        plan_text: JSON with `prefix` (source run first), `names` (functions of the solution, which replace those of the
            prefix), `setup` (sources run then), `tests` (sources, or calls with what they may return) and `thorough`.
    """
    plan = json.loads(plan_text)
    space: dict[str, Any] = {"__name__": "tests"}
    try:
        _prepare(wire, plan, space)
        for test in plan["tests"]:
            note = _fault(wire, test, space)
            wire.send(wire.RESULT, json.dumps(note).encode())
            if note is not None and not plan["thorough"]:
                return
    except _UnfitError as error:
        wire.send(wire.UNFIT, str(error).encode("utf-8", "replace"))


def _prepare(wire: Any, plan: dict[str, Any], space: dict[str, Any]) -> None:
    random.seed(0)
    try:
        _run(plan["prefix"], space)
        space.update({name: _proxy(wire, name) for name in plan["names"]})
        for source in plan["setup"]:
            _run(source, space)
    except Exception as error:
        raise _UnfitError(f"the tests do not load: {_words(error)}") from None


def _run(source: str, space: dict[str, Any]) -> None:
    exec(compile(source, "tests.py", "exec", dont_inherit=True), space)


def _fault(wire: Any, test: dict[str, Any], space: dict[str, Any]) -> str | None:
    """Why the test fails; None if it passes."""
    random.seed(0)
    try:
        if "call" in test:
            return _check_call(wire, test)
        _run(test["source"], space)
    except _UnfitError:
        raise
    except BaseException as error:
        if isinstance(error, ImportError) and not hasattr(error, "of_the_solution"):
            raise _UnfitError(f"the tests need a module that the sandbox lacks: {_words(error)}") from None
        return _words(error)
    return None


def _check_call(wire: Any, test: dict[str, Any]) -> str | None:
    arguments, keywords = wire.decode(test["args"]), wire.decode(test["kwargs"])
    returned = _proxy(wire, test["call"])(*arguments, **keywords)
    if any(_equal(returned, wire.decode(value), test["tolerance"]) for value in test["expected"]):
        return None
    return f"{test['call']} returned another value"


def _equal(returned: Any, expected: Any, tolerance: float) -> bool:
    """Equal as Python compares them, but lists and tuples alike, NaN and NaN, and numbers within a tolerance."""
    if isinstance(returned, list | tuple) and isinstance(expected, list | tuple):
        return len(returned) == len(expected) and all(map(_equal, returned, expected, [tolerance] * len(returned)))
    if isinstance(returned, dict) and isinstance(expected, dict):
        return returned.keys() == expected.keys() and all(
            _equal(returned[key], expected[key], tolerance) for key in expected
        )
    if tolerance and _is_real(returned) and _is_real(expected):
        return math.isclose(returned, expected, rel_tol=tolerance, abs_tol=tolerance)
    if isinstance(returned, float) and isinstance(expected, float) and math.isnan(returned):
        return math.isnan(expected)
    return bool(returned == expected)


def _is_real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _proxy(wire: Any, name: str) -> Callable[..., Any]:
    def call(*arguments: Any, **keywords: Any) -> Any:
        try:
            payload = wire.to_text((name, arguments, keywords), wire.DEEPEST_CALL)
        except wire.NotPlainError as error:
            raise _UnfitError(f"the tests pass what cannot leave their process: {error}") from None
        if len(payload) > wire.LARGEST_CALL:
            raise _UnfitError(f"the tests pass {len(payload)} bytes, more than can be sent")
        wire.send(wire.CALL, payload)
        reply = wire.receive()
        if reply is None:
            raise _UnfitError("the checker has gone")
        return _read(wire, name, *reply[:2])

    call.__name__ = call.__qualname__ = name
    return call


def _read(wire: Any, name: str, kind: bytes, payload: bytes) -> Any:
    if kind == wire.OPAQUE:
        raise TypeError(f"{name} returned no plain data: {payload[:200].decode('utf-8', 'replace')}")
    try:
        value = wire.from_text(payload)
        if kind == wire.VALUE:
            return value
        raised, message = map(str, value)
    except Exception:
        raise TypeError(f"{name} gave an answer that cannot be read") from None
    raise _raised(raised, message)


def _raised(name: str, message: str) -> Exception:
    """What the solution raised, as the built-in exception of that name where there is one."""
    base: Any = getattr(builtins, name, None)
    usable = isinstance(base, type) and issubclass(base, Exception) and not issubclass(base, _UNUSABLE)
    error: Any = base.__new__(base) if usable else RuntimeError()
    error.args = (message,) if usable else (f"{name}: {message}",)
    error.of_the_solution = True
    return error


_UNUSABLE = (UnicodeError, ExceptionGroup, StopIteration, StopAsyncIteration)
"""Exceptions that are not made of one message, and those that would end a loop of the tests as if all were well."""


def _words(error: BaseException) -> str:
    message = " ".join(str(error).split())[:300]
    origin = "the solution raised " if hasattr(error, "of_the_solution") else ""
    return f"{origin}{type(error).__name__}: {message}" if message else f"{origin}{type(error).__name__}"
