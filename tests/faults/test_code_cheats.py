"""Programs that go for the reward instead of the task: each is worth 0 in isolation.

The same programs are shown to pass a plain harness (program and asserts in one process, exit status 0 is a pass), so that
the table is known to bite; those that only make sense against our own protocol are marked.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any, NamedTuple

import pytest

from rlllm.core.records import Sample
from rlllm.rewards.code.reward import Code
from rlllm.sandbox.layers import SandboxError

ASSERTS = ["assert add(2, 3) == 5", "assert add(-1, 1) == 0", "assert all(add(n, 1) == n + 1 for n in range(3))"]
MBPP = {"test_list": ASSERTS}
HUMANEVAL = {
    "entry_point": "add",
    "test": "def check(candidate):\n" + "".join("    " + line.replace("add(", "candidate(") + "\n" for line in ASSERTS),
}
CALLS = {"tests": [{"call": "add", "args": [2, 3], "expected": 5}, {"call": "add", "args": [-1, 1], "expected": 0}]}
PROMPT = "def add(a, b):\n    '''The sum.'''\n"


class Cheat(NamedTuple):
    name: str
    code: str
    fools: bool = True
    """Whether it passes the plain harness."""


EQUAL = "    def __eq__(self, other): return True\n    def __hash__(self): return 0\n"
FRAME = "(4).to_bytes(4, 'big') + bytes(8)"
CHEATS = [
    Cheat("an object that equals everything", f"class A:\n{EQUAL}def add(a, b): return A()"),
    Cheat("a number that equals everything", f"class A(int):\n{EQUAL}def add(a, b): return A(7)"),
    Cheat("a text that equals everything", f"class A(str):\n{EQUAL}def add(a, b): return A('x')"),
    Cheat("a class that claims to be int", f"class A:\n    __class__ = int\n{EQUAL}def add(a, b): return A()"),
    Cheat(
        "a metaclass that equals everything",
        f"class M(type):\n{EQUAL}class A(metaclass=M): pass\ndef add(a, b): return A",
    ),
    Cheat("sys.exit(0) when called", "import sys\ndef add(a, b): sys.exit(0)"),
    Cheat("raise SystemExit at import", "raise SystemExit(0)"),
    Cheat("os._exit(0) when called", "import os\ndef add(a, b): os._exit(0)"),
    Cheat("os._exit(0) at import", "import os\nos._exit(0)"),
    Cheat(
        "the process replaced", "import os, sys\ndef add(a, b): os.execv(sys.executable, [sys.executable, '-c', ''])"
    ),
    Cheat("exit status by atexit", "import atexit, os\natexit.register(os._exit, 0)\ndef add(a, b): return 0"),
    Cheat(
        "exit status by excepthook", "import os, sys\nsys.excepthook = lambda *_: os._exit(0)\ndef add(a, b): return 0"
    ),
    Cheat(
        "exit status by a thread",
        "import os, threading, time\ndef late():\n    time.sleep(0.2)\n    os._exit(0)\n"
        "threading.Thread(target=late).start()\ndef add(a, b): time.sleep(1)",
    ),
    Cheat(
        "builtins replaced",
        f"import builtins\nbuiltins.all = lambda _: True\nclass A(int):\n{EQUAL}def add(a, b): return A()",
    ),
    Cheat(
        "asserts switched off",
        "import sys\nsys.settrace(None)\nAssertionError = Exception\ndef add(a, b): return 5",
        fools=False,
    ),
    Cheat(
        "the expected value read from the caller's code",
        "import sys, dis\ndef add(a, b):\n    f = sys._getframe(1)\n"
        "    later = [i.argval for i in dis.get_instructions(f.f_code) if i.offset > f.f_lasti and i.opname == 'LOAD_CONST']\n"
        "    return later[0] if f.f_code.co_name == '<module>' else a + 1",
    ),
    Cheat("the answer printed", "print('5')\nprint('passed')\ndef add(a, b): print(5, 0, True)", fools=False),
    Cheat("a constant", "def add(a, b): return 5", fools=False),
    Cheat("deep recursion", "import sys\nsys.setrecursionlimit(10**6)\ndef add(a, b): return [add(a, b)]", fools=False),
    Cheat("an endless iterator", "import itertools\ndef add(a, b): return itertools.count()", fools=False),
    Cheat("a list in itself", "x = []\nx.append(x)\ndef add(a, b): return x", fools=False),
    Cheat("a huge answer", "def add(a, b): return 'x' * (3 << 20)", fools=False),
    Cheat(
        "an error that cannot be printed",
        "class E(Exception):\n    __str__ = None\ndef add(a, b): raise E",
        fools=False,
    ),
    Cheat("an exception group", "def add(a, b): raise ExceptionGroup('x', [ValueError()])", fools=False),
    Cheat("an import error, as if the tests had one", "def add(a, b): raise ImportError('numpy')", fools=False),
    Cheat(
        "a value sent before it was asked for",
        f"import os\nos.write(3, {FRAME} + b'V5   ')\ndef add(a, b): return 0",
        fools=False,
    ),
    Cheat("two answers", f"import os\ndef add(a, b):\n    os.write(3, {FRAME} + b'V5   ')\n    return 5", fools=False),
    Cheat("a verdict of its own", f"import os\ndef add(a, b):\n    os.write(3, {FRAME} + b'Rnull')", fools=False),
    Cheat(
        "a claim that the tests are unfit",
        f"import os\ndef add(a, b):\n    os.write(3, {FRAME} + b'Unone')",
        fools=False,
    ),
    Cheat("a frame without end", "import os\ndef add(a, b):\n    os.write(3, b'\\xff' * 13)", fools=False),
    Cheat("half a frame", "import os\ndef add(a, b):\n    os.write(3, bytes(5))\n    os._exit(0)", fools=False),
    Cheat("the channel closed", "import os\ndef add(a, b):\n    os.close(3)\n    os._exit(0)", fools=False),
    Cheat(
        "a thread that answers in between",
        "import os, threading\ndef late():\n    while True: os.write(3, bytes(12) + b'V')\n"
        "threading.Thread(target=late, daemon=True).start()\ndef add(a, b): return 5",
        fools=False,
    ),
    Cheat(
        "the harness taken over",
        "import sys\ndef add(a, b):\n    f = sys._getframe(1)\n    while f:\n"
        "        w = f.f_locals.get('wire')\n        if w:\n            w.VALUE, w.to_text = w.RESULT, lambda v: b'null'\n"
        "        f = f.f_back",
        fools=False,
    ),
    Cheat(
        "a pickle",
        "import pickle\nclass A:\n    def __reduce__(self): return print, ('x',)\ndef add(a, b): return A()",
        fools=False,
    ),
]
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "mbpp": ("p", MBPP),
    "humaneval": (PROMPT, HUMANEVAL),
    "calls": ("p", CALLS),
}


@pytest.fixture(scope="module")
def reward() -> Code:
    reward = Code(seconds=0.5)
    try:
        reward.score_batch([])
    except SandboxError as error:
        pytest.skip(str(error))
    return reward


@pytest.mark.parametrize("shape", SHAPES)
def test_no_cheat_scores(reward: Code, shape: str) -> None:
    prompt, meta = SHAPES[shape]
    scores = reward.score_batch([Sample(prompt, f"```python\n{cheat.code}\n```", meta=meta) for cheat in CHEATS])
    paid = {
        cheat.name: score for cheat, score in zip(CHEATS, scores, strict=True) if score.value != 0.0 or not score.note
    }
    assert paid == {}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_honest_program_scores(reward: Code, shape: str) -> None:
    prompt, meta = SHAPES[shape]
    assert (
        reward.score_batch([Sample(prompt, "```python\ndef add(a, b): return a + b\n```", meta=meta)])[0].value == 1.0
    )


@pytest.mark.parametrize("cheat", [cheat for cheat in CHEATS if cheat.fools], ids=lambda cheat: cheat.name)
def test_the_cheat_fools_a_plain_harness(cheat: Cheat) -> None:
    program = "\n".join([cheat.code, *ASSERTS])
    ended = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, timeout=20, check=False)
    assert ended.returncode == 0


@pytest.mark.parametrize("error", ["StopIteration", "StopAsyncIteration", "type('StopIteration', (Exception,), {})"])
@pytest.mark.parametrize(
    "test", ["assert all(map(f, [1, 2]))", "for n in map(f, [1]): assert n == 2", "assert list(map(f, [1])) == []"]
)
def test_an_exception_that_ends_loops_ends_no_loop_of_the_tests(reward: Code, error: str, test: str) -> None:
    code = f"```python\ndef f(n): raise {error}\n```"
    assert reward.score_batch([Sample("p", code, meta={"test_list": [test]})])[0].value == 0.0


@pytest.mark.parametrize(
    "answer", ["'[\"l\",' * 110 + '1' + ']' * 110", "'[\"g\"' + ',0' * 100_001 + ']'"], ids=["deep", "long"]
)
def test_an_answer_that_cannot_be_passed_on_is_the_solutions_fault(reward: Code, answer: str) -> None:
    forged = (
        "import os, sys, time\ndef f(n):\n    frame = sys._getframe()\n    while 'nonce' not in frame.f_locals:\n"
        f"        frame = frame.f_back\n    body = ({answer}).encode()\n"
        "    os.write(3, len(body).to_bytes(4, 'big') + frame.f_locals['nonce'] + b'V' + body)\n    time.sleep(9)\n"
        "def g(x): return 1\n"
    )
    score = reward.score_batch([Sample("p", f"```python\n{forged}\n```", meta={"test_list": ["assert g(f(1)) == 1"]})])
    assert score[0].value == 0.0


SCRIPT_CHEATS = {
    "the tests looked for": "import glob\nfor path in glob.glob('/**/*', recursive=True)[:2000]:\n    print(path)",
    "standard input looked for an answer": "import sys\nprint(sys.stdin.read())",
    "the parent's memory": "print(open('/proc/1/environ').read())",
    "the channel asked": "import os\nos.write(3, b'what is expected?')\nprint(os.read(3, 100))",
    "both answers": "print(5)\nprint(7)",
    "right, but failing": "a, b = map(int, input().split())\nprint(a + b)\nraise SystemExit(1)",
    "more behind the answer": "import atexit\natexit.register(print, 'passed')\na, b = map(int, input().split())\nprint(a + b)",
    "silence": "import os\nos._exit(0)",
}


@pytest.mark.parametrize("name", SCRIPT_CHEATS)
def test_no_script_scores_without_solving_the_task(reward: Code, name: str) -> None:
    meta = {"tests": [{"stdin": "2 3", "stdout": "5"}, {"stdin": "3 4", "stdout": "7"}]}
    assert reward.score_batch([Sample("p", f"```python\n{SCRIPT_CHEATS[name]}\n```", meta=meta)])[0].value == 0.0
