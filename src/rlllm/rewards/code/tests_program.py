"""The program inside the tests' sandbox: it runs the tests of a row, in which the tested functions are proxies.

A call of a proxy is sent to the solution's sandbox as data, and plain data comes back. No code of the solution runs here,
so it cannot read the tests, replace `assert`, or answer with an object that equals everything.
"""

from __future__ import annotations

import ast
import builtins
import json
import math
import random
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any


class _UnfitError(BaseException):
    """The tests cannot judge any solution here. No `Exception`, so that tests which catch those do not hide it."""


def examine(pytest: Any, wire: Any, plan_text: str) -> None:
    """Run the tests in order and send a result for each; stop at the first that fails unless the plan is thorough.

    Args:
        pytest: module that stands in for pytest and runs the tests that a source defines.
        plan_text: JSON with `prefix` (source run first), `names` (of the solution, which replace those of the prefix),
            `helpers` (those of the names that a solution need not have), `classes` (those that are classes), `setup`
            (sources run then), `tests` (sources, or calls with what they may return) and `thorough`.
    """
    plan = json.loads(plan_text)
    space: dict[str, Any] = {"__name__": "tests"}
    solution = Solution(wire, plan)
    sys.modules["pytest"] = pytest
    sys.modules["solution"] = _module(solution)
    try:
        _prepare(solution, plan, space)
        for test in plan["tests"]:
            note = _verdict(solution, pytest, test, space)
            wire.send(wire.RESULT, json.dumps(note).encode())
            if note is not None and not plan["thorough"]:
                return
    except _UnfitError as error:
        wire.send(wire.UNFIT, str(error).encode("utf-8", "replace"))


def examine_recorded(recorded: Any, pytest: Any, wire: Any, plan_text: str) -> None:
    """Run the tests on recorded answers, and print the calls they made with what became of each test.

    Args:
        recorded: the module `recorded`.
        plan_text: as for `examine`, and `answers`, as `recorded.Recorded` takes them. A result of the report is a note, null
            for a test that passed, or false for one that is undecided. The report ends with a test that surely failed.
    """
    plan = json.loads(plan_text)
    space: dict[str, Any] = {"__name__": "tests"}
    line = recorded.Recorded(wire, plan["answers"])
    solution = Solution(line, plan)
    sys.modules["pytest"] = pytest
    sys.modules["solution"] = _module(solution)
    report: dict[str, Any] = {"results": [], "unfit": None}
    line.begin()
    try:
        _prepare(solution, plan, space)
        for test in plan["tests"]:
            line.begin()
            note = _verdict(solution, pytest, test, space)
            report["results"].append(False if line.is_undecided else note)
            if note is not None and False not in report["results"] and not plan["thorough"]:
                break
    except _UnfitError as error:
        report["unfit"] = None if line.is_undecided else str(error)
    sys.stdout.write(f"\n{recorded.MARK}{json.dumps({**report, 'calls': line.calls})}\n")


def _prepare(solution: Solution, plan: dict[str, Any], space: dict[str, Any]) -> None:
    random.seed(0)
    try:
        _run(plan["prefix"], space)
        space.update({name: solution.stand_in(name) for name in plan["names"]})
        for source in plan["setup"]:
            _run(source, space)
    except Exception as error:
        raise _UnfitError(f"the tests do not load: {_words(error)}") from None


def _run(source: str, space: dict[str, Any]) -> None:
    exec(compile(source, "tests.py", "exec", dont_inherit=True), space)


def _verdict(solution: Solution, pytest: Any, test: dict[str, Any], space: dict[str, Any]) -> str | None:
    """Why the test fails; None if it passes.

    What a call does to its arguments is seen by the tests where it returned None. With a value besides, a program could empty
    the list that its answer is compared with. Where that alone makes the test fail, the program cannot be judged.
    """
    solution.begin()
    note = _fault(solution, pytest, test, space)
    if note is None or not solution.hid_changes or getattr(solution.wire, "is_undecided", False):
        return note
    solution.begin(shows_changes=True)
    if _fault(solution, pytest, test, space) is None:
        raise _UnfitError("the solution changes an argument that the tests look at, and returns a value besides")
    return note


def _fault(solution: Solution, pytest: Any, test: dict[str, Any], space: dict[str, Any]) -> str | None:
    """Why the test fails; None if it passes."""
    random.seed(0)
    try:
        if "call" in test:
            return _check_call(solution, test)
        _run(test["source"], space)
        pytest.run_all(space)
    except _UnfitError:
        raise
    except BaseException as error:
        if isinstance(error, ImportError) and not hasattr(error, "of_the_solution"):
            raise _UnfitError(f"the tests need what the sandbox lacks: {_words(error)}") from None
        return _words(error)
    return None


