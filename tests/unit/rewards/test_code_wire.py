"""Plain data over the channel: what is sent comes back as the same plain types, and nothing else does."""

from __future__ import annotations

import array
import collections
import contextlib
import datetime
import decimal
import enum
import fractions
import json
import zoneinfo
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlllm.rewards.code import wire

Point = collections.namedtuple("Point", "x y")


class Level(enum.IntEnum):
    HIGH = 3


class Liar(int):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__

    def __index__(self) -> int:
        return 99


class Half(fractions.Fraction):
    """Of no use to the other side."""


class Loud(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "other"


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
KEYS = st.recursive(SCALARS | st.complex_numbers(allow_nan=False), lambda inner: st.tuples(inner, inner), max_leaves=4)
VALUES = st.recursive(
    KEYS,
    lambda inner: (
        st.lists(inner) | st.tuples(inner) | st.dictionaries(KEYS, inner) | st.sets(KEYS) | st.frozensets(KEYS)
    ),
    max_leaves=12,
)


def crossed(value: Any) -> Any:
    return wire.from_text(wire.to_text(value))


@given(VALUES)
@settings(max_examples=100, deadline=None)
def test_plain_data_comes_back_equal_and_of_the_same_type(value: Any) -> None:
    assert repr(crossed(value)) == repr(value) or crossed(value) == value
    assert type(crossed(value)) is type(value)


BASES = [
    # sent, what arrives
    (Liar(7), 7),
    (Level.HIGH, 3),
    (Loud("text"), "text"),
    (Point(1, 2), (1, 2)),
    (collections.Counter("aab"), {"a": 2, "b": 1}),
    (collections.OrderedDict(a=1), {"a": 1}),
    (bytearray(b"ab"), b"ab"),
    (Half(1, 2), fractions.Fraction(1, 2)),
    (decimal.Decimal("1.10"), decimal.Decimal("1.10")),
    (decimal.Decimal("-Infinity"), decimal.Decimal("-Infinity")),
    (datetime.date(2024, 2, 29), datetime.date(2024, 2, 29)),
    (datetime.datetime(2024, 2, 29, 1, 2, 3, 4), datetime.datetime(2024, 2, 29, 1, 2, 3, 4)),
    (datetime.time(1, 2), datetime.time(1, 2)),
    (datetime.timedelta(-1, 5, 6), datetime.timedelta(-1, 5, 6)),
    (int, int),
    (range(2, 9, 3), range(2, 9, 3)),
    (float("inf"), float("inf")),
    ("\ud800 \0 \u2028 é", "\ud800 \0 \u2028 é"),
    ([True, 1, 1.0, -0.0], [True, 1, 1.0, -0.0]),
]


@pytest.mark.parametrize(("sent", "arrives"), BASES)
def test_a_subclass_arrives_as_its_base(sent: Any, arrives: Any) -> None:
    found = crossed(sent)
    assert type(found) is type(arrives)
    assert repr(found) == repr(arrives)


def test_a_moment_keeps_its_place_in_time() -> None:
    sent = datetime.datetime(2024, 7, 1, 12, tzinfo=zoneinfo.ZoneInfo("UTC"))
    assert crossed(sent) == sent
    assert crossed(sent).utcoffset() == datetime.timedelta(0)


def test_an_integer_of_any_size_arrives() -> None:
    assert crossed(-(7**40_000)) == -(7**40_000)


def test_nan_arrives_as_nan() -> None:
    assert str(crossed(float("nan"))) == "nan"
    assert str(crossed(complex("nan+1j"))) == "(nan+1j)"


def test_an_iterator_arrives_as_an_iterator() -> None:
    found = crossed(number * 2 for number in range(3))
    assert next(found) == 0
    assert list(found) == [2, 4]


REFUSED = [object(), len, lambda: None, {"a": [object()]}, Exception("x"), Half, array.array("i", [1])]


@pytest.mark.parametrize("value", REFUSED)
def test_what_is_no_plain_data_is_refused(value: Any) -> None:
    with pytest.raises(wire.NotPlainError):
        wire.to_text(value)


def test_nesting_and_endless_iterators_are_bounded() -> None:
    nested: list[Any] = []
    nested.append(nested)
    with pytest.raises(wire.NotPlainError, match="nested too deep"):
        wire.to_text(nested)
    with pytest.raises(wire.NotPlainError, match="iterator over more than"):
        wire.to_text(iter(int, 1))


@given(st.recursive(st.none() | st.integers() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=4)))
@settings(max_examples=100, deadline=None)
def test_forged_text_raises_only_what_the_examiner_catches(forged: Any) -> None:
    with contextlib.suppress(ValueError, TypeError, LookupError, AttributeError):
        wire.from_text(json.dumps(forged).encode())


FORGED = [
    b"",
    b"{}",
    b"[",
    b'["y", 1]',
    b'["i", "zz"]',
    b'["d", 1]',
    b'["s", ["l"]]',
    b'["f", []]',
    b'["y", "open"]',
    b'["x", "os"]',
    b'["x", "Decimal", "1_0x"]',
    b'["x", "Fraction", "1", "0"]',
    b'["x", "date", 5]',
    b"\xff",
    b"[" * 5000,
]


@pytest.mark.parametrize("text", FORGED)
def test_malformed_text_is_an_error(text: bytes) -> None:
    with pytest.raises((ValueError, TypeError, LookupError, RecursionError)):
        wire.from_text(text)


def test_a_frame_says_how_long_it_is() -> None:
    framed = wire.frame(wire.CALL, b"abc", b"12345678")
    assert framed == b"\0\0\0\x03" + b"12345678" + b"C" + b"abc"
    assert len(framed) == wire.HEADER + 3
