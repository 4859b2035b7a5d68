"""The program inside the solution's sandbox: it loads the code that a model wrote and calls its functions on request.

Nothing here is a safeguard. The code shares this process and may forge answers; an answer is data, and the code has seen only
the arguments of the call: neither expected values nor tests are ever sent here.
"""

from __future__ import annotations

import builtins
import os
import random
import sys
import types
from collections.abc import Callable
from typing import Any


def load(prefix: str, code: str) -> types.ModuleType:
    """Run the code as a module of its own (`__name__` is no `__main__`, so demonstrations in it do not start).

    Args:
        prefix: the prompt, where the code goes on from it; code that stands alone is run after it instead.
    """
    module = types.ModuleType("solution")
    sys.modules["solution"] = module
    _furnish()
    for source in _sources(prefix, code):
        exec(compile(source, "solution.py", "exec", dont_inherit=True), module.__dict__)
    return module


def run(code: str) -> None:
    """Run the code as a script that reads standard input."""
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    _furnish()
    exec(compile(code, "solution.py", "exec", dont_inherit=True), module.__dict__)


def serve(wire: Any, prefix: str, code: str) -> None:
    """Load the code, then answer calls until the other side closes. What threads of the code do then is cut off."""
    module = load(prefix, code)
    while (request := wire.receive()) is not None:
        _, payload, nonce = request
        kind, answer = _answer(wire, module, payload)
        wire.send(kind, answer, nonce)
    os._exit(0)


def _furnish() -> None:
    """Give it `exit` and `quit`, which scripts expect from the module `site`, and dice that always fall the same way."""
    builtins.exit = builtins.quit = sys.exit  # type: ignore[assignment]
    random.seed(0)


def _sources(prefix: str, code: str) -> list[str]:
    if not prefix:
        return [code]
    try:
        compile(code, "solution.py", "exec", dont_inherit=True)
    except SyntaxError:
        return [prefix + code]
    return [prefix, code]


def _answer(wire: Any, module: types.ModuleType, payload: bytes) -> tuple[bytes, bytes]:
    try:
        name, arguments, keywords = wire.from_text(payload, wire.DEEPEST_CALL)
        value = _function(module, name)(*arguments, **keywords)
    except BaseException as error:
        return wire.RAISED, _describe(wire, error)
    try:
        text = wire.to_text(value)
    except wire.NotPlainError as error:
        return wire.OPAQUE, str(error)[:200].encode("utf-8", "replace")
    except BaseException as error:
        return wire.RAISED, _describe(wire, error)
    return (wire.VALUE, text) if len(text) <= wire.LARGEST_ANSWER else (wire.OPAQUE, b"a value too large to send")


def _function(module: types.ModuleType, name: str) -> Callable[..., Any]:
    """The function of that name, or the method of a class `Solution`."""
    if not hasattr(module, name) and hasattr(module, "Solution"):
        return getattr(module.Solution(), name)
    try:
        return getattr(module, name)
    except AttributeError:
        raise NameError(f"the solution defines no {name}") from None


def _describe(wire: Any, error: BaseException) -> bytes:
    try:
        message = str(error)[:500]
    except BaseException:
        message = ""
    text: bytes = wire.to_text((type(error).__name__[:100], message))
    return text
