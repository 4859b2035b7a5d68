"""The `code` reward on honest programs, right and wrong, in every shape of tests. Cheats are in tests/faults."""

from __future__ import annotations

import math
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample, Score
from rlllm.rewards.bench.cases import shipped
from rlllm.rewards.code.reward import Code, code_in, fenced_blocks
from rlllm.rewards.code.run_tests import Bench, Examination, same_output
from rlllm.rewards.code.suites import suite_of
from rlllm.rewards.composition import build
from rlllm.rewards.config import RewardSpec
from rlllm.sandbox import open_sandbox, shared_sandbox
from rlllm.sandbox.jobs import Limits, Outcome, Program

pytestmark = pytest.mark.usefixtures("isolation")

ADD = {"test_list": ["assert add(2, 3) == 5", "assert add(-1, 1) == 0"]}
CALLS = {
    "tests": [
        {"call": "add", "args": [2, 3], "expected": 5},
        {"call": "add", "kwargs": {"a": 1, "b": 0}, "expected": 1},
    ]
}
SUM = {"tests": [{"stdin": "2 3\n", "stdout": "5\n"}, {"stdin": "-1 1", "stdout": "0"}]}
PROMPT = 'from typing import List\n\n\ndef largest(xs: List[int]) -> int:\n    """The largest of xs."""\n'
LARGEST = {"entry_point": "largest", "test": "def check(candidate):\n    assert candidate([1, 3, 2]) == 3\n"}


def score(code: str, meta: dict[str, Any], prompt: str = "p", **settings: Any) -> Score:
    return Code(**{"seconds": 2.0, **settings}).score_batch([Sample(prompt, code, meta=meta)])[0]


RIGHT = [
    # code, tests
    ("def add(a, b): return a + b", ADD),
    ("add = lambda a, b: a + b", ADD),
    ("import operator\nadd = operator.add", ADD),
    ("class Adder:\n    def __call__(self, a, b): return a + b\nadd = Adder()", ADD),
    ("from functools import cache\n@cache\ndef add(a, b): return a + b", ADD),
    ("def add(a, b):\n    print('x' * 100)\n    return a + b\nassert add(1, 1) == 2", ADD),
    ("from __future__ import annotations\ndef add(a: Int, b: Int): return a + b", ADD),
    ("def add(a, b): return float(a + b)", ADD),
    ("class I(int): pass\ndef add(a, b): return I(a + b)", ADD),
    ("def add(a, b): return a + b\nif __name__ == '__main__': raise SystemExit(add(1, 2))", ADD),
    ("from dataclasses import dataclass\n@dataclass\nclass P:\n    n: int\ndef add(a, b): return P(a + b).n", ADD),
    ("def add(a, b): return a + b", CALLS),
    ("class Solution:\n    def add(self, a, b): return a + b", CALLS),
    ("a, b = map(int, input().split())\nprint(a + b)", SUM),
    ("import sys\nprint(sum(map(int, sys.stdin.read().split())), end='')\nsys.exit(0)", SUM),
    ("def main():\n    print(sum(map(int, open(0).read().split())))\nif __name__ == '__main__':\n    main()", SUM),
    ("print(sum(map(int, input().split())), '  ')\nprint()\n", SUM),
    ("import dataclasses\n@dataclasses.dataclass\nclass A:\n    x: int\nprint(eval(input().replace(' ', '+')))", SUM),
]  # fmt: skip


@pytest.mark.parametrize(("code", "meta"), RIGHT)
def test_a_right_program_of_any_style_passes(code: str, meta: dict[str, Any]) -> None:
    assert score(f"Here it is.\n```python\n{code}\n```\nDone.", meta) == Score(1.0, (code + "\n")[:300])


