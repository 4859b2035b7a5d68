"""The `code` reward over a server of the SandboxFusion protocol: the verdicts are those of the sandbox of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from run_code_server import RunCode, serving
from test_code_layouts import CHEATS, COMPLETIONS, LAYOUTS, UNFIT
from test_code_values import CHEATS as AGREEING
from test_code_values import JUDGED, UNJUDGED

from rlllm.core.errors import ConfigError, RewardError
from rlllm.core.records import Sample
from rlllm.rewards.code.reward import Code
from rlllm.rewards.composition import build
from rlllm.rewards.config import RewardSpec

ADD = {"test_list": ["assert add(2, 3) == 5", "assert add(-1, 1) == 3 - 3"]}
SUM = {"tests": [{"stdin": "2 3\n", "stdout": "5\n"}, {"stdin": "-1 1", "stdout": "0"}]}


@pytest.fixture(scope="module")
def server() -> Iterator[RunCode]:
    with serving() as running:
        yield running


def values(server: RunCode, rows: list[tuple[str, dict[str, Any]]], **settings: Any) -> list[Any]:
    samples = [
        Sample("p", text, meta.get("answer"), {k: v for k, v in meta.items() if k != "answer"}) for text, meta in rows
    ]
    return [one.value for one in Code(isolation=server.url, **{"seconds": 5.0, **settings}).score_batch(samples)]


def fenced(code: str) -> str:
    return f"```python\n{code}\n```"


def test_every_layout_has_the_same_verdicts(server: RunCode) -> None:
    rows = [(fenced(code), meta) for meta, right, wrong in LAYOUTS for code in (right, wrong)]
    assert values(server, rows) == [1.0, 0.0] * len(LAYOUTS)


def test_every_completion_has_the_same_verdict(server: RunCode) -> None:
    rows = [(completion, meta) for completion, meta, _ in COMPLETIONS]
    assert values(server, rows) == [value for _, _, value in COMPLETIONS]


def test_what_cannot_be_judged_and_what_cheats_has_the_same_verdict(server: RunCode) -> None:
    rows = [(fenced(code), meta) for meta, code, _ in UNFIT] + [(fenced(code), meta) for meta, code in CHEATS]
    assert values(server, rows) == [None] * len(UNFIT) + [0.0] * len(CHEATS)


def test_values_that_are_not_plain_have_the_same_verdict(server: RunCode) -> None:
    rows = [
        *((fenced(code), meta) for code, meta, _ in [*JUDGED, *UNJUDGED]),
        *((fenced(code), meta) for code, meta in AGREEING),
    ]
    assert values(server, rows) == [value for _, _, value in JUDGED] + [None] * len(UNJUDGED) + [0.0] * len(AGREEING)


ENDINGS = [
    # code, tests, value, what the note says
    ("def add(a, b): return a - b", ADD, 0.0, "test 1 of 2: AssertionError"),
    ("def add(a, b): return 5", ADD, 0.0, "test 2 of 2: AssertionError"),
    ("def plus(a, b): return a + b", ADD, 0.0, "the solution defines no add"),
    ("def add(a, b) return", ADD, 0.0, "SyntaxError: expected ':'"),
    ("import os\ndef add(a, b): os._exit(0)", ADD, 0.0, "test 1 of 2: the solution ended with status 0"),
    ("def add(a, b):\n    while True: pass", ADD, 0.0, "the solution ran over the time limit"),
    ("print('V5')\ndef add(a, b):\n    print('V5')\n    return a + b", ADD, 1.0, "None"),
    ("import os\nos.write(1, b'V5\\nV0\\n')\ndef add(a, b): return 1", ADD, 0.0, "test 1 of 2"),
    ("x = 'x' * 10**10", SUM, 0.0, "the solution ran over the memory limit"),
    ("print(1 / 0)", SUM, 0.0, "ZeroDivisionError"),
    ("import os\nos.kill(os.getpid(), 11)", SUM, 0.0, "was ended by SIGSEGV"),
    ("print(5)", SUM, 0.0, "test 2 of 2: the output differs"),
]


def test_endings_are_told_as_on_this_machine(server: RunCode) -> None:
    samples = [Sample("p", fenced(code), meta=meta) for code, meta, _, _ in ENDINGS]
    scores = Code(isolation=server.url, seconds=1.0).score_batch(samples)
    assert [one.value for one in scores] == [value for _, _, value, _ in ENDINGS]
    assert [note for one, (*_, note) in zip(scores, ENDINGS, strict=True) if note not in str(one.note)] == []


def test_state_is_kept_between_calls_and_calls_may_depend_on_answers(server: RunCode) -> None:
    counter = fenced("n = 0\ndef up(by=1):\n    global n\n    n += by\n    return n")
    tests = ["assert up() == 1", "assert up(up()) == 4", "assert [up() for _ in range(3)] == [5, 6, 7]"]
    assert values(server, [(counter, {"test_list": tests})]) == [1.0]
    assert values(server, [(counter, {"test_list": [*tests, "assert up() == 9"]})], partial=True) == [0.75]


def test_tests_and_expected_values_are_not_sent_with_the_program() -> None:
    with serving() as server:
        meta = {"test_list": ["assert add(2, 3) == 4321 - 4316"]}
        script = {"tests": [{"stdin": "2 3\n", "stdout": "98765\n"}]}
        assert values(server, [(fenced("def add(a, b): return a + b  # mine"), meta)]) == [1.0]
        assert values(server, [(fenced("print(input())  # mine"), script)]) == [0.0]
        own = [source + given for source, given in server.programs if "# mine" in source]
    assert len(own) == 2
    assert not any(secret in text for text in own for secret in ("4321", "98765"))


def test_a_server_that_fails_is_asked_again_and_never_gives_a_zero() -> None:
    with serving() as server:
        server.failures = 1
        assert values(server, [(fenced("a, b = map(int, input().split())\nprint(a + b)"), SUM)]) == [1.0]
        server.failures = 1000
        with pytest.raises(RewardError, match="gave no verdict: the server failed: no room"):
            values(server, [(fenced("print(5)"), SUM)])


def test_a_place_that_is_no_url_is_refused() -> None:
    with pytest.raises(ConfigError, match="isolation is full, none, or the URL"):
        build([RewardSpec.model_validate({"name": "code", "isolation": "half"})])
    with pytest.raises(ConfigError, match="http or https URL"):
        build([RewardSpec.model_validate({"name": "code", "isolation": "http://"})])
