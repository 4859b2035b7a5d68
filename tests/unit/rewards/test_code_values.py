"""The `code` reward on right programs whose results are not plain: judged where that is safe, None where it is not, never 0.

And on wrong ones of the same kinds, which gain nothing by it.
"""

from __future__ import annotations

from typing import Any

import pytest

from rlllm.core.records import Sample, Score
from rlllm.rewards.code.reward import Code

pytestmark = pytest.mark.usefixtures("isolation")


def score(code: str, meta: dict[str, Any]) -> Score:
    return Code(seconds=2.0).score_batch([Sample("p", f"```python\n{code}\n```", meta=meta)])[0]


def asserts(*lines: str) -> dict[str, Any]:
    return {"test_list": ["\n".join(lines)]}


RAISES = asserts("import pytest", "with pytest.raises(ValueError):", "    f(1)")
NAMED = asserts(
    "from solution import LowError",
    "try:",
    "    f(1)",
    "except ValueError as error:",
    "    assert type(error).__name__ == 'LowError'",
)


def returns(*expected: Any) -> dict[str, Any]:
    return {"tests": [{"call": "f", "args": [[3, 1, 2]], "expected": value} for value in expected]}


SORTED = asserts("xs = [3, 1, 2]", "f(xs)", "assert xs == [1, 2, 3]")
ADDER = asserts("assert f(2)(3) == 5", "assert f(0)(1) == 1")
HALF = "from fractions import Fraction\ndef f(x): return Fraction(x, 2)"
TENTH = "from decimal import Decimal\ndef f(xs): return Decimal('0.1')"
DAY = "import datetime\ndef f(y): return datetime.date(y, 2, 29)"
NODE = "class Node:\n    def __init__(self, val): self.val, self.next = val, None\n"
JUDGED = [
    # code, tests, value
    ("def f(xs): xs.sort()", SORTED, 1.0),
    ("def f(xs): xs.sort(reverse=True)", SORTED, 0.0),
    ("def f(xs): pass", SORTED, 0.0),
    ("def f(t): t[0].append(1)", asserts("a = [[], []]", "b = a[0]", "f(a)", "assert b == [1] and a == [[1], []]"), 1.0),
    ("def f(d, s): d['k'] = s.pop()", asserts("d, s = {}, {4}", "f(d, s=s)", "assert d == {'k': 4} and not s"), 1.0),
    ("def f(q): q.rotate()", asserts("from collections import deque", "q = deque('ab')", "f(q)", "assert q[0] == 'b'"), 1.0),
    ("def f(n): return lambda m: n + m", ADDER, 1.0),
    ("def f(n): return lambda m: n - m", ADDER, 0.0),
    ("import functools, operator\ndef f(n): return functools.partial(operator.add, n)", ADDER, 1.0),
    ("def f(n): return 5", ADDER, 0.0),
    ("def f(n): return [str.upper, str.lower]", asserts("assert f(1)[0]('a') == 'A'"), 1.0),
    (HALF, asserts("assert f(1) == 0.5", "assert f(1) + f(3) == 2"), 1.0),
    (HALF, asserts("assert f(1) == 0.25"), 0.0),
    (TENTH, returns(0.1), 1.0),
    (TENTH, returns(0.2), 0.0),
    (DAY, asserts("assert f(2024).isoformat() == '2024-02-29'"), 1.0),
    (DAY, asserts("from datetime import date", "assert f(2024) == date(2024, 2, 29)"), 1.0),
    (DAY, asserts("from datetime import date", "assert f(2024) == date(2024, 3, 1)"), 0.0),
    ("def f(x): return type(x)", asserts("assert f(1) is int and f('') == str"), 1.0),
    ("def f(xs): return (x for x in sorted(xs))", returns([1, 2, 3]), 1.0),
    ("def f(xs): return (x for x in sorted(xs))", returns([1, 2, 4]), 0.0),
    ("from collections import deque\ndef f(xs): return deque(xs)", returns([3, 1, 2]), 1.0),
    ("def f(xs): return dict.fromkeys(xs).keys()", returns([3, 1, 2]), 1.0),
    ("class Low(ValueError): pass\ndef f(n): raise Low(n)", RAISES, 1.0),
    ("class LowError(ValueError): pass\ndef f(n): raise LowError('no')", NAMED, 1.0),
    ("import array\ndef f(n): return array.array('i', range(n))", asserts("assert [*f(2)] == [0, 1] and len(f(2)) == 2"), 1.0),
]  # fmt: skip


@pytest.mark.parametrize(("code", "meta", "value"), JUDGED)
def test_a_value_that_is_not_plain_is_judged_where_it_becomes_data(
    code: str, meta: dict[str, Any], value: float
) -> None:
    assert score(code, meta).value == value


UNJUDGED = [
    # code, tests, what the note says
    (NODE + "def f(n): return Node(n)", asserts("assert f(3).val == 3"), "the tests want val of a Node"),
    (NODE + "def f(): return Node", asserts("assert f()(3).val == 3"), "the tests want val of a Node"),
    ("def f(xs):\n    xs.sort()\n    return xs", SORTED, "changes an argument that the tests look at"),
    ("def f(x): return object()", asserts("while True: pass", "assert f(1) == 1"), "before they called the solution"),
    ("def f(x): return x", asserts("import os", "os._exit(0)", "assert f(1) == 1"), "before they called the solution"),
]


@pytest.mark.parametrize(("code", "meta", "note"), UNJUDGED)
def test_what_cannot_be_judged_safely_is_none_and_says_why(code: str, meta: dict[str, Any], note: str) -> None:
    found = score(code, meta)
    assert found.value is None
    assert note in str(found.note)


AGREES = """
class Yes:
    def __getattr__(self, name): return lambda *a: True
    def __eq__(self, other): return True
    def __bool__(self): return True
    def __contains__(self, item): return True
    def __lt__(self, other): return True
def f(x): return Yes()
"""
CHEATS = [
    # code, tests
    (AGREES, asserts("assert f('abc').startswith('a')")),
    (AGREES, asserts("assert f('abc') == 'abc'")),
    (AGREES, asserts("assert f('abc')")),
    (AGREES, asserts("assert 'a' in f('abc')")),
    (AGREES, asserts("assert f('abc') < 3")),
    (AGREES, asserts("assert isinstance(f('abc'), str)")),
    (AGREES, returns(3)),
    ("def f(xs):\n    xs.clear()\n    return 7", asserts("xs = [3, 1]", "assert f(xs) == 3")),
    ("def f(xs):\n    xs.clear()", asserts("xs = [3, 1]", "assert f(xs) == sorted(xs)")),
]


@pytest.mark.parametrize(("code", "meta"), CHEATS)
def test_an_object_that_agrees_with_everything_is_worth_zero(code: str, meta: dict[str, Any]) -> None:
    assert score(code, meta).value == 0.0


def test_emptying_what_the_answer_is_compared_with_does_not_pass() -> None:
    found = score("def f(xs):\n    xs.clear()\n    return []", asserts("xs = [3, 1]", "assert f(xs) == sorted(xs)"))
    assert found.value is None