WRONG = [
    # code, tests, what the note says
    ("def add(a, b): return a - b", ADD, "test 1 of 2: AssertionError"),
    ("def add(a, b): return 5", ADD, "test 2 of 2: AssertionError"),
    ("def add(a, b): return a - b", CALLS, "test 1 of 2: add returned another value"),
    ("def plus(a, b): return a + b", ADD, "test 1 of 2: the solution raised NameError: the solution defines no add"),
    ("def add(a, b): return a + c", ADD, "test 1 of 2: the solution raised NameError: name 'c' is not defined"),
    ("def add(a, b): return {}[a]", ADD, "test 1 of 2: the solution raised KeyError: '2'"),
    ("def add(a, b): return add(a, b)", ADD, "test 1 of 2: the solution raised RecursionError"),
    ("def add(a, b) return", ADD, "test 1 of 2: the solution ended with status 1: SyntaxError: expected ':'"),
    ("import yaml", ADD, "the solution ended with status 1: ModuleNotFoundError: No module named 'yaml'"),
    ("def add(a, b):\n    import yaml", ADD, "the solution raised ModuleNotFoundError: No module named 'yaml'"),
    ("def add(a, b):\n    while True: pass", ADD, "test 1 of 2: the solution ran over the time limit"),
    ("while True: pass", SUM, "test 1 of 2: the solution ran over the time limit"),
    ("print(5)", SUM, "test 2 of 2: the output differs"),
    ("print(1 / 0)", SUM, "test 1 of 2: the solution ended with status 1: ZeroDivisionError: division by zero"),
    ("print(5)\nexit(3)", SUM, "test 1 of 2: the solution ended with status 3"),
    ("import sys\nsys.stdout.buffer.write(b'\\xff')", SUM, "test 1 of 2: the output is no UTF-8 text"),
    ("import os\nos.kill(os.getpid(), 11)", SUM, "test 1 of 2: the solution was ended by SIGSEGV"),
    ("while True: print('x' * 1000)", SUM, "test 1 of 2: the solution ran over the output limit"),
    ("'\0'", SUM, "test 1 of 2: the solution ended with status 1"),
    ("", SUM, "no code"),
]


@pytest.mark.parametrize(("code", "meta", "note"), WRONG)
def test_a_wrong_program_is_worth_zero_and_says_why(code: str, meta: dict[str, Any], note: str) -> None:
    found = score(f"```python\n{code}\n```", meta, seconds=0.5)
    assert found.value == 0.0
    assert note in str(found.note)


COMPLETIONS = [
    # completion of PROMPT, value
    ("    return max(xs)\n", 1.0),
    ("    return max(xs)\n\n\nprint(largest([1]))\ndef broken(", 1.0),
    ("    return min(xs)\n", 0.0),
    ("```python\n    return max(xs)\n```", 1.0),
    (
        "Sure:\n```python\ndef largest(xs: List[int]):\n    return helper(xs)\ndef helper(xs):\n    return max(xs)\n```",
        1.0,
    ),
    ("```python\nfrom __future__ import annotations\ndef largest(xs: List[int]): return max(xs)\n```", 1.0),
    ("def largest(xs): return max(xs)", 1.0),
    (PROMPT + "    return max(xs)", 1.0),
    ("    return xs[", 0.0),
    ("", 0.0),
]


@pytest.mark.parametrize(("completion", "value"), COMPLETIONS)
def test_a_completion_of_a_prompt_is_a_body_or_a_whole_function(completion: str, value: float) -> None:
    assert score(completion, LARGEST, PROMPT).value == value


def test_the_share_of_tests_is_counted_where_that_is_asked_for() -> None:
    right_once = "def add(a, b): return 0"
    assert score(right_once, ADD, partial=True) == Score(0.5, right_once, "test 1 of 2: AssertionError")
    assert score("a, b = map(int, input().split())\nprint(a * b + (a < 0))", SUM, partial=True).value == 0.5
    assert score("import os\ndef add(a, b): return a + b if a > 0 else os._exit(0)", ADD, partial=True).value == 0.5