def _check_call(solution: Solution, test: dict[str, Any]) -> str | None:
    wire = solution.wire
    arguments, keywords = wire.decode(test["args"]), wire.decode(test["kwargs"])
    returned = solution.ask(test["call"], test["call"], arguments, keywords)
    if isinstance(returned, _Opaque):
        return str(returned.refusal)
    if isinstance(returned, _ORDERED):
        returned = list(returned)
    if any(
        _equal(returned, wire.decode(value), (test["tolerance"], test["relative_tolerance"]))
        for value in test["expected"]
    ):
        return None
    return f"{test['call']} returned another value"


def _equal(returned: Any, expected: Any, tolerance: tuple[float, float]) -> bool:
    """Equal as Python compares them, but lists, tuples and arrays alike, NaN and NaN, and numbers within a tolerance.

    Args:
        tolerance: the difference that numbers may have, and the share of the larger one that it may be.
    """
    if type(returned).__module__ == "numpy":
        returned = returned.tolist()
    if type(returned).__name__ in ("Decimal", "Fraction") and isinstance(expected, float):
        returned = float(returned)
    if isinstance(returned, (list, tuple)) and isinstance(expected, (list, tuple)):
        return len(returned) == len(expected) and all(map(_equal, returned, expected, [tolerance] * len(returned)))
    if isinstance(returned, dict) and isinstance(expected, dict):
        return returned.keys() == expected.keys() and all(
            _equal(returned[key], expected[key], tolerance) for key in expected
        )
    if any(tolerance) and _is_real(returned) and _is_real(expected):
        return math.isclose(returned, expected, rel_tol=tolerance[1], abs_tol=tolerance[0])
    if isinstance(returned, float) and isinstance(expected, float) and math.isnan(returned):
        return math.isnan(expected)
    return bool(returned == expected)


_ORDERED: tuple[type[Iterable[Any]], ...] = (
    Iterator,
    deque,
    range,
    type({}.keys()),
    type({}.values()),
    type({}.items()),
)
"""What a program may return where a list is expected: its items are compared. No expected value is one of them."""


def _restore(old: Any, new: Any) -> Any:
    """Change a value of the tests to what the solution made of it, in place where it is a container; returns it."""
    if type(old) is not type(new):
        return new
    if isinstance(old, list):
        shared = [_restore(before, after) for before, after in zip(old, new, strict=False)]
        old[:] = shared + new[len(shared) :]
    elif isinstance(old, dict):
        parts = {key: _restore(old[key], value) if key in old else value for key, value in new.items()}
        old.clear()
        old.update(parts)
    elif isinstance(old, (set, deque)):
        old.clear()
        getattr(old, "update", getattr(old, "extend", None))(new)  # type: ignore[misc]
    elif isinstance(old, tuple):
        for before, after in zip(old, new, strict=False):
            _restore(before, after)
        return old
    elif type(old).__module__ == "numpy" and old.shape == new.shape:
        old[...] = new
    else:
        return new
    return old


