"""Rows of known shapes as tests; rows that hold none, or none that can be read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rlllm.core.records import Prompt, Sample
from rlllm.rewards.code.run_tests import Examination, ScriptTests
from rlllm.rewards.code.suites import UnfitRowError, suite_of

PROMPT = 'import math\n\ndef helper(x):\n    return x\n\ndef area(r):\n    """Of a circle."""\n'
CHECK = "def check(candidate):\n    assert candidate(1) == helper(3)\n"


def suite(prompt: Prompt = "p", **meta: Any) -> Any:
    return suite_of(Sample(prompt, "", meta=meta))


def test_a_humaneval_row_goes_on_from_its_prompt() -> None:
    found = suite(PROMPT, test=CHECK, entry_point="area")
    assert found == Examination([{"source": "check(area)"}], [CHECK], ["area"], PROMPT)


def test_the_last_message_is_the_prompt_of_a_chat() -> None:
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": PROMPT.rstrip()}]
    assert suite(chat, test=CHECK, entry_point="area").prefix == PROMPT


@pytest.mark.parametrize("prompt", ["Write area(r).", "Hello", "x = 1", ""])
def test_a_prompt_that_does_not_begin_the_function_is_no_part_of_the_program(prompt: str) -> None:
    found = suite(prompt, test=CHECK, entry_point="area")
    assert found.prefix == ""
    assert found.names == ["area", "helper"]


NAMES = [
    # tests, setup, imports, names of the solution, what is set up
    (["assert add(1, 2) == 3"], "", [], ["add"], []),
    (["assert set(find([1])) == {1}", "x = 2\nassert twice(x) == 4"], "", [], ["find", "twice"], []),
    (["assert math.isclose(root(4), 2)"], "", [], ["root"], ["import math"]),
    (["assert math.isclose(root(4), 2)"], "import math", [], ["root"], []),
    (["assert isclose(root(4), 2)"], "", ["from math import isclose"], ["root"], []),
    (["assert sum(10, 15) == 6"], "", [], ["sum"], []),
    (["assert [f(x) for x in range(3)] == list(map(lambda y: y, [0, 1, 2]))"], "", [], ["f"], []),
    (["assert f(N) == 1"], "N = 3", [], ["f"], []),
]


@pytest.mark.parametrize(("tests", "setup", "imports", "names", "added"), NAMES)
def test_names_that_an_mbpp_row_does_not_define_are_the_solutions(
    tests: list[str], setup: str, imports: list[str], names: list[str], added: list[str]
) -> None:
    found = suite(test_list=tests, test_setup_code=setup, test_imports=imports)
    assert found.names == names
    assert found.setup == [*added, *imports, setup]
    assert found.tests == [{"source": test} for test in tests]


def test_an_apps_row_is_a_script_or_a_function() -> None:
    table = {"inputs": ["1 2\n", ["3", "4"]], "outputs": ["3\n", ["7"]]}
    assert suite(input_output=json.dumps(table)) == ScriptTests([("1 2\n", "3\n"), ("3\n4", "7")])
    called = suite(input_output={"fn_name": "pair", "inputs": [[1], [2], [3]], "outputs": [[5], [6, 7], 8]})
    assert [test["expected"] for test in called.tests] == [[["l", 5], 5], [["l", 6, 7]], [8]]
    assert [test["args"] for test in called.tests] == [["l", 1], ["l", 2], ["l", 3]]


def test_plain_tests_are_scripts_or_calls() -> None:
    assert suite(tests=[{"stdin": "1", "stdout": "2"}, {"stdout": "3"}]) == ScriptTests([("1", "2"), ("", "3")])
    called = suite(tests=[{"call": "f", "args": [1, (2,)], "kwargs": {"k": None}, "expected": {"a": 1}}], tolerance=0.1)
    assert called.tests == [
        {
            "call": "f",
            "args": ["l", 1, ["t", 2]],
            "kwargs": ["d", "k", None],
            "expected": [["d", "a", 1]],
            "tolerance": 0.1,
            "relative_tolerance": 0.0,
        }
    ]


UNFIT: list[dict[str, Any]] = [
    {},
    {"answer": "5"},
    {"tests": []},
    {"tests": "not json"},
    {"tests": {"stdin": "1"}},
    {"tests": [{"stdin": "1"}]},
    {"tests": [{"call": "f"}]},
    {"tests": [{"call": "f", "args": [object()], "expected": 1}]},
    {"tests": [{"stdout": "1"}], "tolerance": -1},
    {"tests": [{"stdout": "1"}], "tolerance": "near"},
    {"test": "def check(c): pass"},
    {"test": "def check(", "entry_point": "f"},
    {"test_list": ["assert f("]},
    {"test_list": ["assert True"]},
    {"test_list": "[1"},
    {"test_list": ["assert depth(root) == 1"], "test_setup_code": "root = Node(1)"},
    {"input_output": "{}"},
    {"input_output": {"inputs": [], "outputs": []}},
    {"input_output": {"inputs": ["1"], "outputs": []}},
    {"input_output": [1]},
    {"input_output": {"fn_name": "f", "inputs": [3], "outputs": []}},
]


@pytest.mark.parametrize("meta", UNFIT)
def test_a_row_that_cannot_be_read_says_so(meta: dict[str, Any]) -> None:
    with pytest.raises(UnfitRowError, match=r"tests|column"):
        suite(**meta)
