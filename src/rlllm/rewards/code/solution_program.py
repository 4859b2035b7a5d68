"""The program inside the solution's sandbox: it loads the code that a model wrote and calls its functions on request.

Nothing here is a safeguard. The code shares this process and may forge answers; an answer is data, and the code has seen only
the arguments of the call: neither expected values nor tests are ever sent here.
"""

from __future__ import annotations

import builtins
import json
import operator
import os
import random
import sys
import types
from collections.abc import Callable
from typing import Any

_OPERATIONS: dict[str, Callable[..., Any]] = {
    "__len__": len,
    "__str__": str,
    "__repr__": repr,
    "__bool__": bool,
    "__iter__": iter,
    "__next__": next,
    "__getitem__": operator.getitem,
    "__setitem__": operator.setitem,
    "__delitem__": operator.delitem,
    "__contains__": operator.contains,
}
"""Operations on an object, by the special method that Python looks up on its class."""
_FIXED = (int, float, complex, str, bytes, type(None))
"""Arguments that no call can change."""


def load(assembly: Any, plan: dict[str, Any]) -> types.ModuleType:
    """Run the code as a module of its own (`__name__` is no `__main__`, so demonstrations in it do not start).

    Args:
        plan: `blocks`, `names` and `prefix` as `assembly.assembled` takes them; `preamble`: give the standard imports.
    """
    return _run(assembly, plan, "solution")


def run(assembly: Any, plan_text: str) -> None:
    """Run the code as a script that reads standard input. `plan_text`: JSON as for `load`, and `reads_input`."""
    _run(assembly, json.loads(plan_text), "__main__")


def serve(assembly: Any, wire: Any, plan_text: str) -> None:
    """Load the code, then answer calls until the other side closes. What threads of the code do then is cut off."""
    answers = Answers(wire, load(assembly, json.loads(plan_text)))
    while (request := wire.receive()) is not None:
        _, payload, nonce = request
        kind, answer = answers.answer(payload)
        wire.send(kind, answer, nonce)
    os._exit(0)


class Answers:
    """Answers requests on a loaded module.

    A request is `(target, arguments, keywords)`. The target is a function or class of the module by name, or `(object,
    attribute)` for an object that a class made earlier: a method of it, or with None for arguments the attribute's value.
    """

    def __init__(self, wire: Any, module: types.ModuleType) -> None:
        self._wire, self._module = wire, module
        self._objects: list[Any] = []

    def answer(self, payload: bytes) -> tuple[bytes, bytes]:
        """Kind and content of the answer: a value, an exception, or the type and number of an object.

        Behind a value stand, after `wire.BEHIND`, the arguments where the call changed them.
        """
        wire = self._wire
        try:
            request = wire.from_text(payload, wire.DEEPEST_CALL)
            value = self._value(*request)
        except BaseException as error:
            return wire.RAISED, _describe(wire, error)
        try:
            text = wire.to_text(value)
        except wire.NotPlainError as error:
            self._objects.append(value)
            return wire.OPAQUE, wire.to_text((str(error)[:200], len(self._objects) - 1))
        except BaseException as error:
            return wire.RAISED, _describe(wire, error)
        if len(text) > wire.LARGEST_ANSWER:
            return wire.OPAQUE, wire.to_text(("a value too large to send", -1))
        changed = self._changed(payload, request)
        return wire.VALUE, text + changed if len(text + changed) <= wire.LARGEST_ANSWER else text

    def _changed(self, payload: bytes, request: Any) -> bytes:
        """The arguments after the call, where they are others than before; empty where they are not, or cannot be sent."""
        target, arguments, keywords = request
        if all(isinstance(value, _FIXED) for value in [*(arguments or ()), *(keywords or {}).values()]):
            return b""
        try:
            after: bytes = self._wire.to_text((target, arguments, keywords), self._wire.DEEPEST_CALL)
        except Exception:
            return b""
        return b"" if after == payload else self._wire.BEHIND + after

    def _value(self, target: Any, arguments: Any, keywords: Any) -> Any:
        if isinstance(target, str):
            return _function(self._module, target)(*arguments, **keywords)
        number, attribute = target
        owner = self._objects[number]
        if arguments is None:
            return getattr(owner, attribute)
        if attribute in _OPERATIONS:
            return _OPERATIONS[attribute](owner, *arguments)
        return getattr(owner, attribute)(*arguments, **keywords)


def _run(assembly: Any, plan: dict[str, Any], name: str) -> types.ModuleType:
    module = types.ModuleType(name)
    sys.modules[name] = module
    builtins.exit = builtins.quit = sys.exit  # type: ignore[assignment]  # scripts expect them from the module `site`
    random.seed(0)
    blocks = [(bool(labelled), text) for labelled, text in plan["blocks"]]
    _seed_numpy(blocks)
    codes = assembly.assembled(blocks, plan["names"], plan["prefix"], plan["reads_input"])
    if plan["preamble"] or any("Solution" in code.co_names for code in codes):  # a class as LeetCode asks for
        module.__dict__["__builtins__"] = {**vars(builtins), **assembly.preamble()}  # no function of the solution
        sys.setrecursionlimit(_DEEPEST)
    for code in codes:
        exec(code, module.__dict__)
    return module


def _seed_numpy(blocks: list[tuple[bool, str]]) -> None:
    """Let NumPy's dice fall the same way in every run, too, where a program names it and may have it."""
    if any("numpy" in text for _, text in blocks):
        try:
            import numpy
        except ImportError:
            return
        numpy.random.seed(0)


_DEEPEST = 50_000
"""Recursion limit under which the harness of LiveCodeBench runs a program."""


def _function(module: types.ModuleType, name: str) -> Callable[..., Any]:
    """The function of that name, or the method of a class `Solution`."""
    if not hasattr(module, name) and hasattr(module, "Solution"):
        return getattr(module.Solution(), name)
    try:
        return getattr(module, name)
    except AttributeError:
        raise NameError(f"the solution defines no {name}") from None


def _describe(wire: Any, error: BaseException) -> bytes:
    """The names of its class and of the classes that it is derived from, and its message."""
    try:
        message = str(error)[:500]
    except BaseException:
        message = ""
    names = [kind.__name__[:100] for kind in type(error).__mro__[:20]]
    text: bytes = wire.to_text((names, message))
    return text
