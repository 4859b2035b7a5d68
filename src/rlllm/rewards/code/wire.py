"""Plain data between processes that do not trust each other: a typed JSON encoding, and frames on file descriptor 3.

What crosses is None, bool, int, float, str, bytes, complex, Decimal, Fraction, dates and times, list, tuple, set, frozenset,
deque, dict and its views, range, NumPy's numbers and arrays, iterators over them, nested, and the classes that are built in. An
instance of a subclass crosses as its base, so no method of its own reaches the other side; nothing is ever pickled. The text of
this file runs inside sandboxes as well: it needs the standard library alone.
"""

from __future__ import annotations

import builtins
import collections
import importlib
import itertools
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

CHANNEL = 3
"""The file descriptor on which a program in a sandbox is spoken to."""
LARGEST_ANSWER = 2 << 20
"""Bytes. An answer that is larger does not count."""
LARGEST_CALL = 16 << 20
"""Bytes of a call's arguments: more than of an answer, so that tests can pass any answer on."""
DEEPEST = 100
"""How deep an answer may be nested."""
DEEPEST_CALL = 120
"""How deep arguments may be: deeper than answers, so that tests can pass any answer on."""
LONGEST_ITERATOR = 100_000
NONCE = 8
HEADER = 4 + NONCE + 1
"""Length of the payload (big-endian), a nonce that a reply repeats, and the frame's kind."""
NO_NONCE = bytes(NONCE)

CALL, VALUE, RAISED, OPAQUE, RESULT, UNFIT = b"C", b"V", b"X", b"O", b"R", b"U"
"""Call a function; its value, its exception, or the type of a value that is no plain data; of the tests: the result of
one, or why they cannot judge any solution."""
BEHIND = b"\t"
"""Between a value and the arguments that its call changed: no JSON holds it."""
UNKNOWN, GONE = b"?", b"G"
"""Where calls are recorded: an answer that is not known yet, and a solution that ended before it."""


class NotPlainError(ValueError):
    """A value that cannot cross; the message is its type, or what is wrong with it."""


def to_text(value: Any, depth: int = DEEPEST) -> bytes:
    """A value as JSON.

    Raises:
        NotPlainError: it holds something that is no plain data, or is nested too deep.
    """
    return json.dumps(encode(value, depth), separators=(",", ":")).encode()


def from_text(text: bytes, depth: int = DEEPEST) -> Any:
    """The value again, of plain types only.

    Raises:
        ValueError, TypeError, KeyError, RecursionError: the text was not made by `to_text` with that depth.
    """
    item = json.loads(text)
    if _nesting(item) > depth:
        raise ValueError("data that is nested too deep")
    return decode(item)


def _nesting(item: Any) -> int:
    return 1 + max(map(_nesting, item), default=0) if isinstance(item, list) else 0


def encode(value: Any, depth: int) -> Any:
    """None, bool, str, finite floats and small integers stand for themselves; the rest is `[tag, part, ...]`."""
    if value is None or value is True or value is False:
        return value
    if depth == 0:
        raise NotPlainError("data that is nested too deep")
    for base, write in _WRITERS:
        if isinstance(value, base):
            return write(value, depth - 1)
    return _write_named(value, depth - 1)


def _write_named(value: Any, depth: int) -> Any:
    """What is known by the name of its class: NumPy's, numbers without rounding, dates. Or a class that is built in."""
    for kind in type(value).__mro__:
        if kind.__module__ == "numpy" and hasattr(value, "tolist"):
            return _write_numpy(value, depth)
        if (kind.__module__, kind.__name__) in _EXACT:
            return ["x", kind.__name__, *_EXACT[kind.__module__, kind.__name__][0](value)]
    name = value.__name__ if isinstance(value, type) else None
    if name and vars(builtins).get(name) is value:
        return ["y", name]
    raise NotPlainError(type(value).__name__)


def _write_int(value: Any, depth: int) -> Any:
    number = int.__index__(value)
    return number if number.bit_length() < 64 else ["i", hex(number)]


def _write_float(value: Any, depth: int) -> Any:
    number = float.__float__(value)
    return number if number - number == 0 else ["f", repr(number)]


def _write_complex(value: Any, depth: int) -> Any:
    number = complex.__complex__(value)
    return ["c", number.real.hex(), number.imag.hex()]


def _write_dict(value: Any, depth: int) -> Any:
    return ["d", *(encode(part, depth) for pair in dict.items(value) for part in pair)]


def _write_iterator(value: Any, depth: int) -> Any:
    parts = list(itertools.islice(value, LONGEST_ITERATOR + 1))
    if len(parts) > LONGEST_ITERATOR:
        raise NotPlainError(f"an iterator over more than {LONGEST_ITERATOR} values")
    return ["g", *(encode(part, depth) for part in parts)]


def _write_numpy(value: Any, depth: int) -> Any:
    """A number as Python's, an array as its items with the name of their type."""
    items = encode(value.tolist(), depth)
    return ["a", str(value.dtype), items] if getattr(value, "ndim", 0) else items


def _sequence(tag: str, iterate: Callable[[Any], Iterator[Any]]) -> Callable[[Any, int], Any]:
    return lambda value, depth: [tag, *(encode(part, depth) for part in iterate(value))]