FUNCTIONS = [
    # tests, code, value: None where the tests can judge no solution
    ({"test_list": ["assert apply(len, 'ab') == 2"]}, "def apply(f, x): return f(x)", None),
    ({"test_list": ["import yaml\nassert f(1) == 1"]}, "def f(x): return x", None),
    ({"test_list": ["assert f(1) == 1"], "test_setup_code": "1 / 0"}, "def f(x): return x", None),
    ({"test_list": ["assert list(f(3)) == [0, 1, 2]"]}, "def f(n):\n    yield from range(n)", 1.0),
    ({"test_list": ["assert list(f(3)) == [0, 1, 2]"]}, "def f(n): return range(n)", 1.0),
    ({"test_list": ["assert f(3) == [0, 1, 2]"]}, "def f(n): return range(n)", 0.0),
    ({"test_list": ["try:\n    f(0)\n    assert False\nexcept ZeroDivisionError:\n    pass"]}, "def f(n): return 1 / n", 1.0),
    ({"test_list": ["assert isclose(f(4), math.sqrt(4))"], "test_imports": ["from math import *"]}, "def f(x): return 2", 1.0),
    ({"test_list": ["assert sum(10, 15) == 25"]}, "def sum(a, b): return a + b", 1.0),
    ({"tests": [{"call": "f", "args": [], "expected": [[1, 2], "é"]}]}, "def f(): return ((1, 2), 'é')", 1.0),
    ({"tests": [{"call": "f", "args": [], "expected": 0.1}]}, "def f(): return 0.1000001", 0.0),
    ({"tests": [{"call": "f", "args": [], "expected": 0.1}], "tolerance": 1e-3}, "def f(): return 0.1000001", 1.0),
    ({"tests": [{"stdin": "", "stdout": "a 0.1"}], "tolerance": 1e-3}, "print('a', 0.1000001)", 1.0),
    ({"tests": [{"stdin": "", "stdout": "3"}], "tolerance": 1}, "print(4)", 1.0),
    ({"tests": [{"stdin": "", "stdout": "3"}], "tolerance": 1}, "print(987654321)", 0.0),
    ({"tests": [{"stdin": "", "stdout": "3"}], "tolerance": 2}, "print(-3)", 0.0),
    ({"tests": [{"stdin": "", "stdout": "3"}], "tolerance": 2}, "print(0)", 0.0),
    ({"tests": [{"call": "f", "args": [], "expected": 3}], "tolerance": 1}, "def f(): return 987654321", 0.0),
    ({"tests": [{"call": "f", "args": [], "expected": [1e9]}], "tolerance": 1}, "def f(): return [1e9 + 2]", 0.0),
    ({"tests": [{"call": "f", "args": [], "expected": [1e9]}], "relative_tolerance": 1e-6}, "def f(): return [1e9 + 2]", 1.0),
    ({"tests": [{"stdin": "", "stdout": "1e9"}], "relative_tolerance": 1e-6}, "print(1e9 + 2)", 1.0),
    ({"tests": [{"stdin": "", "stdout": "1e9"}], "relative_tolerance": 1e-6}, "print(1e9 + 2e4)", 0.0),
    ({"tests": [{"stdin": "", "stdout": "1"}], "relative_tolerance": 1}, "print(1)", None),
    ({"input_output": {"fn_name": "f", "inputs": [[1]], "outputs": [[2]]}}, "def f(x): return x + 1", 1.0),
    ({"input_output": {"fn_name": "f", "inputs": [[1]], "outputs": [[2, 3]]}}, "def f(x): return x + 1", 0.0),
    ({"answer": "5"}, "def f(x): return x", None),
    ({"tests": [{"call": "f", "args": [], "expected": [math.nan, 1]}]}, "def f(): return float('nan'), 1", 1.0),
    ({"tests": [{"call": "f", "args": [], "expected": [1.5, 1]}]}, "def f(): return float('nan'), 1", 0.0),
    ({"tests": [{"call": "f", "args": [], "expected": "x" * (3 << 20)}]}, "def f(): return 'x' * (3 << 20)", None),
    ({"tests": [{"stdout": "x" * 600_000}]}, "print('x' * 600_000)", 1.0),
]  # fmt: skip


@pytest.mark.parametrize(("meta", "code", "value"), FUNCTIONS)
def test_what_tests_may_hold(meta: dict[str, Any], code: str, value: float | None) -> None:
    found = score(code, meta)
    assert (found.value, found.note is None) == (value, value == 1.0)


def test_one_program_gives_one_score_since_its_dice_fall_the_same_way() -> None:
    rolls = "import random\ndef roll(): return [random.random(), hash('a'), list(set('abcdef'))]"
    known = "[0.8444218515250481, hash('a'), list(set('abcdef'))]"
    meta = {"test_list": [f"assert roll() == {known}"]}
    assert [score(rolls, meta).value for _ in range(6)] == [1.0] * 6
    script = "import random\nprint(random.random())"
    assert score(script, {"tests": [{"stdout": "0.8444218515250481"}]}).value == 1.0


def test_a_batch_is_scored_in_order_and_one_that_hangs_holds_up_no_other() -> None:
    programs = ["while True: pass", *["def add(a, b): return a + b", "def add(a, b): return 5"] * 6]
    start = time.monotonic()
    found = Code(seconds=1.0).score_batch([Sample("p", code, meta=ADD) for code in programs])
    assert [one.value for one in found] == [0.0, *[1.0, 0.0] * 6]
    assert time.monotonic() - start < 10


