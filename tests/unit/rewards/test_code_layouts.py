"""The `code` reward on the layouts of public data sets, and on completions as models write them.

`tests/cases/code.jsonl` holds cases from public reports. Debatable ones, decided: a Decimal is judged as the value that it is,
where the report has None; a value of another type that the tests name and that cannot leave the solution's process is None,
since equality with it is not known here; a program without the standard imports is right where the benchmark's own harness
gives them (LiveCodeBench, APPS, LeetCode's `Solution`), and wrong where it does not (HumanEval, MBPP).
"""

from __future__ import annotations

import base64
import json
import pickle
import zlib
from pathlib import Path
from typing import Any

import pytest

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample
from rlllm.rewards.bench.cases import read_cases
from rlllm.rewards.code.reward import Code

CASES = Path(__file__).parents[2] / "cases" / "code.jsonl"
ADD = "def add(a, b): return a + b"
SUM = "a, b = map(int, input().split())\nprint(a + b)"
PAIR = [{"input": "3 4\n", "output": "7\n"}, {"input": "1 1\n", "output": "2\n"}]
TABLE = {"inputs": ["3 4\n", "1 1\n"], "outputs": ["7\n", "2\n"]}
TWO_SUM = "class Solution:\n    def twoSum(self, nums: List[int], target: int) -> List[int]:\n        return [0, 1]"
PRIVATE = base64.b64encode(
    zlib.compress(pickle.dumps(json.dumps([{"input": "5 5", "output": "10", "testtype": "stdin"}])))
)
HARMFUL = base64.b64encode(zlib.compress(b"cos\nsystem\n(S'echo'\ntR."))
STACK = "class Stack:\n    def __init__(self): self.items = []\n    def push(self, x): self.items.append(x)\n"
STACK += "    def pop(self): return self.items.pop()\n    def __len__(self): return len(self.items)\n"
STACK_TEST = (
    "def test_stack():\n    s = Stack()\n    s.push(3)\n    assert len(s) == 1 and s.items == [3] and s.pop() == 3\n"
)
RAISES = """import pytest
from solution import f

pytestmark = pytest.mark.usefixtures("isolation")

def test_f():
    with pytest.raises(ValueError, match='odd'):
        f(1)
"""
OWN_ERROR = """import pytest
from solution import f, OddError

def test_f():
    with pytest.raises(OddError):
        f(1)
"""
PARAMETRIZED = """import pytest
@pytest.mark.parametrize('a, b', [(1, 2), (2, 4)])
def test_f(a, b):
    assert f(a) == pytest.approx(b)
"""
FIXTURE = """import pytest
@pytest.fixture
def three():
    yield 3
class TestF:
    def test_f(self, three):
        assert f(three) == 9
"""
UNITTEST = """import unittest
class TestCases(unittest.TestCase):
    def setUp(self): self.n = 3
    def test_f(self):
        self.assertEqual(f(self.n), 9)
"""


def score(completion: str, meta: dict[str, Any], **settings: Any) -> Any:
    sample = Sample("p", completion, meta.get("answer"), {k: v for k, v in meta.items() if k != "answer"})
    return Code(**{"seconds": 2.0, **settings}).score_batch([sample])[0]


def test_cases_of_public_reports_hold() -> None:
    rows = [json.loads(line) for line in CASES.read_text().splitlines()]
    cases = read_cases([(row["id"], row["row"]) for row in rows], CASES).cases
    scores = Code(seconds=2.0).score_batch([case.sample for case in cases])
    assert {row["id"]: one.value for row, one in zip(rows, scores, strict=True)} == {
        row["id"]: row["expected"] for row in rows
    }


