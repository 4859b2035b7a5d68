"""The `code` reward: 1 if a program passes the row's tests, run in a sandbox with full isolation or without any.

Tests and expected values never enter the sandbox of the program they judge. A program that fails, hangs, uses too much
or cheats gets 0.0 with a note; tests that cannot be read give None; a sandbox that does not work is an error.
"""

from __future__ import annotations

import atexit
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Literal

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample, Score
from rlllm.rewards.code.run_tests import Bench
from rlllm.rewards.code.suites import Suite, UnfitRowError, is_completed, suite_of
from rlllm.rewards.isolation.sandbox import open_sandbox
from rlllm.rewards.isolation.sandbox.jobs import Limits, Sandbox

_WALL_PER_CPU = 3.0
"""Wall time that a program has for each second of processor time it may use."""
_SMALLEST_MEMORY = 64
"""MiB that the interpreter itself needs."""
_SHOWN = 300
"""Characters of the code that are kept beside the score."""


@dataclass(frozen=True)
class Code:
    """1 if the code passes every test of the row, else 0; None for rows without tests that can be read.

    Reads the columns of HumanEval (`test`, `entry_point`; Chen et al. 2021, arXiv 2107.03374), MBPP (`test_list`; Austin
    et al. 2021, arXiv 2108.07732), APPS (`input_output`; Hendrycks et al. 2021, arXiv 2105.09938), or `tests`: a list of
    `{stdin, stdout}` or `{call, args, expected}`. The code is the last fenced block, or the whole completion.

    Args:
        isolation: `full`, or `none`: programs then run as you, with your files and your network.
        seconds: processor time of one program; three times as much of wall time.
        memory_mb: memory of one program.
        partial: the share of tests passed, instead of all or nothing. HumanEval's `check` is one test.
    """

    isolation: Literal["full", "none"] = "full"
    seconds: float = 5.0
    memory_mb: int = 512
    partial: bool = False
    verifies = True

    def __post_init__(self) -> None:
        if not 0 < self.seconds < float("inf"):
            raise ConfigError("code: seconds must be positive", given=self.seconds)
        if self.memory_mb < _SMALLEST_MEMORY:
            raise ConfigError(f"code: memory_mb must be at least {_SMALLEST_MEMORY}", given=self.memory_mb)

    def score_batch(self, samples: Sequence[Sample]) -> list[Score]:
        """All samples, side by side as far as there are processors, in the order given.

        Raises:
            RlllmError: a layer of the isolation is missing.
            RuntimeError: the sandbox failed; never a score of 0.0.
        """
        workers = _processors()
        limits = Limits(cpu_seconds=self.seconds, wall_seconds=_WALL_PER_CPU * self.seconds, memory_mb=self.memory_mb)
        bench = Bench(_sandbox(self.isolation, os.getpid()), limits, self.partial)
        pool = ThreadPoolExecutor(min(workers, max(1, len(samples))), thread_name_prefix="code-reward")
        try:
            return list(pool.map(lambda sample: _score(bench, sample), samples))
        except BaseException:
            bench.stop()  # else Ctrl-C would sit out every test of every script under way
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _score(bench: Bench, sample: Sample) -> Score:
    try:
        suite = suite_of(sample)
    except UnfitRowError as error:
        return Score(None, note=str(error))
    code = code_in(sample.completion, suite)
    if not code.strip():
        return Score(0.0, note="no code")
    verdict = suite.judge(code, bench)
    if verdict.passed is None:
        return Score(None, parsed=code[:_SHOWN], note=verdict.note)
    share = verdict.passed / verdict.total
    return Score(share if bench.thorough else float(share == 1), parsed=code[:_SHOWN], note=verdict.note)


def code_in(completion: str, suite: Suite) -> str:
    """The last fenced block of Python, or of no language; without a fence the completion itself.

    A completion that goes on with the body of a prompt's function ends where it starts something new: at the stop
    sequences of the HumanEval paper (section 2.1).
    """
    blocks = fenced_blocks(completion)
    if not blocks:
        begun = completion.lstrip("\n")[:1] in (" ", "\t")
        return _STOPS.split(completion, maxsplit=1)[0] if begun and is_completed(suite) else completion
    python = [text for language, text in blocks if language in _PYTHON]
    return (python or [text for language, text in blocks if not language] or [""])[-1]


def fenced_blocks(text: str) -> list[tuple[str, str]]:
    """Language (lower case, perhaps empty) and content of every fenced block; one left open reaches to the end.

    CommonMark's rules, except that a fence may be indented by any number of blanks, as in a list.
    """
    blocks: list[tuple[str, list[str]]] = []
    fence = indent = None
    for line in text.splitlines(keepends=True):
        mark = _FENCE.match(line)
        if fence is None and mark:
            fence, indent = mark["fence"], re.compile(rf"[ \t]{{0,{len(mark['indent'])}}}")
            blocks.append((mark["language"].lower(), []))
        elif fence and mark and mark["fence"].startswith(fence) and not mark["language"] and not mark["rest"].strip():
            fence = None
        elif fence and indent:
            blocks[-1][1].append(indent.sub("", line, count=1))
    return [(language, "".join(lines)) for language, lines in blocks]


_FENCE = re.compile(
    r"(?P<indent>[ \t]*+)(?P<fence>`{3,}+|~{3,}+)[ \t]*+(?P<language>[\w+#.-]*+)(?P<rest>[^`\n]*+)\n?\Z"
)
_PYTHON = ("python", "py", "python3", "py3")
_STOPS = re.compile(r"\n(?=class|def|#|if|print)")


@cache
def _sandbox(isolation: Literal["full", "none"], process: int) -> Sandbox:
    """The one sandbox of this process; a fork opens its own. Two workers for each processor: a solution and its tests."""
    sandbox = open_sandbox(isolation, workers=2 * _processors())
    atexit.register(sandbox.close)
    return sandbox


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