def test_a_sandbox_that_fails_is_an_error_and_never_a_zero() -> None:
    class Broken:
        channel = socket.socketpair()[0]

        def start(self, program: Program) -> Broken:
            return self

        def wait(self) -> Outcome:
            return Outcome("setup", None, b"", b"no room", 0.0)

        def kill(self) -> None:
            """Nothing runs."""

    with pytest.raises(RuntimeError, match="did not start a program: no room"):
        suite_of(Sample("p", "", meta=SUM)).judge([(True, "print(5)")], Bench(Broken()))  # type: ignore[arg-type]


def test_a_batch_that_is_given_up_ends_the_scripts_under_way_and_starts_no_other() -> None:
    bench = Bench(open_sandbox("none"), Limits(wall_seconds=30.0))
    tests = suite_of(Sample("p", "", meta={"tests": [{"stdout": "1"}] * 40}))
    with ThreadPoolExecutor(1) as pool:
        judged = pool.submit(tests.judge, [(True, "import time\ntime.sleep(1)\nprint(1)")], bench)
        time.sleep(0.5)
        bench.stop()
        start = time.monotonic()
        judged.exception(20)
    assert time.monotonic() - start < 10


def test_an_empty_batch_is_an_empty_list() -> None:
    assert Code().score_batch([]) == []


REFUSED = [{"isolation": "half"}, {"isolation": ""}, {"seconds": 0}, {"seconds": float("nan")}, {"memory_mb": 8}]


@pytest.mark.parametrize("arguments", REFUSED, ids=repr)
def test_arguments_that_make_no_sense_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"isolation|seconds|memory_mb"):
        build([RewardSpec.model_validate({"name": "code", **arguments})])


BLOCKS = [
    # text, blocks
    ("no code", []),
    ("```python\na\n```", [("python", "a\n")]),
    ("```\na\n```\n~~~py\nb\n~~~", [("", "a\n"), ("py", "b\n")]),
    ("````python\n```\na\n````", [("python", "```\na\n")]),
    ("1. so:\n   ```Python\n   if a:\n       b\n   ```", [("python", "if a:\n    b\n")]),
    ("```python\n    return 1\n", [("python", "    return 1\n")]),
    ("```python title=x\na\n```\r\n", [("python", "a\n")]),
    ("`a` and ``` b ``` inline\n", []),
    ("```python\na\n``` and more\n```", [("python", "a\n``` and more\n")]),
]


@pytest.mark.parametrize(("text", "blocks"), BLOCKS)
def test_fenced_blocks_are_found(text: str, blocks: list[tuple[str, str]]) -> None:
    assert fenced_blocks(text) == blocks


CHOICES = [
    # completion, blocks that may be the program: whether labelled as Python, and the text
    ("```python\na\n```\n```python\nb\n```", [(True, "a\n"), (True, "b\n")]),
    ("```python\na\n```\nprints\n```\n5\n```", [(True, "a\n"), (False, "5\n")]),
    ("```\na\n```\n```text\n5\n```", [(False, "a\n")]),
    ("```bash\nls\n```", []),
    ("```ipython3\na\n```", [(True, "a\n")]),
    ("```Python3.11\na\n```", [(True, "a\n")]),
    ("```tool_code\na\n```", [(True, "a\n")]),
    ("```pycon\n>>> a\n```", []),
    ("a = 1", [(False, "a = 1")]),
    ("[PYTHON]\na = 1\n[/PYTHON]\nDone.", [(True, "\na = 1\n")]),
    ("[BEGIN]\na = 1\n[DONE]", [(True, "\na = 1\n")]),
    ("<answer>\na = 1\n</answer>", [(True, "\na = 1\n")]),
    ("<answer>\n```python\na = 1\n```\n</answer>", [(True, "a = 1\n")]),
    ("[PYTHON]\na = 1", [(True, "\na = 1")]),
    ("print('<code>')", [(False, "print('<code>')")]),
    ("<think>\n```python\nb\n```\n</think>\na = 1", [(False, "\na = 1")]),
    ("<think>\n```python\nb\n```\n</think>\n", [(True, "b\n")]),
]


@pytest.mark.parametrize(("completion", "blocks"), CHOICES)
def test_blocks_that_may_be_the_program(completion: str, blocks: list[tuple[bool, str]]) -> None:
    assert code_in(completion, Examination([])) == blocks