ADD_TESTS = {"test_list": ["assert add(2, 3) == 5", "assert add(-1, 1) == 0"]}
ADD_BODY = "def add(a, b):\n    total = a\n\n    return total + b\n"
PROSE = [
    # completion without a fence, the row's tests, value
    (f"Here's the function, which isn't long:\n\n{ADD_BODY}", ADD_TESTS, 1.0),
    (f"Sure (as asked):\n{ADD_BODY}\nIt's the sum of a and b.\nExample: add(2, 3) gives 5.", ADD_TESTS, 1.0),
    (f"Note: none\n{ADD_BODY}\nDone", ADD_TESTS, 1.0),
    ("We import operator.\nimport operator\n\nNow the function:\nadd = operator.add\nThat is all.", ADD_TESTS, 1.0),
    (
        "First a helper.\ndef plus(a, b):\n    return a + b\nIt is used here:\ndef add(a, b):\n    return plus(a, b)\n",
        ADD_TESTS,
        1.0,
    ),
    ("My try:\ndef add(a, b):\n    return a - b\nNo, that is wrong.\ndef add(a, b):\n    return a + b", ADD_TESTS, 1.0),
    (
        "My try:\ndef add(a, b):\n    return a + b\nNo, I changed my mind.\ndef add(a, b):\n    return a - b",
        ADD_TESTS,
        0.0,
    ),
    ("It goes so:\n\n    def add(a, b):\n        return a + b\n\nAnd that is it.", ADD_TESTS, 1.0),
    ('Here:\ndef add(a, b):\n    """It\'s a sum.\nOver lines.\n    """\n    return a + b\n', ADD_TESTS, 1.0),
    ("Here:\ndef add(a, b):\n    return a +\nI hope it helps.", ADD_TESTS, 0.0),
    ("Here:\ndef plus(a, b):\n    return a + b\n", ADD_TESTS, 0.0),
    ("The function add returns the sum of a and b.", ADD_TESTS, 0.0),
    ("def add(a, b) is a function that returns a + b.", ADD_TESTS, 0.0),
    ("Sum", ADD_TESTS, 0.0),
    (
        "We read both numbers.\na, b = map(int, input().split())\nprint(a + b)\nThis prints the sum.",
        {"tests": PAIR},
        1.0,
    ),
    ("The output is 7.\nprint(7)", {"tests": PAIR}, 0.0),
    ("```\nHere is the program:\n" + ADD_BODY + "```", ADD_TESTS, 1.0),
    ("```python\nHere is the program:\n" + ADD_BODY + "```", ADD_TESTS, 0.0),
    (f"The sum:\n{TWO_SUM}\nDone.", {"test_list": ["assert Solution().twoSum([2, 7], 9) == [0, 1]"]}, 1.0),
]


@pytest.mark.parametrize(("completion", "meta", "value"), PROSE)
def test_a_program_is_found_in_prose_without_a_fence(completion: str, meta: dict[str, Any], value: float) -> None:
    assert score(completion, meta).value == value


def test_prose_before_a_prompts_function_is_left_out() -> None:
    prompt = 'def add(a, b):\n    """Sum."""\n'
    row = {"test": "def check(candidate):\n    assert candidate(2, 3) == 5\n", "entry_point": "add"}
    for completion, value in ((f"Sure, I can do that:\n{ADD_BODY}", 1.0), ("    return a + b", 1.0), ("Sure.", 0.0)):
        assert Code(seconds=2.0).score_batch([Sample(prompt, completion, None, row)])[0].value == value