def _is_real(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


class Solution:
    """The solution as the tests see it: what stands in for its names, and the questions that are sent to it."""

    def __init__(self, wire: Any, plan: dict[str, Any]) -> None:
        self.wire = wire
        self.hid_changes = self._shows_changes = False
        self._plan = plan
        self._stand_ins: dict[str, Any] = {}

    def begin(self, shows_changes: bool = False) -> None:
        """The next test begins; whether it sees what a call did to its arguments where it returned a value as well."""
        self.hid_changes, self._shows_changes = False, shows_changes

    def stand_in(self, name: str) -> Any:
        """A function; a class, where the tests use the name as one; an exception, where it is called one."""
        if name not in self._stand_ins:
            if name.endswith(("Error", "Exception")):
                self._stand_ins[name] = type(name, (Exception,), {})
            elif name in self._plan["classes"]:
                self._stand_ins[name] = type(name, (_Instance,), {"_solution": self, "__module__": "solution"})
            else:
                self._stand_ins[name] = self._function(name)
        return self._stand_ins[name]

    def ask(self, label: str, target: Any, arguments: Any, keywords: Any) -> Any:
        """The value that the solution returns. `target`, `arguments` and `keywords` are those of a request.

        Raises:
            TypeError: it is too large, or cannot be read.
        """
        kind, payload = self._reply(target, arguments, keywords)
        if kind == self.wire.UNKNOWN:
            return _Anything()
        if kind == self.wire.OPAQUE:
            name, number = self._opaque(payload)
            if name in self._types_in_tests():
                raise _UnfitError(f"the tests expect a {name}, which cannot leave the process of the solution")
            value = _Opaque(self, number, label, name)
            if number < 0:
                raise value.refusal
            return value
        text, changed = self._parts(kind, payload)
        value = self._value(label, kind, text)
        if changed:
            self._take_changes(value is None, changed, arguments, keywords)
        return value

    def make(self, name: str, arguments: Any, keywords: Any) -> tuple[int | None, Any]:
        """What calling a class of the solution gives: the number of an object that stays there, or None and plain data."""
        kind, payload = self._reply(name, arguments, keywords)
        if kind == self.wire.UNKNOWN:
            raise _UndecidedError
        if kind == self.wire.OPAQUE:
            return self._opaque(payload)[1], None
        return None, self._value(name, kind, self._parts(kind, payload)[0])

    def attribute(self, number: int, label: str, name: str) -> Any:
        """An attribute of an object: its value where that is plain data, else a method."""
        kind, payload = self._reply((number, name), None, None)
        if kind == self.wire.UNKNOWN:
            raise _UndecidedError
        if kind != self.wire.OPAQUE:
            return self._value(label, kind, self._parts(kind, payload)[0])
        return lambda *arguments, **keywords: self.ask(label, (number, name), arguments, keywords)

    def _function(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            return self.ask(name, name, arguments, keywords)

        call.__name__ = call.__qualname__ = name
        return call

    def _reply(self, target: Any, arguments: Any, keywords: Any) -> tuple[bytes, bytes]:
        wire = self.wire
        try:
            payload = wire.to_text((target, arguments, keywords), wire.DEEPEST_CALL)
        except wire.NotPlainError as error:
            raise _UnfitError(f"the tests pass what cannot leave their process: {error}") from None
        if len(payload) > wire.LARGEST_CALL:
            raise _UnfitError(f"the tests pass {len(payload)} bytes, more than can be sent")
        wire.send(wire.CALL, payload)
        reply = wire.receive()
        if reply is None:
            raise _UnfitError("the checker has gone")
        if reply[0] == wire.GONE:
            raise _GoneError(reply[1].decode("utf-8", "replace"))
        return reply[0], reply[1]

    def _parts(self, kind: bytes, payload: bytes) -> tuple[bytes, bytes]:
        """A value, and what stands behind it: the arguments as the call left them, or nothing."""
        text, _, changed = payload.partition(self.wire.BEHIND) if kind == self.wire.VALUE else (payload, b"", b"")
        return text, changed

    def _take_changes(self, returned_nothing: bool, changed: bytes, arguments: Any, keywords: Any) -> None:
        if not (returned_nothing or self._shows_changes):
            self.hid_changes = True
            return
        try:
            _, new, named = self.wire.from_text(changed, self.wire.DEEPEST_CALL)
            _restore(arguments, new)
            _restore(keywords, named)
        except Exception:
            raise TypeError("the solution gave an answer that cannot be read") from None

    def _opaque(self, payload: bytes) -> tuple[str, int]:
        """The type and the number of an object that stays with the solution."""
        try:
            name, number = self.wire.from_text(payload)
            return str(name)[:200], int(number)
        except Exception:
            raise TypeError("the solution gave an answer that cannot be read") from None

    def _value(self, label: str, kind: bytes, payload: bytes) -> Any:
        try:
            value = self.wire.from_text(payload)
            if kind == self.wire.VALUE:
                return value
            names, message = [str(name) for name in value[0]], str(value[1])
        except Exception:
            raise TypeError(f"{label} gave an answer that cannot be read") from None
        if any(message == f"the solution defines no {name}" for name in self._plan["helpers"]):
            raise _UnfitError(f"the tests use what neither they nor the solution define: {message.split()[-1]}")
        raise self._raised(names, message)

    def _raised(self, names: list[str], message: str) -> Exception:
        """What the solution raised: the first of its classes that the tests import or Python has built in."""
        kinds = [self._stand_ins.get(name, getattr(builtins, name, None)) for name in names]
        usable = [
            kind
            for kind in kinds
            if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, _UNUSABLE)
        ]
        base: Any = next((kind for kind in usable if kind is not Exception or names[0] == "Exception"), None)
        built_in = next((kind for kind in usable if kind.__module__ == "builtins" and kind is not Exception), None)
        if base and built_in and not issubclass(base, built_in):
            base = type(base.__name__, (base, built_in), {})
        error: Any = base.__new__(base) if base else RuntimeError()
        error.args = (message,) if base else (f"{names[0] if names else '?'}: {message}",)
        error.of_the_solution = True
        return error

    def _types_in_tests(self) -> set[str]:
        """Names by which the tests may mean a type that is not the solution's."""
        sources = [*self._plan["setup"], *(test.get("source", "") for test in self._plan["tests"])]
        nodes = [node for source in sources for node in ast.walk(ast.parse(source))]
        names = {node.id for node in nodes if isinstance(node, ast.Name)}
        names |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        return names - set(self._plan["names"]) - set(dir(builtins))


class _UndecidedError(BaseException):
    """The test cannot go on without an answer that is not known yet."""


class _GoneError(BaseException):
    """The solution ended before it answered; the message says how."""


class _Anything:
    """In the place of an answer that is not known yet: it agrees with every comparison, so that the tests go on."""

    def _agree(self, _: object) -> bool:
        return True

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _agree
    __hash__ = None  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        raise _UndecidedError


class _Remote:
    """An object that stays with the solution: what is read of it comes back as data."""

    _operate: Callable[..., Any]
    """The value of a special method, called on the object there."""

    def __len__(self) -> int:
        return self._operate("__len__")

    def __str__(self) -> str:
        return self._operate("__str__")

    def __repr__(self) -> str:
        return self._operate("__repr__")

    def __iter__(self) -> Iterator[Any]:
        return iter(self._operate("__iter__"))

    def __getitem__(self, key: Any) -> Any:
        return self._operate("__getitem__", key)


class _Opaque(_Remote):
    """What a function of the solution returned and is no plain data: it stays there.

    Its text, length and items may be read, and it may be called, since what comes back is data again. Whatever lets it agree
    fails the test: an object whose methods always agree would pass `assert f(x).startswith(...)`.
    """

    def __init__(self, solution: Solution, number: int, label: str, kind: str) -> None:
        self._solution, self._number, self._label, self._kind = solution, number, label, kind

    @property
    def refusal(self) -> TypeError:
        return TypeError(f"{self._label} returned no plain data: {self._kind}")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or any(hasattr(kind, name) for kind in _PLAIN):
            raise self.refusal
        raise _UnfitError(f"the tests want {name} of a {self._kind}, which cannot leave the process of the solution")

    def _refuse(self, *_: Any) -> Any:
        raise self.refusal

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __bool__ = __contains__ = _refuse
    __hash__ = None  # type: ignore[assignment]

    def _operate(self, name: str, *arguments: Any, **keywords: Any) -> Any:
        return self._solution.ask(self._label, (self._number, name), arguments, keywords)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self._operate("__call__", *arguments, **keywords)


_PLAIN = (str, bytes, int, float, complex, list, tuple, dict, set, deque, range)
"""Types whose methods tests call on what they take for data."""


class _Instance(_Remote):
    """An object that stays with the solution. Its methods are called there, and their values come back as data."""

    _solution: Solution

    _number: int

    def __new__(cls, *arguments: Any, **keywords: Any) -> Any:
        number, value = cls._solution.make(cls.__name__, arguments, keywords)
        if number is None:
            return value
        instance = super().__new__(cls)
        instance._number = number
        return instance

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._solution.attribute(self._number, f"{type(self).__name__}.{name}", name)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        raise _UnfitError("the tests compare objects of the solution's own class, which stay in its process")

    __hash__ = object.__hash__

    def _operate(self, name: str, *arguments: Any, **keywords: Any) -> Any:
        return self._solution.ask(f"{type(self).__name__}.{name}", (self._number, name), arguments, keywords)

    def __bool__(self) -> bool:
        return self._operate("__bool__")

    def __next__(self) -> Any:
        return self._operate("__next__")

    def __setitem__(self, key: Any, value: Any) -> None:
        self._operate("__setitem__", key, value)

    def __delitem__(self, key: Any) -> None:
        self._operate("__delitem__", key)

    def __contains__(self, item: Any) -> bool:
        return self._operate("__contains__", item)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self._solution.ask(type(self).__name__, (self._number, "__call__"), arguments, keywords)


def _module(solution: Solution) -> types.ModuleType:
    """The module `solution` as tests import it: any name of it is a stand-in."""
    module = types.ModuleType("solution")

    def of(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return solution.stand_in(name)

    module.__getattr__ = of  # type: ignore[method-assign]
    return module


_UNUSABLE = (UnicodeError, StopIteration, StopAsyncIteration, getattr(builtins, "ExceptionGroup", StopIteration))
"""Exceptions that are not made of one message, and those that would end a loop of the tests as if all were well."""


def _words(error: BaseException) -> str:
    if isinstance(error, _GoneError):
        return str(error)
    message = " ".join(str(error).split())[:300]
    origin = "the solution raised " if hasattr(error, "of_the_solution") else ""
    return f"{origin}{type(error).__name__}: {message}" if message else f"{origin}{type(error).__name__}"