def test_hostile_texts_are_read_in_linear_time() -> None:
    start = time.monotonic()
    for text in ("```" + "a" * 500_000 + "`", "`" * 500_000, " " * 500_000 + "x", "```\n" * 100_000, "~~~ " * 100_000):
        fenced_blocks(text)
    assert time.monotonic() - start < 3


OUTPUTS = [
    # found, wanted, tolerance, same
    ("5", "5\n", 0, True),
    ("5  \r\n\n\n", "5", 0, True),
    (" 5", "5", 0, False),
    ("5\n\n6", "5\n6", 0, False),
    ("", "\n", 0, True),
    ("1.0", "1", 0, False),
    ("1.0", "1", 1e-6, True),
    ("x 1.0", "x 1.1", 1e-6, False),
    ("x 1.0 2", "x 1.0", 1e-6, False),
    ("nan", "1", 1e9, False),
    ("YES", "yes", 0, False),
]


@pytest.mark.parametrize(("found", "wanted", "tolerance", "same"), OUTPUTS)
def test_outputs_are_compared_line_by_line(found: str, wanted: str, tolerance: float, same: bool) -> None:
    assert same_output(found, wanted, tolerance) is same


def test_every_shipped_case_is_judged_as_labelled() -> None:
    found = shipped("code", {})
    assert found is not None
    scores = Code(seconds=2.0).score_batch([case.sample for case in found.cases])
    wanted = [case.stated.value if case.stated else float(bool(case.label)) for case in found.cases]
    assert [score.value for score in scores] == wanted


def test_a_worker_that_is_killed_loses_its_sample_and_no_other() -> None:
    slow = "import time\ntime.sleep(2)\ndef add(a, b): return a + b"
    right = "def add(a, b): return a + b"
    sandbox = shared_sandbox("full")
    sandbox.run([Program("1")])
    threading.Timer(1.0, lambda: [worker.process.kill() for worker in list(sandbox._busy)[:1]]).start()  # type: ignore[attr-defined]
    found = Code().score_batch([Sample("p", code, meta=ADD) for code in [slow, *[right] * 6]])
    assert [one.value for one in found] == [None, *[1.0] * 6]
    assert "the process of the sandbox that ran the program is gone" in str(found[0].note)
    assert Code().score_batch([Sample("p", right, meta=ADD)])[0].value == 1.0


DEEP = "[" * 100_000 + "]" * 100_000
ODD: dict[str, dict[str, Any]] = {
    "a sum of 5,000 terms": {"test_list": ["assert f(1) == " + "+".join("1" * 5000)]},
    "5,000 signs": {"test_list": ["assert f(1) == " + "-" * 5000 + "1"]},
    "200,000 signs": {"test_list": ["assert f(1) == " + "-" * 200_000 + "1"]},
    "200,000 signs in a value": {"tests": [{"fn_name": "f", "input": "-" * 200_000 + "1", "output": "1"}]},
    "signs in what runs before": {"test_list": ["assert f(1) == 1"], "test_setup_code": "x = " + "-" * 200_000 + "1"},
    "deep tests": {"tests": DEEP},
    "a deep table": {"input_output": DEEP},
    "deep metadata": {"tests": [{"input": "1", "output": "1"}], "metadata": DEEP},
    "a deep value": {"tests": [{"fn_name": "f", "input": DEEP, "output": "1"}]},
    "half a character": {"test_list": ["assert f(1) == '\ud800'"]},
    "tests of nothing": {"tests": [None]},
    "a name that is no name": {"test": "def check(c):\n    assert c(1) == 1", "entry_point": "(" * 3000},
}


def test_odd_rows_are_none_with_a_note_and_the_others_are_judged() -> None:
    right = Sample("p", "def f(x): return x", meta={"test_list": ["assert f(1) == 1"]})
    odd = [Sample("p", "def f(x): return x", meta=meta) for meta in ODD.values()]
    found = Code().score_batch([*odd, right])
    assert {name: score.value for name, score in zip(ODD, found, strict=False)} == dict.fromkeys(ODD)
    assert all(score.note for score in found[:-1])
    assert found[-1].value == 1.0


def test_a_row_without_a_message_is_judged_by_its_tests() -> None:
    meta = {"test": "def check(c):\n    assert c(1) == 1", "entry_point": "f"}
    assert Code().score_batch([Sample([], "def f(x): return x", meta=meta)])[0].value == 1.0
