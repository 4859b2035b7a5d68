"""The `math` reward: its verdicts in a literal table, its stricter rules, deadlines, lost processes, forks and Ctrl-C."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample
from rlllm.rewards.isolation.script_pool import DeadError, LateError, Worker
from rlllm.rewards.math import math_verify_worker
from rlllm.rewards.math.answer_extraction import is_relation
from rlllm.rewards.math.reward import Math

MATH = [
    # completion, reference, value
    ("\\boxed{\\frac{2}{4}}", "\\frac{1}{2}", 1.0),
    ("#### 0.5", "1/2", 1.0),
    ("#### 7", "7", 1.0),
    ("#### 8", "7", 0.0),
    ("the answer is 42", "42", 1.0),
    ("**Final Answer**\n\n$$7$$", "7", 1.0),
    ("We add.\n\n### Final Answer\n\n7", "7", 1.0),
    ("**Final Answer**\n\n$$8$$", "7", 0.0),
    ("\\boxed{255}", "FF_{16}", 1.0),
    ("\\boxed{FE_{16}}", "FF_{16}", 0.0),
    ("\\boxed{131}", "AB_{12}", 1.0),
    ("\\boxed{11}", "B_{12}", 0.0),
    ("\\boxed{AB_3}", "AB_3", 1.0),
    ("the answer is 41", "42", 0.0),
    ("", "42", 0.0),
    ("   ", "42", 0.0),
    ("no idea", "42", 0.0),
    ("#### ???", "42", 0.0),
    ("\\boxed{1 + x}", "x+1", 1.0),
    ("\\boxed{x - 1}", "x+1", 0.0),
    ("\\boxed{2\\sqrt{2}}", "\\sqrt{8}", 1.0),
    ("#### 1234", "1,234", 1.0),
    ("#### x=3", "3", 1.0),
    ("#### 3", "x=3", 1.0),
    ("\\boxed{\\{2, 1\\}}", "\\{1, 2\\}", 1.0),
    ("\\boxed{(1, 2)}", "(1,2)", 1.0),
    ("\\boxed{(2, 1)}", "(1,2)", 0.0),
    ("#### 7", "so 3 + 4\n#### 7", 1.0),
    ("#### 7", "???", None),
    ("#### 3 or 4", "???", None),
    ("#### ???", "???", 1.0),
    ("#### 7", "", None),
    ("#### 7", None, None),
    ("#### \ud800", "7", 0.0),
    # several answers are one list
    ("\\boxed{5}\n\\boxed{7}", "7", 0.0),
    ("\\boxed{7}\n\\boxed{5}", "7", 0.0),
    ("\\boxed{7}, again \\boxed{7}", "7", 1.0),
    ("#### 7\n#### 8", "7", 0.0),
    ("\\boxed{3} and \\boxed{4}", "\\{3, 4\\}", 1.0),
    ("\\boxed{3} and \\boxed{4}", "4", 0.0),
    ("#### 3 or 4", "3", 0.0),
    ("#### 3 or 4", "4", 0.0),
    ("#### 3 or 4", "3, 4", 1.0),
    ("\\boxed{3 \\text{ or } 4}", "3", 0.0),
    ("\\boxed{x=3, x=4}", "3", 0.0),
    ("\\boxed{3 \\quad 4}", "4", 0.0),
    ("\\boxed{\\pm 3}", "3", 0.0),
    ("\\boxed{\\{3, 4\\}}", "3", 0.0),
    ("answers: 1, 2, 3, 4", "4", 0.0),
    ("answers: 1, 2, 3, 4", "1", 0.0),
    ("The answer is $3$ or $4$", "3", 0.0),
    ("A) 3 B) 4 C) 7", "7", 0.0),
    ("the sum of 3 and 4 is 7", "7", 1.0),
    ("The options are 3, 4 and 7. The answer is 7.", "7", 1.0),
    ("\\boxed{3 \\text{ (or 4)}}", "3", 0.0),
    ("\\boxed{3 (and 4)}", "3", 0.0),
    ("\\boxed{3 \\text{ cm (and no more)}}", "3", 0.0),
    ("\\boxed{3 \\text{ cm (exactly)}}", "3", 1.0),
    # a relation is no value
    ("\\boxed{\\neq 3}", "3", 0.0),
    ("\\boxed{\\not= 3}", "3", 0.0),
    ("\\boxed{\u2260 3}", "3", 0.0),
    ("\\boxed{\\geq 3}", "3", 0.0),
    ("\\boxed{> 3}", "3", 0.0),
    ("#### != 3", "3", 0.0),
    ("\\boxed{5!}", "120", 1.0),
    ("\\boxed{x \\geq 3}", "x \\geq 3", 1.0),
    ("\\boxed{x = 3}", "3", 1.0),
    # read in part
    ("\\boxed{3 ??? 4}", "4", 0.0),
    ("\\boxed{3 vs. 4}", "4", 0.0),
    # working is no answer
    ("<think>\\boxed{3}, no</think> \\boxed{4}", "4", 1.0),
    ("<think>\\boxed{4}</think> \\boxed{3}", "4", 0.0),
    ("<think>\\boxed{4}</think>", "4", 1.0),
]
FOR_EVER = "\\boxed{\\sum_{n=1}^{\\infty} \\frac{\\sin(n)}{n^3}}"


@pytest.mark.parametrize(("completion", "reference", "value"), MATH)
def test_math_compares_answers_as_mathematics(completion: str, reference: str | None, value: float | None) -> None:
    assert Math()(Sample("question", completion, reference)).value == value


def test_a_batch_gets_the_same_scores_in_order() -> None:
    scores = Math(workers=2).score_batch([Sample("question", text, reference) for text, reference, _ in MATH])
    assert [score.value for score in scores] == [value for _, _, value in MATH]


def test_an_empty_batch_has_no_scores() -> None:
    assert Math().score_batch([]) == []


@pytest.mark.parametrize(
    ("completion", "note"),
    [
        ("no idea", "no answer is marked or stated"),
        ("#### 41 or 42", "several answers to choose from"),
        ("#### 41 ??? 42", "only a part can be read, of an answer with several numbers"),
    ],
)
def test_math_notes_why_an_answer_is_worth_nothing(completion: str, note: str) -> None:
    score = Math()(Sample("question", completion, "42"))
    assert (score.value, score.note) == (0.0, note)


def test_math_works_outside_the_main_thread() -> None:
    with ThreadPoolExecutor(4) as threads:
        samples = [Sample("question", f"#### {number} + x", "3 + x") for number in range(8)]
        assert [score.value for score in threads.map(Math(workers=2), samples)] == [0, 0, 0, 1, 0, 0, 0, 0]


def test_an_answer_that_takes_for_ever_costs_its_batch_one_deadline() -> None:
    reward = Math(timeout=2.0, workers=2)
    texts = ["\\boxed{1+x}", FOR_EVER, "\\boxed{x-1}", "\\boxed{x + 1}"] * 2
    reward.score_batch([Sample("question", "\\boxed{1+x}", "x+1")] * 2)
    start = time.monotonic()
    scores = reward.score_batch([Sample("question", text, "x+1") for text in texts])
    assert time.monotonic() - start < 12.0
    assert [score.value for score in scores] == [1.0, 0.0, 0.0, 1.0] * 2
    assert scores[1].note == "the comparison took longer than 2 s"
    assert scores[0].note is None


def test_math_refuses_a_time_limit_of_zero() -> None:
    with pytest.raises(ConfigError, match="timeout must be positive"):
        Math(timeout=0)


def test_math_refuses_to_work_without_workers() -> None:
    with pytest.raises(ConfigError, match="workers must be at least 1"):
        Math(workers=0)


def test_a_worker_that_was_killed_from_outside_is_replaced_unnoticed() -> None:
    worker = Worker(math_verify_worker)
    assert worker.ask({"gold": "\\boxed{x}"}, 20.0) == {"gold": True}
    assert worker._process is not None
    os.kill(worker._process.pid, signal.SIGKILL)
    assert worker.ask({"gold": "\\boxed{x}"}, 20.0) == {"gold": True}
    worker.stop()


def test_a_late_worker_gives_no_stale_reply_to_the_next_question() -> None:
    worker = Worker(math_verify_worker)
    worker.ask({"gold": "\\boxed{x}"}, 20.0)
    with pytest.raises(LateError):
        worker.ask({"gold": "\\boxed{x}", "answer": FOR_EVER}, 0.0)
    assert worker.ask({"gold": "\\boxed{y}"}, 20.0) == {"gold": True}
    worker.stop()


DIES_OF_EVERY_QUESTION = (
    "import sys\nsys.stdin.readline()\nprint('{}', flush=True)\nsys.stdin.readline()\nsys.exit(3)\n"
)


def test_a_question_that_ends_two_processes_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "worker.py").write_text(DIES_OF_EVERY_QUESTION)
    monkeypatch.setattr("rlllm.rewards.math.math_verify_worker.__file__", str(tmp_path / "worker.py"))
    with pytest.raises(DeadError, match="ended with code 3"):
        Worker(math_verify_worker).ask({"gold": "\\boxed{x}"}, 20.0)


def test_a_worker_that_does_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlllm.rewards.math.math_verify_worker.__file__", f"{__file__}.missing")
    with pytest.raises(RuntimeError, match="does not start"):
        Worker(math_verify_worker).ask({"gold": "\\boxed{x}"}, 5.0)


PIECES = (
    *"0123456789+-*/^_=(){}[]<>,.;:!|&%$ \n\\xyeA\u2212\u00b0\ud800\x00",
    "\\frac",
    "\\sqrt",
    "\\boxed{",
    "\\pi",
    "####",
)
PIECES += ("\\text{", "\\left(", "\\infty", "\\cup", "\\begin{matrix}", "\\int", "<answer>", " or ", "answer: ")


def test_random_strings_are_worth_nothing_and_break_nothing() -> None:
    generator = random.Random(1)
    texts = ["".join(generator.choices(PIECES, k=generator.randint(1, 24))) for _ in range(200)]
    samples = [Sample("question", text if n % 2 else f"\\boxed{{{text}}}", "x^2+7") for n, text in enumerate(texts)]
    assert {score.value for score in Math(timeout=2.0).score_batch(samples)} == {0.0}


INTERRUPTED = """
import os, signal, threading, time
from rlllm.core.records import Sample
from rlllm.rewards.math.reward import Math
reward = Math(timeout=3.0, workers=2)
reward.score_batch([Sample("q", "#### x + 1", "1 + x")] * 2)
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
start = time.monotonic()
try:
    reward.score_batch([Sample("q", "\\\\boxed{\\\\sum_{n=1}^{\\\\infty} \\\\frac{\\\\sin(n)}{n^3}}", "7")] * 40)
except KeyboardInterrupt:
    print("interrupted", time.monotonic() - start < 2.5, flush=True)
"""


def test_ctrl_c_ends_a_batch_at_once() -> None:
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["interrupted", "True"]
    assert time.monotonic() - start < 15.0


def test_a_fork_has_workers_of_its_own() -> None:
    reward = Math(workers=1)
    right = Sample("question", "#### 1 + x", "x + 1")
    assert reward(right).value == 1.0
    child = os.fork()
    if child == 0:
        os._exit(0 if reward(right).value == 1.0 else 1)
    assert reward(right).value == 1.0
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert reward(right).value == 1.0


def test_a_worker_that_is_ready_has_loaded_all_that_its_first_question_needs() -> None:
    code = (
        "import sys; from rlllm.rewards.math import math_verify_worker as worker; "
        "print(worker.answer({}), 'sympy' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "{'ready': True} True\n"


def test_a_factorial_before_an_equals_sign_is_no_negation() -> None:
    assert [is_relation(text) for text in ("5!=120", "!= 120")] == [False, True]