def test_a_hostile_text_without_a_fence_costs_no_more_than_its_limits() -> None:
    for piece in ("x = (\n", "def f(:\n", "import a b\n", "    x\n", '"""\n', "Note: no\n"):
        assert score(piece * (60_000 // len(piece)), ADD_TESTS).value == 0.0


LAYOUTS = [
    # columns, a right program, a wrong one
    ({"tests": PAIR}, SUM, "print(7)"),
    ({"tests": json.dumps(TABLE)}, SUM, "print(7)"),
    ({"input_output": json.dumps(TABLE)}, SUM, "print(7)"),
    ({"test_cases": PAIR}, SUM, "print(7)"),
    ({"test_cases": ["assert add(3, 4) == 7", "assert add(1, 1) == 2"]}, ADD, "def add(a, b): return 7"),
    ({"test_cases": "assert add(3, 4) == 7\nassert add(1, 1) == 2"}, ADD, "def add(a, b): return 7"),
    ({"verification_info": {"language": "python", "test_cases": PAIR}}, SUM, "print(7)"),
    (
        {
            "verification_info": {
                "test_cases": [{"fn_name": "add", "type": "function_call", "input": [3, 4], "output": 7}]
            }
        },
        ADD,
        "def add(a, b): return 8",
    ),
    ({"public_test_cases": json.dumps([{**PAIR[0], "testtype": "stdin"}])}, SUM, "print(8)"),
    (
        {"public_test_cases": json.dumps([{**PAIR[0], "testtype": "stdin"}]), "private_test_cases": PRIVATE.decode()},
        SUM,
        "print(7)",
    ),
    (
        {
            "public_test_cases": [{"input": "[2, 7]\n9", "output": "[0, 1]", "testtype": "functional"}],
            "metadata": '{"func_name": "twoSum"}',
        },
        TWO_SUM,
        TWO_SUM.replace("[0, 1]", "[1, 0]"),
    ),
    (
        {
            "tests": [
                {"input": '"ab"\n2', "output": '"abab"', "testtype": "functional", "metadata": {"func_name": "rep"}}
            ]
        },
        "def rep(s, n): return s * n",
        "def rep(s, n): return s",
    ),
    ({"tests": {"fn_name": "add", "inputs": ["3\n4"], "outputs": ["7"]}}, ADD, "def add(a, b): return '7'"),
    (
        {"tests": {"fn_name": "f", "inputs": [{"x": 3}], "outputs": [[4]]}},
        "def f(x): return x + 1",
        "def f(x): return x",
    ),
    (
        {"public_tests": {"input": ["3 4"], "output": ["7"]}, "generated_tests": {"input": ["1 1"], "output": ["2"]}},
        SUM,
        "print(7)",
    ),
    ({"reward_model": {"ground_truth": json.dumps(TABLE), "style": "rule"}}, SUM, "print(7)"),
    ({"reward_model": {"ground_truth": {**TABLE, "fn_name": None}}}, SUM, "print(7)"),
    ({"answer": json.dumps(TABLE)}, SUM, "print(7)"),
    ({"ground_truth": json.dumps(["assert add(3, 4) == 7"])}, ADD, "def add(a, b): return 8"),
    (
        {"test": "from solution import add\n\ndef test_add():\n    assert add(3, 4) == 7\n"},
        ADD,
        "def add(a, b): return 8",
    ),
    (
        {"test": "import solution\n\ndef test_add():\n    assert solution.add(3, 4) == 7\n"},
        ADD,
        "def add(a, b): return 8",
    ),
    (
        {"test": "from solution import *\n\ndef test_add():\n    assert add(3, 4) == 7\n"},
        ADD,
        "def add(a, b): return 8",
    ),
    (
        {"test": RAISES},
        "def f(x): raise ValueError('odd number')",
        "def f(x): raise KeyError('odd number')",
    ),
    (
        {"test": OWN_ERROR},
        "class OddError(Exception): pass\ndef f(x): raise OddError(x)",
        "class OddError(Exception): pass\ndef f(x): raise ValueError(x)",
    ),
    (
        {"test": PARAMETRIZED},
        "def f(x): return 2.0000000001 * x",
        "def f(x): return 2",
    ),
    (
        {"test": FIXTURE},
        "def f(x): return x * x",
        "def f(x): return x",
    ),
    (
        {"test": UNITTEST},
        "def f(x): return x * x",
        "def f(x): return x",
    ),
    ({"test": STACK_TEST}, STACK, STACK.replace("self.items.pop()", "2")),
    ({"test_list": ["assert Solution().twoSum([2, 7], 9) == [0, 1]"]}, TWO_SUM, TWO_SUM.replace("0, 1", "1, 0")),
    (
        {
            "test": "def check(candidate):\n    assert candidate([2, 7], 9) == [0, 1]\n",
            "entry_point": "Solution().twoSum",
        },
        TWO_SUM,
        TWO_SUM.replace("0, 1", "1, 0"),
    ),
    (
        {
            "test": "import numpy as np\nfor i, out in [(1, 1.0), (4, 2.0)]:\n    assert np.allclose(root(i), out)\n",
            "test_list": ["assert root(1) == 1"],
        },
        "import math\ndef root(x): return math.sqrt(x)",
        "def root(x): return 1.0",
    ),
]


@pytest.mark.parametrize(("meta", "right", "wrong"), LAYOUTS)
def test_a_layout_passes_a_right_program_and_no_wrong_one(meta: dict[str, Any], right: str, wrong: str) -> None:
    found = [score(f"```python\n{code}\n```", meta) for code in (right, wrong)]
    assert [one.value for one in found] == [1.0, 0.0], [one.note for one in found]


UNFIT = [
    # columns, a program, what the note says
    ({"verification_info": {"language": "cpp", "test_cases": PAIR}}, SUM, "a program in cpp"),
    ({"tests": [{"input": "1", "output": "1", "testtype": "functional"}]}, SUM, "nothing says which"),
    ({"tests": [PAIR[0], {"call": "f", "args": [], "expected": 1}]}, SUM, "some tests are runs of a script"),
    ({"test": "def test_add():\n    add(1, 2)\n"}, ADD, "the tests assert nothing"),
    ({"test": "import pytest\ndef test_f(capsys):\n    assert add(1, 2) == 3\n"}, ADD, "no fixture capsys"),
    ({"public_test_cases": [PAIR[0]], "private_test_cases": HARMFUL.decode()}, SUM, "os.system in a pickle"),
    ({"reward_model": {"ground_truth": "7"}, "answer": "7"}, SUM, "the row has no tests"),
    (
        {"test": "def check(candidate):\n    assert candidate(list_node([1])) == 1\n", "entry_point": "f"},
        "def f(x): return 1",
        "neither they nor the solution define: list_node",
    ),
    (
        {"test_list": ["assert f() == UUID(int=1)"], "test_imports": ["from uuid import UUID"]},
        "import uuid\ndef f(): return uuid.UUID(int=1)",
        "the tests expect a UUID",
    ),
    (
        {"test": "def test_f():\n    a = Node(1)\n    b = Node(1)\n    assert a == b\n"},
        "class Node:\n    def __init__(self, x): pass",
        "objects of the solution's own class",
    ),
]


@pytest.mark.parametrize(("meta", "code", "note"), UNFIT)
def test_tests_that_cannot_judge_give_no_score(meta: dict[str, Any], code: str, note: str) -> None:
    found = score(f"```python\n{code}\n```", meta)
    assert (found.value, note in str(found.note)) == (None, True), found.note


TESTS = {"test_list": ["assert add(2, 3) == 5"]}
SCRIPT = {"tests": [{"stdin": "2 3\n", "stdout": "5\n"}]}
USAGE = "```python\nprint(add(1, 2))\n```"
COMPLETIONS = [
    # completion, tests, value
    (f"```python\n{ADD}\n```\nUse it so:\n{USAGE}", TESTS, 1.0),
    (f"```\n{ADD}\n```\nUse it so:\n{USAGE}", TESTS, 1.0),
    (f"```python\nfrom solution import add\n```\n```python\n{ADD}\n```", TESTS, 1.0),
    (f"```python\n{ADD}\n```\n```python\n>>> add(1, 2)\n3\n```", TESTS, 1.0),
    ("```python\ndef add(a, b): return a - b\n```\nThat is wrong; rather:\n```python\n" + ADD + "\n```", TESTS, 1.0),
    ("```python\n" + ADD + "\n```\nor:\n```python\ndef add(a, b): return a - b\n```", TESTS, 0.0),
    (
        "```python\nimport operator\nPLUS = operator.add\n```\n```python\ndef add(a, b): return PLUS(a, b)\n```",
        TESTS,
        1.0,
    ),
    ("```python\ndef add(a, b): return plus(a, b)\n```\n```python\ndef plus(a, b): return a + b\n```", TESTS, 1.0),
    (
        "```python\nprint(1 / 0)\ndef plus(a, b): return a + b\n```\n```python\ndef add(a, b): return plus(a, b)\n```",
        TESTS,
        1.0,
    ),
    (f"```python\n{ADD}\n```\n```python\ndef test():\n    assert add(1, 1) == 2\ntest()\n```", TESTS, 1.0),
    (f"```python\n{SUM}\n```\nFor 1 2 it prints:\n```\n3\n```", SCRIPT, 1.0),
    (f"```python\ndef add(a, b):\n    return a + b\n{SUM}\n```\n```python\nprint(add(1, 2))\n```", SCRIPT, 1.0),
    ("```python\ndef main():\n    print(sum(map(int, input().split())))\n```\n```python\nmain()\n```", SCRIPT, 1.0),
    (f"```python\n{SUM}\n```\n```python\nassert solve('1 2') == \n```", SCRIPT, 1.0),
    (
        "```python\nprint(sqrt(4), gcd(4, 6), Counter('a')['a'], heappop([1]))\n```",
        {"tests": [{"input": "", "output": "2.0 2 1 1"}]},
        1.0,
    ),
    (
        "```python\ndef f(x: List[int]) -> int: return defaultdict(int)[0] + inf\n```",
        {"tests": {"fn_name": "f", "inputs": [[1]], "outputs": [1]}},
        0.0,
    ),
    (
        "```python\ndef f(x: List[int]) -> int: return defaultdict(int)[0] + max(x)\n```",
        {"tests": {"fn_name": "f", "inputs": [[[1]]], "outputs": [1]}},
        1.0,
    ),
    ("```python\nclass Solution:\n    def add(self, a, b): return pow(a, 1, 100) + b\n```", TESTS, 1.0),
    ("```python\ndef add(a: List[int], b): return a + b\n```", TESTS, 0.0),
    ("```python\nx = 1\n```", {"tests": {"fn_name": "add", "inputs": [[1, 2]], "outputs": [3]}}, 0.0),
    (
        "```python\nimport sys\ndef f(n): return 0 if n == 0 else 1 + f(n - 1)\n```",
        {"tests": {"fn_name": "f", "inputs": [[9000]], "outputs": [9000]}},
        1.0,
    ),
    ("```python\ndef f(d): return d.keys()\n```", {"test_list": ["assert list(f({1: 2})) == [1]"]}, 1.0),
    (
        "```python\nfrom collections import deque\ndef f(x): return deque(x)\n```",
        {"test_list": ["assert list(f([1])) == [1]"]},
        1.0,
    ),
    (
        "```python\nimport numpy as np\ndef f(x): return np.array(x)\n```",
        {"test_list": ["import numpy as np\nassert np.allclose(f([1]), [1])"]},
        1.0,
    ),
    ("```python\nimport numpy as np\ndef f(x): return np.int64(x)\n```", {"test_list": ["assert f(1) == 1"]}, 1.0),
    (
        "```python\nimport numpy as np\ndef f(): return np.random.rand(1)[0]\n```",
        {"tests": [{"call": "f", "expected": 0.5488135039273248}]},
        1.0,
    ),
]


@pytest.mark.parametrize(("completion", "meta", "value"), COMPLETIONS)
def test_the_program_of_a_completion(completion: str, meta: dict[str, Any], value: float) -> None:
    found = score(completion, meta)
    assert found.value == value, found.note


CHEATS = [
    # tests, a program that is to gain nothing
    (
        {"test_list": ["assert f(3).startswith('a')"]},
        "class A:\n    def startswith(self, x): return True\ndef f(x): return A()",
    ),
    ({"test_list": ["assert Make(3).startswith('a')"]}, "class Make(str):\n    def __new__(cls, x): return 'b'"),
    ({"test_list": ["assert 5 in f(3)"]}, "class A:\n    def __contains__(self, x): return True\ndef f(x): return A()"),
    ({"test_list": ["assert Sum(3) == 5"]}, "class A:\n    def __eq__(self, x): return True\ndef Sum(x): return A()"),
    ({"test": "from solution import f\ndef test_f():\n    assert f(1) == 2\n"}, "import sys\ndef f(x): sys.exit(0)"),
    ({"tests": {"fn_name": "gcd", "inputs": [[4, 6]], "outputs": [2]}}, "x = 1"),
]


@pytest.mark.parametrize(("meta", "code"), CHEATS)
def test_an_object_of_the_solution_gains_nothing(meta: dict[str, Any], code: str) -> None:
    assert score(f"```python\n{code}\n```", meta).value == 0.0


def test_a_package_is_there_only_where_the_setting_names_it() -> None:
    code = "```python\nimport sortedcontainers\nprint(sortedcontainers.SortedList([2, 1])[0])\n```"
    meta = {"tests": [{"stdout": "1"}]}
    assert score(code, meta).value == 0.0
    for isolation in ("full", "none"):
        assert score(code, meta, packages=("sortedcontainers",), isolation=isolation).value == 1.0
    assert "No module named 'numpy'" in str(score("```python\nimport numpy\n```", meta, packages=()).note)


def test_packages_are_mounted_read_only() -> None:
    code = "```python\nimport numpy\nopen(numpy.__path__[0] + '/x.py', 'w')\n```"
    assert "Read-only file system" in str(score(code, {"tests": [{"stdout": ""}]}).note)


def test_a_package_that_is_not_installed_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="no-such-package"):
        Code(packages=("no-such-package",))
