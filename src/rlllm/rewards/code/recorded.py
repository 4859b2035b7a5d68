"""Calls by record, for sandboxes that run a program from start to end with nobody to talk to on the way.

Tests and solution run in turns, each in a sandbox of its own. The tests run on the answers that are known; from the first one
that is missing they go on with a value that agrees with everything, so that further calls are found, and the test counts as
undecided. Then the solution answers all calls anew, in their order. Only a run in which no answer was missing decides a test.
This file runs inside both sandboxes; standard library only.
"""

from __future__ import annotations

import json
import os
from typing import Any

MARK = "rlllm-record:"
"""Begins the line that holds the report of the tests."""


class Recorded:
    """Stands in for `wire` in the tests' sandbox: it gives the answers that are known, and notes every call.

    Args:
        answers: for each test its calls, in order, with the kind and the text of the answer. The first list is the setup's.
    """

    def __init__(self, wire: Any, answers: list[list[list[str]]]) -> None:
        self._wire, self._answers = wire, answers
        self.calls: list[list[str]] = []
        self.is_undecided = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wire, name)

    def begin(self) -> None:
        """The next test begins."""
        self.calls.append([])
        self.is_undecided = False

    def send(self, kind: bytes, payload: bytes, nonce: bytes = b"") -> None:
        """Note a call."""
        self.calls[-1].append(payload.decode())

    def receive(self) -> tuple[bytes, bytes, bytes]:
        """The answer to the last call; of kind `UNKNOWN` where there is none yet."""
        place, number = len(self.calls) - 1, len(self.calls[-1]) - 1
        known = self._answers[place] if place < len(self._answers) else []
        if self.is_undecided or number >= len(known) or known[number][0] != self.calls[-1][-1]:
            self.is_undecided = True
            return self._wire.UNKNOWN, b"", b""
        return known[number][1].encode(), known[number][2].encode(), b""


def answer_all(assembly: Any, solution_program: Any, wire: Any, plan_text: str) -> None:
    """Load the solution and write an answer a line: its kind, then its text. What the solution prints is not shown."""
    plan = json.loads(plan_text)
    output = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    answers = solution_program.Answers(wire, solution_program.load(assembly, plan))
    for payload in plan["calls"]:
        kind, text = answers.answer(payload.encode())
        line = memoryview(kind + text + b"\n")
        while line:
            line = line[os.write(output, line) :]
    os._exit(0)