_WRITERS: tuple[tuple[Any, Callable[[Any, int], Any]], ...] = (
    (int, _write_int),
    (float, _write_float),
    (str, lambda value, depth: str.__str__(value)),
    (list, _sequence("l", list.__iter__)),
    (tuple, _sequence("t", tuple.__iter__)),
    (dict, _write_dict),
    (set, _sequence("s", set.__iter__)),
    (frozenset, _sequence("z", frozenset.__iter__)),
    (complex, _write_complex),
    ((bytes, bytearray), lambda value, depth: ["b", bytes(value).hex()]),
    (collections.deque, _sequence("q", collections.deque.__iter__)),
    (type({}.keys()), _sequence("k", iter)),
    (type({}.items()), _sequence("m", iter)),
    (type({}.values()), _sequence("v", iter)),
    (range, lambda value, depth: ["r", *(_write_int(part, depth) for part in (value.start, value.stop, value.step))]),
    (Iterator, _write_iterator),
)


def _duration(value: Any) -> list[Any]:
    return [value.days, value.seconds, value.microseconds]


_EXACT: dict[tuple[str, str], tuple[Callable[[Any], list[Any]], Callable[..., Any]]] = {
    ("decimal", "Decimal"): (lambda value: [str(value)], lambda kind, text: kind(text)),
    ("fractions", "Fraction"): (
        lambda value: [hex(value.numerator), hex(value.denominator)],
        lambda kind, top, bottom: kind(int(top, 16), int(bottom, 16)),
    ),
    ("datetime", "datetime"): (lambda value: [value.isoformat()], lambda kind, text: kind.fromisoformat(text)),
    ("datetime", "date"): (lambda value: [value.isoformat()], lambda kind, text: kind.fromisoformat(text)),
    ("datetime", "time"): (lambda value: [value.isoformat()], lambda kind, text: kind.fromisoformat(text)),
    ("datetime", "timedelta"): (_duration, lambda kind, *parts: kind(*parts)),
}
"""Module and name of a class -> how its value is written as texts and numbers, and read again. Found by name, since few
programs import these modules. A time zone crosses as its offset."""
_MODULES = {name: module for module, name in _EXACT}


def _read_exact(parts: list[Any]) -> Any:
    name, *texts = parts
    module = _MODULES[name]
    try:
        return _EXACT[module, name][1](getattr(importlib.import_module(module), name), *texts)
    except ArithmeticError as error:
        raise ValueError(f"no {name}: {texts}") from error


def _read_class(parts: list[Any]) -> Any:
    found = getattr(builtins, parts[0])
    if not isinstance(found, type):
        raise TypeError(f"{parts[0]} is no class")
    return found


def _read_iterator(parts: list[Any]) -> Iterator[Any]:
    if len(parts) > LONGEST_ITERATOR:
        raise ValueError("an iterator longer than any that is written")
    return iter([decode(part) for part in parts])


def _read_array(parts: list[Any]) -> Any:
    """The array, or its items as lists where there is no NumPy."""
    items = decode(parts[1])
    try:
        import numpy
    except ImportError:
        return items
    return numpy.array(items, dtype=parts[0] if parts[0] in _NUMERIC else None)


_NUMERIC = {"bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64))}
_NUMERIC |= {"float16", "float32", "float64", "complex64", "complex128"}

_READERS: dict[str, Callable[[list[Any]], Any]] = {
    "i": lambda parts: int(parts[0], 16),
    "f": lambda parts: float(parts[0]),
    "l": lambda parts: [decode(part) for part in parts],
    "t": lambda parts: tuple(decode(part) for part in parts),
    "d": lambda parts: {decode(key): decode(value) for key, value in zip(parts[::2], parts[1::2], strict=True)},
    "s": lambda parts: {decode(part) for part in parts},
    "z": lambda parts: frozenset(decode(part) for part in parts),
    "c": lambda parts: complex(float.fromhex(parts[0]), float.fromhex(parts[1])),
    "b": lambda parts: bytes.fromhex(parts[0]),
    "q": lambda parts: collections.deque(decode(part) for part in parts),
    "k": lambda parts: dict.fromkeys(decode(part) for part in parts).keys(),
    "m": lambda parts: dict(decode(part) for part in parts).items(),
    "v": lambda parts: dict(enumerate(decode(part) for part in parts)).values(),
    "a": _read_array,
    "r": lambda parts: range(*(decode(part) for part in parts)),
    "g": _read_iterator,
    "x": _read_exact,
    "y": _read_class,
}


def decode(item: Any) -> Any:
    """The inverse of `encode`."""
    if isinstance(item, list):
        return _READERS[item[0]](item[1:])
    if isinstance(item, dict):
        raise ValueError("an object, where plain data was expected")
    return item


def frame(kind: bytes, payload: bytes, nonce: bytes = NO_NONCE) -> bytes:
    """One frame as it goes over the channel."""
    return len(payload).to_bytes(4, "big") + nonce + kind + payload


def send(kind: bytes, payload: bytes, nonce: bytes = NO_NONCE) -> None:
    """Write a frame, from inside a sandbox."""
    rest = memoryview(frame(kind, payload, nonce))
    while rest:
        rest = rest[os.write(CHANNEL, rest) :]


def receive() -> tuple[bytes, bytes, bytes] | None:
    """Kind, payload and nonce of the next frame, inside a sandbox; None once the other side has closed."""
    header = _read_exactly(HEADER)
    if len(header) < HEADER:
        return None
    payload = _read_exactly(int.from_bytes(header[:4], "big"))
    return header[-1:], payload, header[4 : 4 + NONCE]


def _read_exactly(size: int) -> bytes:
    parts = []
    while size and (part := os.read(CHANNEL, min(size, 1 << 16))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
